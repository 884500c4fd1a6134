"""Evaluates SPF (RFC 7208) and counts its DNS lookups as a receiver does."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from postroad import domains
from postroad.dns.macros import LONGEST, MacroError, Who, expand
from postroad.dns.resolver import Answer, Resolver, Status
from postroad.dns.spf import ASKING, is_spf
from postroad.dns.spf_disputed import disputed
from postroad.dns.spf_grammar import Term, parse

LOOKUPS = 10
"""The most terms that query the DNS in one evaluation, over all records that it reads (section 4.6.4)."""
VOID_LOOKUPS = 2
"""The most lookups that may find nothing."""
MOST_COUNTED = 100


class Result(StrEnum):
    """The result of an evaluation (section 2.6)."""

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
        result: the result.
        why: the term that decided, or what is wrong, in words.
        record: the domain's record; empty if there is none.
        lookups: how many terms that query the DNS were evaluated.
        disputed: what some receivers treat as an error in the records that were read, one sentence each.
    """

    result: Result
    why: str = ""
    record: str = ""
    lookups: int = 0
    disputed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What evaluating a record costs when no term matches, which is the most that it can cost.

    Attributes:
        lookups: the number of terms that query the DNS; above ``LOOKUPS`` the record fails for some or all addresses.
        parts: each term of the record that queries the DNS, in order, with the lookups that it causes.
        problem: why the record can't be evaluated to its end, in words; empty if it can.
    """

    lookups: int
    parts: tuple[tuple[str, int], ...] = ()
    problem: str = ""


class _Ended(Exception):  # noqa: N818 - it also carries results that are not errors
    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result
        self.why = why


RESULTS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


def evaluate(resolver: Resolver, address: str, domain: str, *, sender: str = "", helo: str = "") -> Verdict:
    """``check_host()`` of section 4: a receiver's verdict on a client's address.

    Args:
        resolver: the resolver to query.
        address: the client's address.
        domain: the envelope sender's domain, or the name in HELO.
        sender: the envelope sender; empty means ``postmaster@`` the domain.
        helo: the name in HELO; for macros only.
    """
    client = ipaddress.ip_address(address)
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped:
        client = client.ipv4_mapped  # still an IPv4 client (section 5)
    who = Who(client, sender or f"postmaster@{domain}", helo or domain)
    run = _Evaluation(resolver, who)
    try:
        result, why = run.check(domain)
    except _Ended as ended:
        result, why = ended.result, ended.why
    return Verdict(result, why, run.records.get(domain, ""), run.lookups, tuple(run.disputed))


def cost(resolver: Resolver, record: str, domain: str) -> Cost:
    """What evaluating this record costs if no term matches; the record need not be published."""
    parts, problem = _parts(resolver, record, (domain,))
    total = sum(lookups for _, lookups in parts)
    if not problem and total > LOOKUPS:
        problem = f"{total} DNS lookups: receivers stop at {LOOKUPS} and treat the record as broken"
    return Cost(total, tuple(parts), problem)


def _parts(resolver: Resolver, record: str, above: tuple[str, ...]) -> tuple[list[tuple[str, int]], str]:
    """The terms that query the DNS, each with all lookups that it causes; and the first problem."""
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
    """The lookups of the record that a term points to, and what is wrong there."""
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


def _is_name(text: str) -> bool:
    """Whether a name can be looked up: a domain-spec may expand to one that can't (section 4.3)."""
    return len(text) <= LONGEST and all(0 < len(label) <= 63 for label in text.split(".")) and "." in text


def _leads(term: Term) -> bool:
    """Whether a term points to another record whose name does not depend on the client."""
    return term.name in {"include", "redirect"} and "%" not in term.value


def _ahead(resolver: Resolver, terms: Sequence[Term]) -> None:
    """Look up the records that these terms point to in parallel: in sequence they could outlast the deadline."""
    resolver.look_up((term.value, "TXT") for term in terms[: LOOKUPS * 2] if _leads(term))


