"""What Gmail, Yahoo and Microsoft ask of senders, a line each: what is asked, what is so, what to do.

Their own words: https://support.google.com/a/answer/81126 (in force since February 2024),
https://senders.yahooinc.com/best-practices/ (likewise), and Microsoft's "Strengthening Email Ecosystem: Outlook's New
Requirements for High-Volume Senders" (in force since May 2025). docs/doctor.md has the table.
"""

from collections.abc import Iterable, Iterator
from typing import cast

from postroad.checks import dkim, dmarc, hostname, reverse, spf, starttls
from postroad.checks.context import Context
from postroad.checks.model import Check, Finding, Level, unanswered
from postroad.dns.dkim_record import modulus_bits, parse
from postroad.dns.dmarc_record import organizational

ID = "senders"
SHORT = False

BULK = 5000
"""Messages a day to one of them from which the rules for bulk senders hold."""
LEAST_BITS, GOOD_BITS = 1024, 2048
"""Of an RSA key that signs: Gmail asks for the first, and recommends the second; so does RFC 8301."""

ASKED = (
    ("Gmail, Yahoo and Microsoft: SPF and DKIM of the sender's domain pass", (spf, dkim)),
    ("Gmail, Yahoo and Microsoft: a DMARC policy, p=none at least, with which From: is aligned", (dmarc,)),
    ("Gmail and Yahoo: the address leads to a name, and the name back to it", (hostname, reverse)),
    ("Gmail: TLS on the way to them", (starttls,)),
)


def run(context: Context) -> Iterator[Finding]:
    """A finding for each thing that is asked."""
    for asked, checks in ASKED:
        found = [finding for check in cast("Iterable[Check]", checks) for finding in check.run(context)]
        # a check that has nothing to say has nothing to do with the way that this mail goes
        if found:
            yield _line(asked, found)
    yield from _domains(context)
    yield from _keys(context)
    yield Finding(
        ID,
        Level.INFO,
        "Gmail and Yahoo: mail that people subscribed to is ended by one click (RFC 8058)",
        f"the app writes these fields; asked of senders of {BULK} a day and more",
        "send List-Unsubscribe: with an https: URI, and List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    )
    yield Finding(
        ID,
        Level.INFO,
        "Gmail and Yahoo: fewer than 0.3 % of recipients complain, better fewer than 0.1 %",
        "only they know; what feedback loops tell is in the check `reports`, with returns.domain",
        "look at postmaster.google.com and at Yahoo's Sender Hub",
    )


def _line(asked: str, found: Iterable[Finding]) -> Finding:
    wrong = [each for each in found if each.level in {Level.WARNING, Level.ERROR}]
    if not wrong:
        return Finding(ID, Level.OK, asked)
    checks = ", ".join(dict.fromkeys(each.id for each in wrong))
    # the check itself says how bad it is, and what to publish
    return Finding(ID, Level.INFO, f"{asked}: not so", "; ".join(each.message for each in wrong), f"see {checks}")


def _domains(context: Context) -> Iterator[Finding]:
    """The domain in From: is one that can be looked up, and that somebody registered."""
    for domain in context.config.named_domains:
        above = organizational(domain.name)
        # an answer for any of these names says that the domain is there
        answers = context.resolver.look_up([(above, "SOA"), *((domain.name, rtype) for rtype in ("MX", "A", "TXT"))])
        asked = f"all: the domain in From: is registered and can be looked up: {domain.name}"
        if any(answer.found for answer in answers):
            yield Finding(ID, Level.OK, asked)
        elif all(answer.missing for answer in answers):
            yield Finding(
                ID, Level.ERROR, f"{asked}: not so", f"nothing at {above}", "register it, or correct `domains`"
            )
        else:
            yield unanswered(ID, next(answer for answer in answers if answer.unknown))


def _keys(context: Context) -> Iterator[Finding]:
    for name, value in context.facts.dkim.items():
        try:
            record = parse(value)
        except ValueError:
            continue  # there is no key: the check `dkim` says so
        bits = modulus_bits(record.key)
        if record.kind != "rsa" or not bits:
            continue
        asked = f"Gmail: a DKIM key of {LEAST_BITS} bits at least, better {GOOD_BITS}"
        level = Level.OK if bits >= GOOD_BITS else Level.WARNING if bits >= LEAST_BITS else Level.ERROR
        fix = "" if level is Level.OK else "make a longer key, under a new selector"
        yield Finding(ID, level, asked, f"{name} has {bits}", fix)
