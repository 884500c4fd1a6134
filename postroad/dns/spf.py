"""SPF records (RFC 7208) as text: taken apart, and merged so that our addresses pass. No lookups."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

ALL = ["+all", "all", "?all", "~all", "-all"]
"""The ways to end a record, the mildest first."""
ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_TERM = re.compile(
    r"(?P<qualifier>[+?~-]?)(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)(?P<rest>[:/].*)?", re.IGNORECASE
)
_MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9._-]*)=(?P<value>.*)")
_LENGTHS = re.compile(r"(?P<spec>.*?)(?:/(?P<four>\d{1,3}))?(?://(?P<six>\d{1,3}))?")


@dataclass(frozen=True)
class Term:
    """One term of a record: a mechanism, or the ``redirect`` modifier."""

    text: str
    qualifier: str
    name: str
    value: str = ""
    prefix4: int = 32
    prefix6: int = 128


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def parse(record: str) -> list[Term]:
    """The terms of a record, ``redirect`` last.

    Raises:
        ValueError: a term is none; says which.
    """
    terms: list[Term] = []
    redirects: list[Term] = []
    for text in record.split()[1:]:
        mechanism, modifier = _TERM.fullmatch(text), _MODIFIER.fullmatch(text)
        if mechanism:
            terms.append(
                _mechanism(text, mechanism["qualifier"] or "+", mechanism["name"].lower(), mechanism["rest"] or "")
            )
        elif modifier:
            if modifier["name"].lower() == "redirect":
                redirects.append(Term(text, "+", "redirect", modifier["value"]))
        else:
            raise ValueError(f"{text!r} is no SPF term")
    if len(redirects) > 1:
        raise ValueError("two redirect= terms")
    # what comes after all is never reached, redirect neither (section 5.1)
    return terms if any(term.name == "all" for term in terms) else terms + redirects


def _mechanism(text: str, qualifier: str, name: str, rest: str) -> Term:
    if name in {"ip4", "ip6"}:
        try:
            network = ipaddress.ip_network(rest.removeprefix(":"), strict=False)
        except ValueError:
            raise ValueError(f"{text!r} holds no network") from None
        if not rest.startswith(":") or network.version != int(name[2]):
            raise ValueError(f"{text!r} holds no network of this kind")
        return Term(text, qualifier, name, str(network))
    match = _LENGTHS.fullmatch(rest)
    spec = match["spec"] if match else ""
    lengths = (int(match["four"] or 32), int(match["six"] or 128)) if match else (32, 128)
    has_length = bool(match and (match["four"] or match["six"]))
    if lengths[0] > 32 or lengths[1] > 128 or (has_length and name not in {"a", "mx"}):
        raise ValueError(f"{text!r} has a prefix length that it can't have")
    if (
        spec in {":", "/"}
        or (spec and (name == "all" or not spec.startswith(":")))
        or (not spec and name in {"include", "exists"})
    ):
        raise ValueError(f"{text!r} is no SPF term")
    return Term(text, qualifier, name, spec.removeprefix(":"), *lengths)


def merge(existing: Sequence[str], addresses: Sequence[str], *, all_: str) -> str:
    """The one SPF record of a domain, with these addresses in it.

    Args:
        existing: the records that are there; more than one is an error that this mends.
        addresses: IPv4 or IPv6, those that do not pass yet.
        all_: how a record that is new ends.
    """
    if len(existing) == 1 and not addresses:
        return existing[0]
    terms = list(dict.fromkeys(term for record in existing for term in record.split()[1:]))
    ends = [term for term in terms if term.lower() in ALL]
    redirects = [term for term in terms if term.lower().startswith("redirect=")]
    if (len(existing) != 1 and len(redirects) != 1) or ends:
        # of several ends the mildest, and no redirect, which counts for nothing beside one: what passed passes still
        end = min(ends, key=lambda term: ALL.index(term.lower()), default=all_)
        included = [f"include:{term.partition('=')[2]}" for term in redirects if len(existing) > 1]
        terms = [*(term for term in terms if term not in ends and term not in redirects), *included, end]
    # ours first: what comes before may end the evaluation
    return " ".join(["v=spf1", *(term for term in map(mechanism, addresses) if term not in terms), *terms])


def mechanism(address: str) -> str:
    """The mechanism for one address."""
    return f"ip{ipaddress.ip_address(address).version}:{address}"


def covered(record: str, address: str) -> bool:
    """Whether an address passes by what the record itself says, with no lookup."""
    ip = ipaddress.ip_address(address)
    try:
        terms = parse(record)
    except ValueError:
        return False
    for term in terms:
        if term.name == "all" or (term.name in {"ip4", "ip6"} and ip in ipaddress.ip_network(term.value)):
            return term.qualifier == "+"
    return False
