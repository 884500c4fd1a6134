"""BIMI: what a mailbox provider asks before it shows a domain's logo. For information: mail arrives without."""

import re
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.dns.dmarc_record import is_dmarc, organizational, parse
from postroad.dns.tag_list import parse as tags

ID = "bimi"
SHORT = False


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain that publishes a logo."""
    for domain in context.config.named_domains:
        above = organizational(domain.name)
        logo, *policies = context.resolver.look_up(
            [(f"default._bimi.{domain.name}", "TXT"), (f"_dmarc.{domain.name}", "TXT"), (f"_dmarc.{above}", "TXT")]
        )
        for text in logo.values:
            if re.match(r"v=BIMI1[ \t]*(;|$)", text):
                missing = [*_record(text), *_policy([list(answer.values) for answer in policies], domain.name == above)]
                what = f"BIMI: the logo of {domain.name} " + (
                    f"is not shown: {'; '.join(missing)}" if missing else "meets the conditions that the DNS shows"
                )
                yield Finding(ID, Level.INFO, what, text, "mend that, if you want the logo" if missing else "")


def _record(text: str) -> Iterator[str]:
    try:
        found = tags(text)
    except ValueError as error:
        yield str(error)
        return
    if not found.get("l", "").startswith("https://"):
        yield "l= has no https: URI of an SVG"
    if not found.get("a", "").startswith("https://"):
        yield "a= has no https: URI of a certificate (VMC or CMC), which Gmail asks for"


def _policy(found: list[list[str]], itself: bool) -> Iterator[str]:
    """DMARC must refuse or quarantine all mail that fails, of the domain and of those below it."""
    own, above = ([text for text in texts if is_dmarc(text)] for texts in found)
    try:
        policy = parse((own or above)[0])
    except (IndexError, ValueError):
        yield "there is no DMARC policy that can be followed"
        return
    if "none" in {policy.p if own or itself else policy.sp, policy.sp}:
        yield "DMARC asks for none: p=quarantine or p=reject is wanted, and no sp=none"
