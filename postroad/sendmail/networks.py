"""Which clients are trusted by address: what ``auto`` stands for here, and networks as access-map keys.

Pure functions over the kernel's texts (``postroad.runtime.attached``) and over ``ipaddress`` values.
"""

import ipaddress
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from postroad.config.model import Config
from postroad.config.networks import MOST_ENTRIES, access_entries
from postroad.errors import InstallError
from postroad.runtime.addresses import as_sendmail
from postroad.runtime.attached import Tables

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Neighbours: TypeAlias = Callable[[str, Iterable[Address]], Mapping[Address, str]]
"""The link-layer addresses of those of some addresses that answer on an interface; ``neighbours.ask`` is one."""

RTF_GATEWAY = 0x2  # linux/route.h: the next hop is a router

SWARM_INGRESS = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("10.255.0.0/16"))
"""What Swarm takes for its ingress network unless told otherwise, now and before Docker 18.09."""


@dataclass(frozen=True)
class Surroundings:
    """The networks this host is directly attached to.

    Attributes:
        subnets: those that ``auto`` may stand for.
        gateways: the routers in all of them.
        own: this host's own addresses but loopback.
        overlays: those that may be Swarm's ingress network, through which everybody comes.
        taps: those behind which is no network but a program that forwards ports: rootless engines have them.
        unrouted: those whose router is unknown.
        reaches_ipv6: whether an IPv6 address may be reached at all; true where nothing is known of the routes.
    """

    subnets: tuple[Network, ...] = ()
    gateways: tuple[Address, ...] = ()
    own: tuple[Address, ...] = ()
    overlays: tuple[Network, ...] = ()
    taps: tuple[Network, ...] = ()
    unrouted: tuple[Network, ...] = ()
    reaches_ipv6: bool = True

    @property
    def has_ipv6(self) -> bool:
        """Whether any interface other than loopback has an IPv6 network that is not link-local."""
        return any(subnet.version == 6 for subnet in (*self.subnets, *self.overlays, *self.taps, *self.unrouted))

    @property
    def fronts(self) -> tuple[Address, ...]:
        """The addresses under which port forwarding shows clients from anywhere: the gateways, and this host's own."""
        return tuple(dict.fromkeys((*self.gateways, *self.own)))


def surroundings(tables: Tables, neighbours: Neighbours = lambda _interface, _addresses: {}) -> Surroundings:
    """Read the kernel's tables.

    An on-link route is a subnet. These are not for ``auto``:

    - Swarm's routing mesh lets clients from outside appear under addresses of its ingress network, and nothing in a
      container tells that one from an app's overlay. So a network without a router is an overlay if it has Swarm's
      usual subnet, or if its packets are smaller than those on the way out (VXLAN takes 50 octets).
    - Behind a tap is a program. slirp4netns and pasta hold no neighbour there, but show clients from outside under
      their own addresses, and pasta under this container the host's subnet.
    - A container in two Docker networks has a default route through one of them only, and strangers may come through
      the other bridge's address as well. See ``_router``.
    """
    attached, routers = _routes(tables.route, tables.ipv6_route)
    own = _own(tables)
    way_out = {interface for interface, _ in routers}
    widest = max((tables.mtu.get(interface, 0) for interface in way_out), default=0)
    subnets: list[Network] = []
    overlays: list[Network] = []
    taps: list[Network] = []
    unrouted: list[Network] = []
    gateways = [router for _, router in routers]
    for interface, net in attached:
        if interface in tables.taps:
            taps.append(net)
        elif interface not in way_out and (net in SWARM_INGRESS or tables.mtu.get(interface, widest) < widest):
            overlays.append(net)
            gateways.append(net.network_address + 1)
        elif any(router in net for _, router in routers):
            subnets.append(net)
        elif (router := _router(interface, net, [each for _, each in routers], own, neighbours)) is not None:
            subnets.append(net)
            gateways.append(router)
        else:
            unrouted.append(net)
    return Surroundings(
        subnets=tuple(dict.fromkeys(subnets)),
        gateways=tuple(dict.fromkeys(each for each in gateways if each not in own)),
        own=own,
        overlays=tuple(dict.fromkeys(overlays)),
        taps=tuple(dict.fromkeys(taps)),
        unrouted=tuple(dict.fromkeys(unrouted)),
        reaches_ipv6=any(not net.is_link_local and not net.is_multicast for net in _destinations(tables.ipv6_route)),
    )


def _router(
    interface: str, net: Network, known: Iterable[Address], own: Iterable[Address], neighbours: Neighbours
) -> Address | None:
    """The router of a network of which no route names one; None where it can't be told.

    The host that a known router is answers for that address on all its bridges (``arp_ignore`` is 0): who has the same
    link-layer address on this interface is that host. Its address here may be any, but those that are not usual (the
    first, the last) would have to be searched for, and such a network is not trusted. Without a router that is known
    no port is forwarded, and who answers at the usual address is the router.
    """
    usual = [each for each in (net.network_address + 1, net.broadcast_address - 1) if each in net and each not in own]
    answers = neighbours(interface, [*usual, *known])
    hosts = {answers[each] for each in known if each in answers}
    if not any(True for _ in known):
        hosts = set(answers.values())
    return next((each for each in usual if answers.get(each) in hosts), None)


