"""Networks whose hosts may relay, and the check for those that would make an open relay."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from postroad.config.values import refuse

INSIDE = tuple(
    ipaddress.ip_network(text)
    for text in (
        # private use, RFC 1918; shared by carriers and clouds, RFC 6598; link-local; loopback
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)
"""Ranges that can't be reached from the Internet; allowed at any prefix length."""

WIDEST_PUBLIC = {4: 24, 6: 64}
"""The shortest public prefix allowed, by IP version: the smallest routed IPv4 block, one IPv6 LAN."""


MOST_ENTRIES = 4096
"""The most entries of the access map that one range may take."""


def access_entries(network: IPv4Network | IPv6Network) -> int:
    """The number of access map entries for a range: the map's keys are whole octets (IPv4) or 16-bit groups (IPv6)."""
    if network.version == 6 and not network.prefixlen:
        return 1  # there is one key for all of IPv6
    step = 8 if network.version == 4 else 16
    return int(2 ** (max(step, -(-network.prefixlen // step) * step) - network.prefixlen))


def parse_network(value: Any) -> IPv4Network | IPv6Network | Literal["auto"]:
    """``auto`` unchanged; an address or CIDR as a network.

    Raises:
        PydanticCustomError: it is neither; for a CIDR with host bits set, the message gives the correct network.
    """
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if value == "auto":
        return "auto"
    # ipaddress would accept an int, and a zone (fe80::1%eth0) has no meaning in a map
    if not isinstance(value, str) or "%" in value:
        refuse("auto, or an address or CIDR such as 172.20.0.0/16")
    try:
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        refuse("auto, or an address or CIDR such as 172.20.0.0/16")
    if isinstance(loose, IPv6Network) and loose.network_address.ipv4_mapped:
        refuse("the IPv4 network itself, not its IPv6-mapped form")
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        refuse("the address alone, or the network it is in", hint=f": {loose}")
    if (entries := access_entries(network)) > MOST_ENTRIES:
        refuse(
            f"a range that takes at most {MOST_ENTRIES} entries of the access map, which knows 16 bits of an address at"
            f" a time: the /{network.prefixlen // 16 * 16 + 4}s in it, or longer, that hold your clients",
            found=f"{network}, which takes {entries}",
        )
    return network


def is_too_wide(network: IPv4Network | IPv6Network) -> bool:
    """Whether trusting this network would let strangers relay: it is public and wider than ``WIDEST_PUBLIC``."""
    inside = any(isinstance(network, type(x)) and network.subnet_of(x) for x in INSIDE)  # type: ignore[arg-type]
    return not inside and network.prefixlen < WIDEST_PUBLIC[network.version]


Network = Annotated[
    IPv4Network | IPv6Network | Literal["auto"],
    PlainValidator(parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"$comment": "auto, address or CIDR", "type": "string"}),
]
"""``auto``, or a network whose host bits are zero."""


def parse_address(value: Any) -> IPv4Address | IPv6Address:
    """An IP address.

    Raises:
        PydanticCustomError: it is not an address, has a zone, or is an IPv4-mapped IPv6 address.
    """
    try:
        # ipaddress would accept an int
        address = ipaddress.ip_address(str(value) if isinstance(value, IPv4Address | IPv6Address | str) else "")
    except ValueError:
        refuse("an IP address such as 203.0.113.10 or 2001:db8::10")
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address.scope_id):
        refuse("an IP address such as 203.0.113.10 or 2001:db8::10")
    return address


IPAddress = Annotated[
    IPv4Address | IPv6Address,
    PlainValidator(parse_address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"$comment": "address", "type": "string"}),
]
"""One IP address."""


def parse_public(value: Any) -> IPv4Address | IPv6Address | Literal["auto"]:
    """``auto`` unchanged; an address that receivers can see, possibly a private one if they are all in that network.

    Raises:
        PydanticCustomError: it is neither.
    """
    if value == "auto":
        return "auto"
    address = parse_address(value)
    if is_nobody(address):
        refuse("auto, or the address that receivers see")
    return address


def is_nobody(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address can't be a host that others reach: loopback, link-local, multicast, unspecified."""
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified


PublicAddress = Annotated[
    IPv4Address | IPv6Address | Literal["auto"],
    PlainValidator(parse_public),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"$comment": "auto or address", "type": "string"}),
]
"""``auto``, or the address of a host that others can reach."""
