"""SPF (RFC 7208) evaluated as a receiver does, and counted as it counts."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from postroad.dns.macros import MacroError, Who, expand
from postroad.dns.resolver import Answer, Resolver
from postroad.dns.spf import ASKING, Term, is_spf, parse

LOOKUPS = 10
"""Terms that ask the DNS, in all records that one evaluation reads (section 4.6.4)."""
VOID_LOOKUPS = 2
"""Of them, those that may find nothing."""
MOST_COUNTED = 100


class Result(StrEnum):
    """What an evaluation comes to (section 2.6)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True)
class Verdict:
    """The outcome for one address and domain.

    Attributes:
        result: it.
        why: the term that decided, or what is wrong, in words.
        record: the domain's record; empty if there is none.
        lookups: how many terms that ask the DNS were evaluated.
    """

    result: Result
    why: str = ""
    record: str = ""
    lookups: int = 0


@dataclass(frozen=True)
class Cost:
    """What a record costs a receiver whom no term satisfies, and so what it may cost anyone.

    Attributes:
        lookups: terms that ask the DNS; above ``LOOKUPS`` the record fails for some or all.
        parts: how many of them each term of the record itself is, in its order; those that ask nothing are left out.
        problem: why the record can't be evaluated to its end, in words; empty if it can.
    """

    lookups: int
    parts: tuple[tuple[str, int], ...] = ()
    problem: str = ""


class _Ended(Exception):  # noqa: N818 - it also carries results that are no errors
    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result
        self.why = why


RESULTS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


def evaluate(resolver: Resolver, address: str, domain: str, *, sender: str = "", helo: str = "") -> Verdict:
    """``check_host()`` of section 4: what a receiver makes of a client's address.

    Args:
        resolver: is asked.
        address: the client's.
        domain: of the envelope sender, or the name in HELO.
        sender: the envelope sender; empty: ``postmaster@`` the domain.
        helo: the name in HELO; for macros only.
    """
    who = Who(ipaddress.ip_address(address), sender or f"postmaster@{domain}", helo or domain)
    run = _Evaluation(resolver, who)
    try:
        result, why = run.check(domain)
    except _Ended as ended:
        result, why = ended.result, ended.why
    return Verdict(result, why, run.records.get(domain, ""), run.lookups)


def cost(resolver: Resolver, record: str, domain: str) -> Cost:
    """What evaluating this record would cost if no term matched; the record itself need not be published."""
    parts, problem = _parts(resolver, record, (domain,))
    total = sum(lookups for _, lookups in parts)
    if not problem and total > LOOKUPS:
        problem = f"{total} DNS lookups: receivers stop at {LOOKUPS} and take the record for broken"
    return Cost(total, tuple(parts), problem)


def _parts(resolver: Resolver, record: str, above: tuple[str, ...]) -> tuple[list[tuple[str, int]], str]:
    """The terms that ask, each with the lookups it costs with all below it; and the first problem."""
    try:
        terms = parse(record)
    except ValueError as error:
        return [], f"the record of {above[-1]}: {error}"
    _ahead(resolver, terms)
    parts, total, problem = [], 0, ""
    for term in terms:
        if term.name in ASKING and total <= MOST_COUNTED:
            below, said = _below(resolver, term, above)
            parts.append((term.text, 1 + below))
            total += 1 + below
            problem = problem or said
    return parts, problem


def _below(resolver: Resolver, term: Term, above: tuple[str, ...]) -> tuple[int, str]:
    """The lookups of the record that a term leads to, and what is wrong there."""
    domain = term.value.lower().rstrip(".")
    if not _leads(term):
        return 0, ""
    if domain in above:
        return LOOKUPS, f"a loop: {' -> '.join([*above, domain])}"
    answer = resolver.query(domain, "TXT")
    if answer.unknown:
        return 0, f"{term.text} of {above[-1]} can't be looked up: {answer.detail}"
    records = [text for text in answer.values if is_spf(text)]
    if len(records) != 1:
        return 0, f"{term.text} of {above[-1]} leads to {len(records) or 'no'} SPF record{'s' if records else ''}"
    parts, problem = _parts(resolver, records[0], (*above, domain))
    return sum(lookups for _, lookups in parts), problem


def _leads(term: Term) -> bool:
    """Whether a term leads to another record, whose name does not depend on the client."""
    return term.name in {"include", "redirect"} and "%" not in term.value


