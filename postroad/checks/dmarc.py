"""Whether a DMARC policy covers each domain, and whether the way we sign agrees with it (RFC 7489)."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.checks.tags import parse
from postroad.config.model import Domain
from postroad.dns.records import TTL, Record

ID = "dmarc"
SHORT = True

POLICIES = {"none", "quarantine", "reject"}


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain."""
    for domain in context.config.named_domains:
        yield _of(context, domain)


def _of(context: Context, domain: Domain) -> Finding:
    labels = domain.name.split(".")
    # the domain's own, or else of the one above it that is not the top
    places = [f"_dmarc.{'.'.join(labels[start:])}" for start in range(max(1, len(labels) - 1))]
    begin = Record(places[0], "TXT", TTL, f"v=DMARC1; p=none; rua=mailto:postmaster@{domain.name}", "DMARC")
    for name, answer in zip(places, context.resolver.look_up([(name, "TXT") for name in places]), strict=True):
        if answer.unknown:
            return unanswered(ID, answer)
        found = [text for text in answer.values if text.lower().replace(" ", "").startswith("v=dmarc1")]
        if len(found) > 1:
            return Finding(
                ID,
                Level.ERROR,
                f"{name} has {len(found)} DMARC records: receivers ignore all of them",
                "; and ".join(found),
                "remove all but one",
            )
        if found:
            problem, level = judge(found[0], domain, signs=context.config.dkim.enabled)
            if problem:
                return Finding(ID, level, f"the DMARC record {name} {problem}", found[0], "publish a right one", begin)
            return Finding(ID, Level.OK, f"DMARC covers {domain.name}", f"{name}: {found[0]}{_next(found[0])}")
    return Finding(
        ID,
        Level.ERROR,
        f"{domain.name} has no DMARC record",
        "; ".join(f"nothing at {name}" for name in places),
        "publish the TXT record",
        context.record(places[0], "TXT", "v=dmarc1") or begin,
    )


def judge(text: str, domain: Domain, *, signs: bool) -> tuple[str, Level]:
    """What is wrong with a policy for us, as the end of a sentence, and how bad it is; empty: nothing."""
    try:
        tags = parse(text)
    except ValueError as error:
        return f"can't be parsed: {error}", Level.ERROR
    policy = tags.get("p", "").lower()
    if policy not in POLICIES:
        return f"has no policy that exists (p={policy})", Level.ERROR
    if "rua" in tags and not all(uri.strip().lower().startswith("mailto:") for uri in tags["rua"].split(",")):
        return f"has a reporting address that is no mailto: (rua={tags['rua']})", Level.WARNING
    if domain.subdomains and tags.get("adkim", "r").lower() == "s":
        return (
            f"asks for strict alignment (adkim=s), and senders below {domain.name} are signed as {domain.name}",
            Level.ERROR,
        )
    if not signs and policy != "none":
        return f"asks for {policy}, and mail is not signed: only SPF is left to pass", Level.WARNING
    return "", Level.OK


def _next(text: str) -> str:
    if parse(text).get("p", "").lower() == "none":
        return " (once the reports show only your own mail: p=quarantine, then p=reject)"
    return ""
