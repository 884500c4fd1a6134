"""Which addresses a request may go to when others choose its target. Standard library only, for the recorder."""

import ipaddress
from typing import Literal

Reach = Literal["public", "private", "never"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_EMBEDDING = {
    ipaddress.IPv6Network("::/96"): 0,  # IPv4-compatible (RFC 4291, section 2.5.5.1)
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,  # IPv4-mapped (section 2.5.5.2)
    ipaddress.IPv6Network("::ffff:0:0:0/96"): 0,  # IPv4-translated (RFC 2765)
    ipaddress.IPv6Network("64:ff9b::/96"): 0,  # NAT64 (RFC 6052)
    ipaddress.IPv6Network("2002::/16"): 80,  # 6to4 (RFC 3056)
}
"""Networks whose addresses embed an IPv4 address, and the number of bits to its right."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 allocated for public use (RFC 4291, section 2.4): not site-local, not NAT64's local-use prefix."""
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        # EC2 by IPv6, Azure's host agent, Alibaba, Oracle; the others' are link-local
        ("fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    )
)
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128"),
    )
)


def reach(text: str) -> Reach:
    """The kind of an IP address: ``public``, ``private``, or ``never`` if no request may go there.

    Private addresses are those of RFC 1918, RFC 4193, RFC 6598 and loopback. ``never`` are link-local and other
    addresses of clouds' metadata services, multicast, and what IANA reserves.

    Raises:
        ValueError: the text is not an address.
    """
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address != ipaddress.IPv6Address("::1"):
        for network, shift in _EMBEDDING.items():
            if address in network:
                return reach(str(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)))
    if address in _METADATA:
        return "never"
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return "private"
    routed = address.version == 4 or address in _UNICAST
    return "public" if routed and address.is_global and not address.is_multicast else "never"
