"""Whether a DMARC policy covers each domain, and whether the way we sign agrees with it (RFC 7489)."""

from collections.abc import Iterator, Mapping

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.config.model import Domain
from postroad.dns.dmarc_record import POLICIES, Policy, is_attempt, is_dmarc, mend, organizational, parse
from postroad.dns.records import TTL, Record
from postroad.dns.resolver import Answer
from postroad.dns.tag_list import shown

ID = "dmarc"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain."""
    for domain in context.config.named_domains:
        yield _of(context, domain)


def _of(context: Context, domain: Domain) -> Finding:
    labels = domain.name.split(".")
    organization = organizational(domain.name)
    depth = len(labels) - organization.count(".")
    places = [f"_dmarc.{'.'.join(labels[start:])}" for start in range(max(1, depth))]
    answers = dict(zip(places, context.resolver.look_up([(name, "TXT") for name in places]), strict=True))
    # receivers ask for the domain itself and for the organization's, and not for those between (section 6.6.3)
    for name in dict.fromkeys((places[0], places[-1])):
        answer = answers[name]
        if answer.unknown:
            return unanswered(ID, answer)
        records = [text for text in answer.values if is_dmarc(text)]
        if len(records) > 1:
            return Finding(
                ID,
                Level.ERROR,
                f"{name} has {len(records)} DMARC records: receivers ignore all of them",
                "; and ".join(records),
                "remove all but one",
            )
        if records:
            return _judged(context, domain, answer, records[0])
    return _missing(context, domain, answers)


def _missing(context: Context, domain: Domain, answers: Mapping[str, Answer]) -> Finding:
    """No record that receivers find: there is none, or it is written wrong, or stands where few look."""
    first, *_, last = (*answers, *answers)
    for name in dict.fromkeys((first, last)):
        for text in filter(is_attempt, answers[name].values):
            mended = mend(text)
            record = Record(name, "TXT", TTL, mended, "DMARC") if mended else _begin(context, domain)
            what = f"{name} has a TXT record that is no DMARC record: one begins with `v=DMARC1;`, in these letters"
            return Finding(ID, Level.ERROR, what, shown(text), "publish a right one in its place", record)
    for name, answer in answers.items():
        records = [text for text in answer.values if is_dmarc(text)]
        if records:
            what = f"{domain.name} is covered by {name} only at some receivers: others ask {first} and {last} alone"
            return Finding(ID, Level.WARNING, what, records[0], "publish a record of its own", _begin(context, domain))
    return Finding(
        ID,
        Level.ERROR,
        f"{domain.name} has no DMARC record",
        "; ".join(f"nothing at {name}" for name in answers),
        "publish the TXT record",
        context.record(first, "TXT", "v=dmarc1") or _begin(context, domain),
    )


def _begin(context: Context, domain: Domain) -> Record:
    """The record of somebody who has none yet."""
    name = f"_dmarc.{domain.name}"
    return Record(name, "TXT", TTL, f"v=DMARC1; p=none; rua=mailto:{_reports(context, domain.name)}", "DMARC")


def _reports(context: Context, domain: str) -> str:
    own = context.config.returns.domain
    return f"dmarc@{own}" if own else f"postmaster@{domain}"


def _judged(context: Context, domain: Domain, answer: Answer, text: str) -> Finding:
    name = answer.name
    try:
        policy = parse(text)
    except ValueError as error:
        what = f"the DMARC record {name} can't be followed, and receivers may ignore it: {error}"
        return Finding(ID, Level.ERROR, what, text, "publish a right one", _begin(context, domain))
    inherited = name != f"_dmarc.{domain.name}"
    asked = policy.sp if inherited else policy.p
    problem, level = judge(policy, domain, asked, signs=context.config.dkim.enabled)
    if problem:
        record = None if inherited else _begin(context, domain)
        return Finding(ID, level, f"the DMARC record {name} {problem}", text, "publish a right one", record)
    beside = [value for value in answer.values if value != text]
    if beside:
        what = f"{name} has another TXT record beside the DMARC record: OpenDMARC may take that one, and find no policy"
        return Finding(ID, Level.WARNING, what, "; and ".join((text, *map(shown, beside))), "remove the other record")
    how = f" with {'sp' if policy.sp != policy.p else 'p'}={asked} of the domain above" if inherited else ""
    return Finding(ID, Level.OK, f"DMARC covers {domain.name}{how}", f"{name}: {text}{_next(asked)}")


def judge(policy: Policy, domain: Domain, asked: str, *, signs: bool) -> tuple[str, Level]:
    """What is wrong with a policy for us, as the end of a sentence, and how bad it is; empty: nothing.

    Args:
        policy: the record.
        domain: it covers this one.
        asked: the policy that holds for it, ``p`` or ``sp``.
        signs: mail is signed.
    """
    if domain.subdomains and policy.strict_dkim:
        return (
            f"asks for strict alignment (adkim=s), and senders below {domain.name} are signed as {domain.name}",
            Level.ERROR,
        )
    if policy.doubts:
        return f"breaks the grammar, and some receivers ignore it then: {'; '.join(policy.doubts)}", Level.WARNING
    strictest = max((asked, policy.sp) if domain.subdomains else (asked,), key=POLICIES.index)
    if not signs and strictest != "none":
        return f"asks for {strictest}, and mail is not signed: only SPF is left to pass", Level.WARNING
    return "", Level.OK


def _next(asked: str) -> str:
    return " (once the reports show only your own mail: p=quarantine, then p=reject)" if asked == "none" else ""
