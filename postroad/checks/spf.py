"""Whether SPF passes, evaluated as a receiver does (RFC 7208), for each domain and for the host's own name."""

from collections.abc import Iterator, Sequence

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.config.model import Config
from postroad.dns.records import Record
from postroad.dns.spf import STRANGERS, attempted, is_spf
from postroad.dns.spf_check import LOOKUPS, Result, Verdict, cost, evaluate
from postroad.dns.spf_grammar import faults
from postroad.dns.tag_list import shown

ID = "spf"
SHORT = True

RECORD = "v=spf1"


def run(context: Context) -> Iterator[Finding]:
    """One finding for each domain and address, or one for what is wrong with the record itself."""
    config = context.config
    if not config.delivery.goes_to_receivers:
        return  # what counts then is the check `smarthost`'s to say
    for name in dict.fromkeys([*(domain.name for domain in config.named_domains), *_own(config), config.hostname]):
        yield from _of(context, name)


def _own(config: Config) -> list[str]:
    """The domain of return addresses: receivers see it as the sender's."""
    return [config.returns.domain] if config.returns.domain else []


def _of(context: Context, name: str) -> Iterator[Finding]:
    # without a record of the host's own, bounces (whose sender is empty) have no SPF result: no harm, no help
    bad = Level.WARNING if name == context.config.hostname else Level.ERROR
    answer = context.resolver.query(name, "TXT")
    if answer.unknown:
        yield unanswered(ID, answer)
        return
    records = [text for text in answer.values if is_spf(text)]
    record = context.record(name, "TXT", RECORD)
    left = faults(record.value) if record else []
    if record and (left or record.value in records):
        record = None  # it would be as much in error, or is there already
    if len(records) != 1:
        meant = [shown(text) for text in answer.values if attempted(text)]
        many = f"{name} has {len(records)} SPF records: receivers take that for an error"
        none = f"{name} has a TXT record that is no SPF record: one begins with `v=spf1 `, with a space at the end"
        yield Finding(
            ID,
            bad,
            many if records else none if meant else f"{name} has no SPF record",
            "; ".join([*records, *meant]) or f"no TXT record with v=spf1 ({answer.status})",
            _publish(record, left, merge=bool(records)),
            record,
        )
        return
    for address in context.facts.addresses:
        verdict = evaluate(context.resolver, address, name, helo=context.config.hostname)
        seen = f"{verdict.record} ({verdict.lookups} of {LOOKUPS} lookups)"
        if verdict.result is Result.PASS:
            yield _rest(context, name, address, verdict, [text for text in answer.values if _confuses(text)])
        elif verdict.result is Result.TEMPERROR:
            said = f"{verdict.why}; {seen}"
            what = f"SPF of {name} can't be evaluated now"
            yield Finding(ID, Level.WARNING, what, said, "try again", unknown=True)
        elif verdict.result is Result.PERMERROR:
            fix = "publish this record in its place" if record else "mend that by hand: what is meant is not plain"
            yield Finding(ID, bad, f"SPF of {name} is in error: {verdict.why}", seen, fix, record)
        else:
            fix = "publish this record in its place" if record else "let the record name this address"
            yield Finding(ID, bad, f"SPF of {name} gives {verdict.result} for {address}", seen, fix, record)
    if any(evaluate(context.resolver, stranger, name).result is Result.PASS for stranger in STRANGERS):
        yield Finding(
            ID,
            Level.WARNING,
            f"SPF of {name} lets anyone send as {name}",
            records[0],
            "end the record with ~all or -all, and name only the addresses that send",
        )


def _publish(record: Record | None, left: Sequence[str], *, merge: bool) -> str:
    if left:
        return f"publish one record in place of all, and mend by hand, since what is meant is not plain: {left[0]}"
    if record is None:
        return "set public_ip: the record names the address that mail leaves from, which is not known"
    return "merge them into the one below, and remove the others" if merge else "publish the TXT record"


def _confuses(text: str) -> bool:
    """Whether a TXT value is no SPF record and begins like one, which is enough for rspamd 3.12 to take it for one."""
    return text.lower().startswith("v=spf1") and not is_spf(text)


def _rest(context: Context, name: str, address: str, verdict: Verdict, beside: Sequence[str]) -> Finding:
    """We pass; others may not, where it takes too many lookups to get to them, or at receivers of another mind."""
    seen = f"{verdict.record} ({verdict.lookups} of {LOOKUPS} lookups)"
    if verdict.disputed:
        return Finding(
            ID,
            Level.WARNING,
            f"SPF of {name} passes for {address}, but not at all receivers: {verdict.disputed[0]}",
            "; ".join((*verdict.disputed[1:], seen)),
            "write that part in another way",
        )
    if beside:
        what = (
            f"SPF of {name} passes for {address}, but not at all receivers: rspamd may take another text for the record"
        )
        return Finding(ID, Level.WARNING, what, "; ".join((*beside, seen)), "remove the other text")
    others = cost(context.resolver, verdict.record, name)
    if others.problem:
        return Finding(
            ID,
            Level.WARNING,
            f"SPF of {name} passes for {address}, but is in error for others",
            f"{others.problem}; {seen}",
            "mend the part of the record that is not ours",
        )
    return Finding(ID, Level.OK, f"SPF of {name} passes for {address}", seen)
