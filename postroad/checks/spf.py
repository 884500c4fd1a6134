"""Whether SPF passes, evaluated as a receiver does (RFC 7208), for each domain and for the host's own name."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.records import Record
from postroad.dns.spf import is_spf
from postroad.dns.spf_check import LOOKUPS, Result, cost, evaluate

ID = "spf"
SHORT = True

RECORD = "v=spf1"


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain and address, or one for what is wrong with the record itself."""
    config = context.config
    if not config.delivery.goes_to_receivers:
        return  # what counts then is the check `smarthost`'s to say
    for name in dict.fromkeys([*(domain.name for domain in config.named_domains), config.hostname]):
        yield from _of(context, name)


def _of(context: Context, name: str) -> Iterator[Finding]:
    # without a record of the host's own, bounces (whose sender is empty) have no SPF result: no harm, no help
    bad = Level.WARNING if name == context.config.hostname else Level.ERROR
    answer = context.resolver.query(name, "TXT")
    if answer.unknown:
        yield unanswered(ID, answer)
        return
    records = [text for text in answer.values if is_spf(text)]
    record = context.record(name, "TXT", RECORD)
    if len(records) != 1:
        many = f"{name} has {len(records)} SPF records: receivers take that for an error"
        yield Finding(
            ID,
            bad,
            many if records else f"{name} has no SPF record",
            "; ".join(records) or f"no TXT record with v=spf1 ({answer.status})",
            _publish(record, merge=bool(records)),
            record,
        )
        return
    for address in context.facts.addresses:
        verdict = evaluate(context.resolver, address, name, helo=context.config.hostname)
        seen = f"{verdict.record} ({verdict.lookups} of {LOOKUPS} lookups)"
        if verdict.result is Result.PASS:
            yield _rest(context, name, address, verdict.record, seen)
        elif verdict.result is Result.TEMPERROR:
            said = f"{verdict.why}; {seen}"
            yield Finding(ID, Level.WARNING, f"SPF of {name} can't be evaluated now", said, "try again")
        elif verdict.result is Result.PERMERROR:
            said = f"{verdict.why}; {seen}"
            yield Finding(ID, bad, f"SPF of {name} is in error", said, "mend the record", record)
        else:
            fix = "publish this record in its place"
            yield Finding(ID, bad, f"SPF of {name} gives {verdict.result} for {address}", seen, fix, record)


def _publish(record: Record | None, *, merge: bool) -> str:
    if record is None:
        return "set public_ip: the record names the address that mail leaves from, which is not known"
    return "merge them into the one below, and remove the others" if merge else "publish the TXT record"


def _rest(context: Context, name: str, address: str, record: str, seen: str) -> Finding:
    """We pass; others that the record speaks of may not, where it takes too many lookups to get to them."""
    others = cost(context.resolver, record, name)
    if others.problem:
        return Finding(
            ID,
            Level.WARNING,
            f"SPF of {name} passes for {address}, but is in error for others",
            f"{others.problem}; {seen}",
            "mend the part of the record that is not ours",
        )
    return Finding(ID, Level.OK, f"SPF of {name} passes for {address}", seen)
