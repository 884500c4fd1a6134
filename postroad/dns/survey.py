"""Compares the records to publish with the DNS: what to add, what to change, what is there, and what to note."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from postroad import domains
from postroad.config.model import Config
from postroad.dns import dkim_record, dmarc_record, spf
from postroad.dns.records import DMARC, SPF, Record, RecordFacts, expected, is_version, published, questions
from postroad.dns.resolver import Answer, Question, Resolver
from postroad.dns.spf_check import Result, cost, evaluate
from postroad.dns.spf_disputed import disputed
from postroad.dns.spf_grammar import faults

KINDS = (SPF, DMARC, "v=TLSRPTv1")
"""TXT records of which a name has at most one each; a key record is the only one at its name."""


class RecordState(StrEnum):
    """What to do about a record."""

    ADD = "to add"
    CHANGE = "to change"
    PRESENT = "is there"
    UNKNOWN = "can't tell"


@dataclass(frozen=True)
class Planned:
    """A record to publish, and what the DNS has in its place.

    Attributes:
        record: the record.
        state: what to do about it.
        zone: the zone that it belongs to, as far as can be told.
        replaces: published values that it replaces; they must be deleted.
        beside: other values of the same name and type, which must stay: many programs set all of them together.
        notes: what to know about it, one sentence each.
        ours: whether it is this server's to set; an MX record that points elsewhere is only shown.
    """

    record: Record
    state: RecordState
    zone: str
    replaces: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ours: bool = True


def survey(config: Config, facts: RecordFacts, resolver: Resolver) -> tuple[Planned, ...]:
    """Look up what is published and plan what to do; ``facts.existing`` and ``facts.passing`` are filled in."""
    facts = look_up(config, facts, resolver)
    records = expected(config, facts)
    return tuple(_plan(config, facts, resolver, record, records) for record in records)


def look_up(config: Config, facts: RecordFacts, resolver: Resolver) -> RecordFacts:
    """The facts completed from the DNS with everything that ``expected`` needs."""
    asked = questions(config, facts)
    facts = replace(facts, existing=dict(zip(asked, resolver.look_up(asked), strict=True)))
    domains = [config.hostname, *(domain.name for domain in config.named_domains)]
    pairs = [(domain, address) for domain in domains if published(facts, domain, SPF) for address in facts.addresses]
    passing = {pair for pair in pairs if evaluate(resolver, pair[1], pair[0]).result is Result.PASS}
    return replace(facts, passing=frozenset(passing))


def _plan(config: Config, facts: RecordFacts, resolver: Resolver, record: Record, records: Sequence[Record]) -> Planned:
    answer = facts.existing[record.name, record.type]
    siblings = [each.value for each in records if (each.name, each.type) == (record.name, record.type)]
    others = [value for value in answer.values if value == record.value or value not in siblings]
    same = [value for value in others if _same(record, value)]
    # one correct address among others is enough
    rivals = [] if same and record.type in {"A", "AAAA"} else [x for x in others if x not in same and _rival(record, x)]
    if answer.unknown:
        state = RecordState.UNKNOWN
    elif rivals:
        state = RecordState.CHANGE
    else:
        state = RecordState.PRESENT if same else RecordState.ADD
    return Planned(
        record,
        state,
        _zone(config, facts.existing, record.name),
        replaces=tuple(rivals),
        beside=tuple(value for value in answer.values if value not in {*rivals, *same}),
        notes=tuple(_notes(record, answer, rivals, resolver)),
        ours=record.type != "MX" or record.value.split()[-1] == config.hostname,
    )


def _same(record: Record, value: str) -> bool:
    if record.type == "TXT" and "._domainkey." in record.name:
        try:
            return dkim_record.parse(record.value) == dkim_record.parse(value)
        except ValueError:
            return False
    return record.value == value


def _rival(record: Record, value: str) -> bool:
    """Whether a published value conflicts with the record: the name can't have both."""
    if record.type in {"A", "AAAA", "PTR"}:
        return True  # a receiver that finds this value instead of ours does not recognize us
    if record.type == "TXT":
        kind = next((kind for kind in KINDS if is_version(record.value, kind)), "")
        meant = {SPF: spf.attempted, DMARC: dmarc_record.is_attempt}.get(kind)
        return is_version(value, kind) or bool(meant and meant(value)) if kind else True
    return False


def _notes(record: Record, answer: Answer, rivals: Sequence[str], resolver: Resolver) -> list[str]:
    notes = []
    if answer.unknown:
        notes.append(f"The published records could not be looked up: {answer.detail}.")
    if answer.aliases and record.value not in answer.values:
        notes.append(
            f"The name is an alias (CNAME) of {answer.aliases[-1]}: change the record there, or drop the alias."
        )
    if is_version(record.value, SPF):
        if len(rivals) + (record.value in answer.values) > 1:
            notes.append("Receivers treat two SPF records as an error: replace all of them with this one.")
        elif rivals:
            old, new = rivals[0].split(), record.value.split()
            notes.append(f"Added: {' '.join(term for term in new if term not in old)}. The rest is unchanged.")
        count = cost(resolver, record.value, record.name)
        wrong = faults(record.value)
        notes += [
            f"Correct this by hand, because receivers treat the whole record as an error: {fault}." for fault in wrong
        ]
        notes += [] if wrong else [f"Not all receivers accept it: {each}." for each in disputed(record.value)]
        if count.problem and not wrong:
            parts = "; ".join(f"{term} costs {lookups}" for term, lookups in count.parts if lookups > 1)
            notes.append(f"{count.problem[:1].upper()}{count.problem[1:]}.{f' {parts}.' if parts else ''}")
        if any(spf.covered(record.value, stranger) for stranger in spf.STRANGERS):
            notes.append("It lets anyone send as this domain: end it with ~all.")
    if is_version(record.value, DMARC):
        notes += _dmarc_notes(record.value)
    if record.type == "MX" and record.value == "0 .":
        notes.append("A null MX says that the domain takes no mail: receivers may refuse it as a sender (RFC 7505).")
    return notes


def _dmarc_notes(text: str) -> list[str]:
    try:
        policy = dmarc_record.parse(text)
    except ValueError as error:
        return [f"Correct this by hand, because receivers can't follow it: {error}."]
    notes = [
        f"Correct this by hand, because some receivers then ignore the record: {doubt}." for doubt in policy.doubts
    ]
    if policy.p == "none":
        notes.append("Once the reports show that all your mail passes: p=quarantine, then p=reject.")
    return notes


def _zone(config: Config, existing: Mapping[Question, Answer], name: str) -> str:
    """The zone of a name: what the DNS says, else the longest sender domain that it is in, else its parent."""
    owners = [config.hostname, *(domain.name for domain in config.named_domains)]
    said = {existing[owner, "SOA"].zone for owner in owners if (owner, "SOA") in existing}
    for answer in (existing.get((name, rtype)) for rtype in ("PTR", "TXT", "A", "AAAA", "MX")):
        if answer and not answer.aliases:
            said.add(answer.zone)
    # the root and the top-level domains answer for names that are not registered yet
    inside = [zone for zone in said if "." in zone.strip(".") and domains.is_within(name, zone)]
    if inside:
        return max(inside, key=len)
    known = [domain.name for domain in config.named_domains if domains.is_within(name, domain.name)]
    if known:
        return max(known, key=len)
    labels = name.split(".")
    # the reverse zone of an IPv4 address is usually its /24
    return ".".join(labels[1:]) if len(labels) > 2 else name