def _ahead(resolver: Resolver, terms: Sequence[Term]) -> None:
    """Ask for the records that follow side by side: one after the other they could outlast the deadline."""
    resolver.look_up((term.value, "TXT") for term in terms[: LOOKUPS * 2] if _leads(term))


@dataclass
class _Evaluation:
    """One run of ``check_host()`` with its counts."""

    resolver: Resolver
    who: Who
    lookups: int = 0
    voids: int = 0
    records: dict[str, str] = field(default_factory=dict)

    def check(self, domain: str) -> tuple[Result, str]:
        answer = self._answer(domain, "TXT")
        records = [text for text in answer.values if is_spf(text)]
        if not records:
            return Result.NONE, f"{domain} has no SPF record"
        if len(records) > 1:
            raise _Ended(Result.PERMERROR, f"{domain} has {len(records)} SPF records")
        self.records[domain] = records[0]
        try:
            terms = parse(records[0])
        except ValueError as error:
            raise _Ended(Result.PERMERROR, f"the record of {domain}: {error}") from None
        _ahead(self.resolver, terms)
        for term in terms:
            if term.name in ASKING:
                self.lookups += 1
                if self.lookups > LOOKUPS:
                    raise _Ended(Result.PERMERROR, f"more than {LOOKUPS} DNS lookups, at {term.text} of {domain}")
            if term.name == "redirect":
                target = self._expand(term, domain)
                result, why = self.check(target)
                if result is Result.NONE:
                    raise _Ended(Result.PERMERROR, f"{term.text} of {domain} leads to no SPF record")
                return result, why
            if self._matches(term, domain):
                return RESULTS[term.qualifier], f"{term.text} of {domain}"
        return Result.NEUTRAL, f"no term of {domain} matches"

    def _matches(self, term: Term, domain: str) -> bool:
        ip = self.who.address
        if term.name == "all":
            return True
        if term.name in {"ip4", "ip6"}:
            return ip in ipaddress.ip_network(term.value)
        target = self._expand(term, domain) if term.value else domain
        if term.name == "include":
            result, _ = self.check(target)
            if result is Result.NONE:
                raise _Ended(Result.PERMERROR, f"{term.text} of {domain} leads to no SPF record")
            return result is Result.PASS
        if term.name == "exists":
            return self._asked(target, "A").found
        if term.name == "ptr":
            return self._reverse(target)
        names = [target]
        if term.name == "mx":
            names = [value.split()[1] for value in self._asked(target, "MX").values]
            if len(names) > LOOKUPS:
                raise _Ended(Result.PERMERROR, f"{target} has more than {LOOKUPS} MX hosts")
        rtype, length = ("A", term.prefix4) if ip.version == 4 else ("AAAA", term.prefix6)
        # the addresses of MX hosts are no terms, and so no void lookups (section 4.6.4)
        ask = self._asked if term.name == "a" else self._answer
        self.resolver.look_up((name, rtype) for name in names)
        found = [value for name in names for value in ask(name, rtype).values]
        return any(ip in ipaddress.ip_network(f"{value}/{length}", strict=False) for value in found)

    def _reverse(self, target: str) -> bool:
        """The ``ptr`` mechanism: a name of the address, that leads back to it, is in the target (section 5.5)."""
        names = self.resolver.query(self.who.address.reverse_pointer, "PTR").values[:LOOKUPS]
        rtype = "A" if self.who.address.version == 4 else "AAAA"
        inside = [name for name in names if name == target or name.endswith(f".{target}")]
        return any(str(self.who.address) in self.resolver.query(name, rtype).values for name in inside)

    def _expand(self, term: Term, domain: str) -> str:
        try:
            return expand(term.value, self.who, domain).lower().rstrip(".")
        except MacroError as error:
            raise _Ended(Result.PERMERROR, f"{term.text} of {domain}: {error}") from None

    def _asked(self, name: str, rtype: str) -> Answer:
        answer = self._answer(name, rtype)
        if answer.missing:
            self.voids += 1
            if self.voids > VOID_LOOKUPS:
                raise _Ended(Result.PERMERROR, f"more than {VOID_LOOKUPS} lookups find nothing, at {name} {rtype}")
        return answer

    def _answer(self, name: str, rtype: str) -> Answer:
        answer = self.resolver.query(name, rtype)
        if answer.unknown:
            raise _Ended(Result.TEMPERROR, f"{name} {rtype}: {answer.detail}")
        return answer
