"""The grammar of SPF records (RFC 7208, section 12): the whole record must follow it before any term counts (4.6)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from postroad.dns.spf_values import QUAD, FaultError, domain_spec, macro_string, network, prefix_length
from postroad.dns.tag_list import shown

MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")
ONCE = frozenset({"redirect", "exp"})
"""Modifiers with a meaning; each may occur once (section 6). Others are ignored if they follow the grammar."""
MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9._-]*)=(?P<value>.*)", re.DOTALL)
_MECHANISM = re.compile(r"(?P<qualifier>[+?~-]?)(?P<name>[^:/]*)(?P<rest>.*)", re.DOTALL)
_DUAL = re.compile(r"(?P<spec>.*?)(?:/(?P<four>[0-9]+))?(?://(?P<six>[0-9]+))?", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One term of a record: a mechanism, or the ``redirect`` or ``exp`` modifier.

    Attributes:
        text: the term as written.
        qualifier: ``+``, ``-``, ``~`` or ``?``; ``+`` if none is written.
        name: the name of the mechanism or modifier, in lower case.
        value: a domain-spec, or a network for ``ip4`` and ``ip6``; empty if there is none.
        prefix4: the bits of an IPv4 address that ``a`` and ``mx`` compare.
        prefix6: the bits of an IPv6 address that they compare.
    """

    text: str
    qualifier: str
    name: str
    value: str = ""
    prefix4: int = 32
    prefix6: int = 128


def parse(record: str) -> list[Term]:
    """The terms of a record in the order of evaluation: ``redirect`` last, and omitted if there is ``all``.

    Args:
        record: the whole TXT value, for which ``spf.is_spf`` is true.

    Raises:
        ValueError: the record breaks the grammar; names each faulty term by its number after the version.
    """
    terms, wrong = _read(record)
    if wrong:
        raise ValueError("; ".join(wrong))
    evaluated = [term for term in terms if term.name not in ONCE]
    if any(term.name == "all" for term in evaluated):
        return evaluated  # nothing after all is ever reached, not even redirect (section 5.1)
    return evaluated + [term for term in terms if term.name == "redirect"]


def faults(record: str) -> list[str]:
    """The grammar faults, one sentence each, such as ``term 3, `a:192.0.2.1`: an address; write ip4:192.0.2.1``."""
    return _read(record)[1]


def _read(record: str) -> tuple[list[Term], list[str]]:
    terms: list[Term] = []
    wrong: list[str] = []
    for place, text in numbered(record):
        try:
            term = _term(text)
        except FaultError as fault:
            wrong.append(f"{place}: {fault}")
            continue
        if term and term.name in ONCE and term.name in {other.name for other in terms}:
            wrong.append(f"{place}: a second {term.name}=; only one is allowed")
        terms += [term] if term else []
    return terms, wrong


def numbered(record: str) -> Iterator[tuple[str, str]]:
    """Each term, after its place in words: its number after the version, and its printable text."""
    for number, text in enumerate((text for text in record.split(" ")[1:] if text), start=1):
        yield f"term {number}, {shown(text)}", text


def _term(text: str) -> Term | None:
    """A term; None for an unknown modifier, which receivers ignore."""
    for char in text:
        if char == "\t":
            raise FaultError("a TAB; only spaces separate terms")
        if not "!" <= char <= "~":
            raise FaultError(f"the character U+{ord(char):04X}; only printable ASCII is allowed")
    modifier = MODIFIER.fullmatch(text)
    if not modifier:
        return _mechanism(text)
    name, value = modifier["name"].lower(), modifier["value"]
    if name in ONCE:
        return Term(text, "+", name, domain_spec(name, value, "="))
    macro_string(value)
    return None


def _mechanism(text: str) -> Term:
    match = _MECHANISM.fullmatch(text)
    assert match  # noqa: S101 - the pattern takes any text
    qualifier, name, rest = match["qualifier"] or "+", match["name"].lower(), match["rest"]
    if name not in MECHANISMS:
        raise FaultError(_unknown(match["qualifier"], match["name"]))
    if name == "all":
        if rest:
            raise FaultError("all takes no value")
        return Term(text, qualifier, name)
    if name in {"ip4", "ip6"}:
        return Term(text, qualifier, name, network(name, rest))
    prefix4, prefix6 = 32, 128
    if name in {"a", "mx"}:
        dual = _DUAL.fullmatch(rest)
        assert dual  # noqa: S101 - the pattern takes any text
        prefix4 = prefix_length(dual["four"] or "32", 32)
        prefix6 = prefix_length(dual["six"] or "128", 128)
        rest = dual["spec"]
    if not rest and name in {"a", "mx", "ptr"}:
        return Term(text, qualifier, name, "", prefix4, prefix6)
    if not rest.startswith(":"):
        raise FaultError(_no_colon(name, rest))
    return Term(text, qualifier, name, domain_spec(name, rest[1:], ":"), prefix4, prefix6)


def _no_colon(name: str, rest: str) -> str:
    if not rest:
        return f"no domain; write {name}:DOMAIN"
    if name in {"a", "mx"}:
        return "no prefix length after the /" if rest.strip("/") == "" else "what follows the / is not a prefix length"
    return f"{name} takes no prefix length"


def _unknown(qualifier: str, name: str) -> str:
    known = {"ip": "ip4", "ipv4": "ip4", "ipv6": "ip6", "prt": "ptr", "includes": "include", "aaaa": "a"}
    meant = known.get(name.lower()) or next(iter(get_close_matches(name.lower(), MECHANISMS, 1)), "")
    modifier, equals, _ = name.partition("=")
    if qualifier and equals and modifier.lower() in ONCE:
        return f"{modifier}= takes no qualifier; remove the {qualifier}"
    if not name:
        return "no mechanism"
    if name.startswith(('"', "'")) or name.endswith(('"', "'")):
        return "a quotation mark that is part of the record; remove it"
    if QUAD.fullmatch(name):
        return f"an address on its own; write ip4:{name}"
    return f"not an SPF mechanism; is {meant} meant?" if meant else "not an SPF mechanism"