def _routes(route: str, ipv6_route: str) -> tuple[list[tuple[str, Network]], list[tuple[str, Address]]]:
    """The subnets and the routers, each with its interface."""
    attached: list[tuple[str, Network]] = []
    routers: list[tuple[str, Address]] = []
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
        net = _ipv6_destination(fields)
        if int(fields[8], 16) & RTF_GATEWAY:
            routers.append((fields[9], ipaddress.IPv6Address(bytes.fromhex(fields[4]))))
        elif 0 < net.prefixlen < 128 and not net.is_link_local and not net.is_multicast:
            attached.append((fields[9], net))
    return attached, routers


def _destinations(ipv6_route: str) -> Iterator[ipaddress.IPv6Network]:
    for fields in (line.split() for line in ipv6_route.splitlines()):
        if len(fields) >= 10 and fields[9] != "lo":
            yield _ipv6_destination(fields)


def _ipv6_destination(fields: list[str]) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)))


def _ipv4(field: str) -> ipaddress.IPv4Address:
    """An address as ``/proc/net/route`` prints it: the network-order bytes read as a number of this host."""
    return ipaddress.IPv4Address(struct.pack("=I", int(field, 16)))


def _own(tables: Tables) -> tuple[Address, ...]:
    found: list[Address] = [
        ipaddress.IPv4Address(text) for text in re.findall(r"-- (\S+)\n\s*/32 host LOCAL", tables.fib_trie)
    ]
    found += [ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in tables.if_inet6.splitlines()]
    return tuple(dict.fromkeys(each for each in found if not each.is_loopback))


def trusted(networks: Iterable[Network | str], around: Surroundings, *, gateways: bool = False) -> tuple[Network, ...]:
    """Replace ``auto`` by the directly attached subnets, those only that are private (RFC 1918, RFC 4193).

    Args:
        networks: ``clients.networks``.
        around: where this host is.
        gateways: ``clients.trust_gateway``: ``auto`` also stands for who forwards ports behind a tap.

    Raises:
        InstallError: one of them would take too many entries of the access map.
    """
    result: list[Network] = []
    for network in networks:
        if isinstance(network, str):
            result += [subnet for subnet in around.subnets if subnet.is_private]
            if gateways:
                result += [
                    ipaddress.ip_network(each)
                    for each in around.fronts
                    if any(each in net for net in around.taps if net.is_private)
                ]
        else:
            result.append(network)
    for grant in dict.fromkeys(result):
        if (entries := access_entries(grant)) > MOST_ENTRIES:
            raise InstallError(
                f"clients.networks: auto stands for {grant} here, which takes {entries} entries of the access map"
                f" ({MOST_ENTRIES} at most): name the addresses or ranges in it that may send instead"
            )
    return tuple(dict.fromkeys(result))


def warnings(config: Config, around: Surroundings, *, kubernetes: bool) -> list[str]:
    """Where ``clients.networks: auto`` trusts fewer clients than its reader would think, and what to set.

    Args:
        config: what is wanted.
        around: where this host is.
        kubernetes: whether this is a pod (kubelet sets ``KUBERNETES_SERVICE_HOST`` in each).
    """
    if "auto" not in config.clients.networks:
        return []
    found = [
        f"clients.networks: auto does not stand for {net}, whose router is unknown (port forwarding shows strangers"
        f" under its address): name the addresses of your apps in it instead"
        for net in around.unrouted
        if net.is_private and net not in config.clients.networks
    ]
    here = trusted(["auto"], around, gateways=config.clients.trust_gateway)
    if found or any(network != "auto" for network in config.clients.networks):
        return found
    if kubernetes:
        stands = f"{', '.join(map(str, here))}, the pods of this node alone" if here else "no pod here"
        advice = "name the range of the cluster's pods, such as 10.244.0.0/16"
    elif here:
        return found
    elif around.taps:
        stands = "nobody behind a rootless engine's port forwarding (slirp4netns, pasta), which shows strangers alike"
        advice = "put your apps and this container into a network of their own, or give them clients.users"
    else:
        stands = "nobody here"
        advice = "name the addresses of your apps, such as 192.168.1.20 (127.0.0.0/8 for apps that share this network)"
    return [*found, f"clients.networks: auto stands for {stands}: {advice}; [] where that is meant"]


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
    written = as_sendmail(str(address))
    if address.version == 4:
        return ".".join(written.split(".")[:parts])
    return ":".join(written.split(":")[: 1 + parts])