@dataclass
class _Evaluation:
    """One run of ``check_host()`` with its counters."""

    resolver: Resolver
    who: Who
    lookups: int = 0
    voids: int = 0
    records: dict[str, str] = field(default_factory=dict)
    disputed: list[str] = field(default_factory=list)

    def check(self, domain: str) -> tuple[Result, str]:
        if not _is_name(domain):
            return Result.NONE, f"{domain} is not a name that can be looked up"
        answer = self._answer(domain, "TXT")
        records = [text for text in answer.values if is_spf(text)]
        if not records:
            return Result.NONE, f"{domain} has no SPF record"
        if len(records) > 1:
            raise _Ended(Result.PERMERROR, f"{domain} has {len(records)} SPF records")
        self.records[domain] = records[0]
        terms = self._terms(domain, records[0])
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

    def _terms(self, domain: str, record: str) -> list[Term]:
        try:
            terms = parse(record)
        except ValueError as error:
            raise _Ended(Result.PERMERROR, f"the record of {domain}: {error}") from None
        self.disputed += [f"the record of {domain}: {said}" for said in disputed(record)]
        loops = [term for term in terms if term.name == "include" and "%{p" not in term.value.lower()]
        self.disputed += [
            f"the record of {domain}: `{term.text}` includes its own record: pyspf treats that as an error at once"
            for term in loops
            if self._expand(term, domain) == domain
        ]
        return terms

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
            names = [host for value in self._asked(target, "MX").values if (host := value.split()[1]) != "."]
            if len(names) > LOOKUPS:
                raise _Ended(Result.PERMERROR, f"{target} has more than {LOOKUPS} MX hosts")
        rtype, length = ("A", term.prefix4) if ip.version == 4 else ("AAAA", term.prefix6)
        self.resolver.look_up((name, rtype) for name in names if _is_name(name))
        found = [value for name in names for value in self._asked(name, rtype).values]
        return any(ip in ipaddress.ip_network(f"{value}/{length}", strict=False) for value in found)

    def _reverse(self, target: str) -> bool:
        """The ``ptr`` mechanism: one of the address's names resolves back to it and is in the target (section 5.5)."""
        names = [name for name in self._names() if self._leads_back(name)]
        return any(domains.is_within(name, target) for name in names)

    def _names(self) -> Sequence[str]:
        return self._void(self.resolver.query(self.who.address.reverse_pointer, "PTR")).values[:LOOKUPS]

    def _leads_back(self, name: str) -> bool:
        rtype = "A" if self.who.address.version == 4 else "AAAA"
        return str(self.who.address) in self._void(self._tried(name, rtype)).values

    def _validated(self, domain: str) -> str:
        """The ``p`` macro: of the validated names the domain itself, else one below it, else any (section 7.3)."""
        names = sorted(self._names(), key=lambda name: (name != domain, not name.endswith(f".{domain}")))
        return next(filter(self._leads_back, names), "unknown")

    def _expand(self, term: Term, domain: str) -> str:
        try:
            validated = self._validated(domain) if "%{p" in term.value.lower() else ""
            return expand(term.value, self.who, domain, validated).lower().rstrip(".")
        except MacroError as error:
            raise _Ended(Result.PERMERROR, f"{term.text} of {domain}: {error}") from None

    def _asked(self, name: str, rtype: str) -> Answer:
        return self._void(self._answer(name, rtype))

    def _void(self, answer: Answer) -> Answer:
        """Count an answer that finds nothing, for any term: receivers do not agree on which terms count."""
        self.voids += answer.missing
        if self.voids > VOID_LOOKUPS:
            why = f"more than {VOID_LOOKUPS} lookups find nothing, at {answer.name} {answer.type}"
            raise _Ended(Result.PERMERROR, why)
        return answer

    def _tried(self, name: str, rtype: str) -> Answer:
        """The answer for a name; one that can't be looked up has no records (section 4.8)."""
        if not _is_name(name):
            return Answer(name, rtype, Status.NXDOMAIN)
        return self.resolver.query(name, rtype)

    def _answer(self, name: str, rtype: str) -> Answer:
        answer = self._tried(name, rtype)
        if answer.unknown:
            raise _Ended(Result.TEMPERROR, f"{name} {rtype}: {answer.detail}")
        return answer
