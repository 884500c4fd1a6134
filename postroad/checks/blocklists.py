"""Whether a public address is on a list of addresses that receivers refuse (RFC 5782)."""

import ipaddress
from collections.abc import Iterator

from postroad.checks.context import Context, side_by_side
from postroad.checks.model import Finding, Level
from postroad.dns.resolver import Answer

ID = "blocklists"
SHORT = False

MUST_BE_LISTED = {4: "127.0.0.2", 6: "::ffff:7f00:2"}
MUST_NOT_BE_LISTED = {4: "127.0.0.1", 6: "::ffff:7f00:1"}
"""Test entries (RFC 5782, section 5): they tell a list that answers us from one that refuses, or that has ended."""


def run(context: Context) -> Iterator[Finding]:
    """One finding for each address that is listed, for each list that does not tell, and for all the rest."""
    pairs = [(address, zone) for address in context.facts.addresses for zone in context.config.doctor.dnsbls]
    clean = []
    for (address, zone), finding in zip(pairs, side_by_side(lambda pair: ask(context, *pair), pairs), strict=True):
        if finding:
            yield finding
        else:
            clean.append(f"{address} at {zone}")
    if clean:
        yield Finding(ID, Level.OK, "not on a blocklist", ", ".join(clean))


def ask(context: Context, address: str, zone: str) -> Finding | None:
    """What one list says of one address; None if nothing."""
    version = ipaddress.ip_address(address).version
    names = [entry(each, zone) for each in (address, MUST_BE_LISTED[version], MUST_NOT_BE_LISTED[version])]
    own, listed, unlisted = context.resolver.look_up([(name, "A") for name in names])
    if version == 6 and listed.missing:
        return None  # a list of IPv4 addresses
    if own.unknown or refuses(own) or refuses(listed) or not listed.found or unlisted.found:
        said = own if own.unknown or refuses(own) else listed
        return Finding(
            ID,
            Level.INFO,
            f"{zone} does not tell whether {address} is on it",
            ", ".join(said.values) or said.detail or str(said.status),
            "lists refuse public resolvers and heavy users: ask through a resolver of your own (dns.servers)",
            unknown=True,
        )
    if own.missing:
        return None
    why = context.resolver.query(names[0], "TXT")
    return Finding(
        ID,
        Level.ERROR,
        f"{address} is on the blocklist {zone}",
        " ".join([*own.values, *why.values]),
        f"find out why at the list's own site, mend that, and ask to be removed: https://{_site(zone)}",
    )


def entry(address: str, zone: str) -> str:
    """The name of an address in a list."""
    reverse = ipaddress.ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def refuses(answer: Answer) -> bool:
    """Whether the answer is about us and not about the address: what is listed is in 127.0.0.0/8, below 127.255."""
    return any(not value.startswith("127.") or value.startswith("127.255.") for value in answer.values)


def _site(zone: str) -> str:
    return ".".join(zone.split(".")[-2:])
