"""SPF (RFC 7208): records merged so that our addresses pass."""

import ipaddress
from collections.abc import Sequence


def merge(existing: str, addresses: Sequence[str], *, all_: str) -> str:
    """The SPF record with these addresses in it.

    Args:
        existing: the record that is there; empty: none.
        addresses: IPv4 or IPv6.
        all_: how a record that is new ends.
    """
    terms = existing.split() or ["v=spf1", all_]
    missing = [term(address) for address in addresses if not _covered(terms, address)]
    # first of all: what comes before may stop the evaluation
    return " ".join([terms[0], *missing, *terms[1:]]) if missing or not existing else existing


def term(address: str) -> str:
    """The mechanism for one address."""
    return f"ip{ipaddress.ip_address(address).version}:{address}"


def _covered(terms: Sequence[str], address: str) -> bool:
    """Whether the address passes by what the record itself says, with no lookup."""
    ip = ipaddress.ip_address(address)
    for text in terms:
        bare = text.lower()
        if bare in {"all", "+all"}:
            return True
        if bare.startswith(("-", "~", "?")):
            bare, passes = bare[1:], False
        else:
            bare, passes = bare.removeprefix("+"), True
        kind, _, network = bare.partition(":")
        if kind in {"ip4", "ip6"}:
            try:
                matches = ip in ipaddress.ip_network(network, strict=False)
            except ValueError:
                continue
            if matches:
                return passes
    return False
