"""Which clients are trusted by address: what ``auto`` stands for here, and networks as access-map keys.

Pure functions over the text of ``/proc/net/route``, ``/proc/net/ipv6_route`` and over ``ipaddress`` values.
"""

import ipaddress
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from postroad.config.networks import MOST_ENTRIES, access_entries
from postroad.errors import InstallError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

RTF_GATEWAY = 0x2  # linux/route.h: the next hop is a router

SWARM_INGRESS = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("10.255.0.0/16"))
"""What Swarm takes for its ingress network unless told otherwise, now and before Docker 18.09."""


@dataclass(frozen=True)
class Surroundings:
    """The networks this host is directly attached to.

    Attributes:
        subnets: those that ``auto`` may stand for.
        gateways: the routers in them, and in the overlays.
        overlays: those that may be Swarm's ingress network, through which everybody comes.
        reaches_ipv6: whether an IPv6 address may be reached at all; true where nothing is known of the routes.
    """

    subnets: tuple[Network, ...] = ()
    gateways: tuple[Address, ...] = ()
    overlays: tuple[Network, ...] = ()
    reaches_ipv6: bool = True

    @property
    def has_ipv6(self) -> bool:
        """Whether any interface other than loopback has an IPv6 network that is not link-local."""
        return any(subnet.version == 6 for subnet in (*self.subnets, *self.overlays))


def surroundings(route: str, ipv6_route: str, mtu: Mapping[str, int] | None = None) -> Surroundings:
    """Read the kernel's routing tables, in the format of ``/proc/net/route`` and ``/proc/net/ipv6_route``.

    Swarm's routing mesh lets clients from outside appear under addresses of its ingress network, and nothing in a
    container tells that one from an app's overlay. So a network without a router is an overlay if it has Swarm's usual
    subnet, or if its packets are smaller than those on the way out (VXLAN takes 50 octets): neither is granted.

    Args:
        route: the IPv4 table.
        ipv6_route: the IPv6 table; empty without IPv6.
        mtu: largest packet of each interface, in octets.

    An on-link route is a subnet. Its first address counts as a gateway as well as every router of a route:
    a container in two Docker networks has a default route through one of them only, and the other bridge
    holds the first address of its subnet unless told otherwise.
    """
    attached: list[tuple[str, Network]] = []
    routers: list[tuple[str, Address]] = []
    reaches_ipv6 = False
    for fields in (line.split() for line in route.splitlines()[1:]):
        if len(fields) < 8 or fields[0] == "lo":
            continue
        destination, gateway, mask = (_ipv4(fields[index]) for index in (1, 2, 7))
        if int(fields[3], 16) & RTF_GATEWAY:
            routers.append((fields[0], gateway))
        elif int(mask):
            attached.append((fields[0], ipaddress.ip_network(f"{destination}/{mask}")))
    for fields in (line.split() for line in ipv6_route.splitlines()):
        if len(fields) < 10 or fields[9] == "lo":
            continue
        router = ipaddress.IPv6Address(bytes.fromhex(fields[4]))
        net = ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)))
        reaches_ipv6 |= not net.is_link_local and not net.is_multicast
        if int(fields[8], 16) & RTF_GATEWAY:
            routers.append((fields[9], router))
            continue
        if 0 < net.prefixlen < 128 and not net.is_link_local and not net.is_multicast:
            attached.append((fields[9], net))
    mtu = mtu or {}
    way_out = {interface for interface, _ in routers}
    widest = max((mtu.get(interface, 0) for interface in way_out), default=0)
    overlays = [
        net
        for interface, net in attached
        if interface not in way_out and (net in SWARM_INGRESS or mtu.get(interface, widest) < widest)
    ]
    gateways = [router for _, router in routers]
    gateways += [first for _, net in attached if (first := net.network_address + 1) in net]
    return Surroundings(
        tuple(dict.fromkeys(net for _, net in attached if net not in overlays)),
        tuple(dict.fromkeys(gateways)),
        tuple(dict.fromkeys(overlays)),
        reaches_ipv6,
    )


def _ipv4(field: str) -> ipaddress.IPv4Address:
    """An address as ``/proc/net/route`` prints it: the network-order bytes read as a number of this host."""
    return ipaddress.IPv4Address(struct.pack("=I", int(field, 16)))


def trusted(networks: Iterable[Network | str], around: Surroundings) -> tuple[Network, ...]:
    """Replace ``auto`` by the directly attached subnets, those only that are private (RFC 1918, RFC 4193).

    Raises:
        InstallError: one of them would take too many entries of the access map.
    """
    result: list[Network] = []
    for network in networks:
        if isinstance(network, str):
            result += [subnet for subnet in around.subnets if subnet.is_private]
        else:
            result.append(network)
    for grant in dict.fromkeys(result):
        if (entries := access_entries(grant)) > MOST_ENTRIES:
            raise InstallError(
                f"clients.networks: auto stands for {grant} here, which takes {entries} entries of the access map"
                f" ({MOST_ENTRIES} at most): name the addresses or ranges in it that may send instead"
            )
    return tuple(dict.fromkeys(result))


def access_keys(network: Network) -> Iterator[str]:
    """The access map's keys for a network: it knows whole octets (IPv4) and 16-bit groups (IPv6) only.

    ``172.16.0.0/12`` gives sixteen keys, ``10.0.0.0/8`` one, ``192.0.2.128/25`` 128.
    """
    if network.version == 6 and not network.prefixlen:
        yield "IPv6"
        return
    step = 8 if network.version == 4 else 16
    whole = max(step, -(-network.prefixlen // step) * step)
    for part in network.subnets(new_prefix=whole):
        yield _key(part.network_address, whole // step)


def access_key(address: Address) -> str:
    """The access map's key for one address."""
    return _key(address, 4 if address.version == 4 else 8)


def _key(address: Address, parts: int) -> str:
    if address.version == 4:
        return ".".join(str(address).split(".")[:parts])
    # sendmail writes an IPv6 address uncompressed and without leading zeros
    return "IPv6:" + ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":")[:parts])
