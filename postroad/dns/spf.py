"""Recognizes SPF records (RFC 7208) and merges them so that our addresses pass. No lookups."""

import ipaddress
import re
from collections.abc import Sequence

from postroad.dns.spf_grammar import faults, parse
from postroad.dns.spf_mend import mend

ALL = ["+all", "all", "?all", "~all", "-all"]
"""The terms that can end a record, mildest first."""
ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_ATTEMPT = re.compile(r"\W*(?:v\W*)?spf\W*1(?![0-9.])\W*", re.IGNORECASE)
STRANGERS = ("240.0.0.1", "100::1")
"""Addresses that no host has (RFC 1112, section 4; RFC 6666): a record that lets them pass lets anyone pass."""


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (section 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def attempted(text: str) -> str:
    """A text that was meant as an SPF record but begins wrongly, with its beginning corrected; else empty."""
    match = None if is_spf(text) else _ATTEMPT.match(text)
    return f"v=spf1 {text[match.end() :]}".strip() if match else ""


def merge(existing: Sequence[str], addresses: Sequence[str], *, all_: str) -> str:
    """The single SPF record of a domain, with these addresses added and grammar faults corrected where possible.

    Args:
        existing: the published records; more than one is an error, which merging corrects.
        addresses: IPv4 or IPv6 addresses that do not pass yet.
        all_: the last term of a new record.
    """
    if len(existing) == 1 and not addresses and not faults(existing[0]):
        return existing[0]
    terms = list(dict.fromkeys(mend(term) for record in existing for term in record.split()[1:]))
    ends = [term for term in terms if term.lower() in ALL]
    redirects = [term for term in terms if term.lower().startswith("redirect=")]
    if (len(existing) != 1 and len(redirects) != 1) or ends:
        # the mildest of several ends, and no redirect, which has no effect beside one: what passed before still passes
        end = min(ends, key=lambda term: ALL.index(term.lower()), default=all_)
        included = [f"include:{term.partition('=')[2]}" for term in redirects if len(existing) > 1]
        terms = [*(term for term in terms if term not in ends and term not in redirects), *included, end]
    # ours first, because an earlier term may end the evaluation
    return " ".join(["v=spf1", *(term for term in map(mechanism, addresses) if term not in terms), *terms])


def mechanism(address: str) -> str:
    """The mechanism for one address."""
    return f"ip{ipaddress.ip_address(address).version}:{address}"


def covered(record: str, address: str) -> bool:
    """Whether an address passes by the record's own terms, without lookups."""
    ip = ipaddress.ip_address(address)
    try:
        terms = parse(record)
    except ValueError:
        return False
    for term in terms:
        if term.name == "all" or (term.name in {"ip4", "ip6"} and ip in ipaddress.ip_network(term.value)):
            return term.qualifier == "+"
    return False
