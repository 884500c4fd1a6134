"""Who answers for an address on an interface: asked of the kernel, which asks by ARP or neighbour discovery."""

import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Mapping

from postroad.sendmail.networks import Address

TIMEOUT = 0.3
"""Seconds that neighbours have to answer; who is there takes a millisecond."""
DISCARD = 9
"""The port of RFC 863: a datagram to it means nothing."""

# linux/in.h, linux/rtnetlink.h, linux/neighbour.h
IP_PKTINFO = 8
RTM_GETNEIGH, RTM_NEWNEIGH, NLMSG_DONE, NLMSG_ERROR = 30, 28, 3, 2
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NDA_DST, NDA_LLADDR = 1, 2
_HEADER, _NEIGHBOUR, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxxxiHBB"), struct.Struct("=HH")


def ask(interface: str, addresses: Iterable[Address]) -> Mapping[Address, str]:
    """The link-layer addresses of those that answer on this interface, also where a route would go elsewhere.

    A datagram whose interface is given is taken by the kernel to be for a neighbour there, so it looks for one; no
    privilege is needed. Empty where the kernel has no such thing.
    """
    wanted = set(addresses)
    answers: Mapping[Address, str] = {}
    try:
        index = socket.if_nametoindex(interface)
        for address in wanted:
            _poke(index, address)
        deadline = time.monotonic() + TIMEOUT
        while not wanted <= answers.keys() and time.monotonic() < deadline:
            time.sleep(0.005)
            answers = {each: link for each, link in _neighbours(index) if each in wanted}
    except OSError:
        return {}
    return answers


def _poke(index: int, address: Address) -> None:
    """Send an empty datagram to the neighbour."""
    if address.version == 4:
        family, level, kind = socket.AF_INET, socket.IPPROTO_IP, IP_PKTINFO
        data = struct.pack("=i4s4s", index, bytes(4), bytes(4))
    else:
        family, level, kind = socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
        data = struct.pack("=16si", bytes(16), index)
    # no way there, or no such family: then nobody answers
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.sendmsg([b""], [(level, kind, data)], 0, (str(address), DISCARD))


def _neighbours(index: int) -> list[tuple[Address, str]]:
    """The kernel's table of neighbours on an interface (rtnetlink(7)), those only that have answered."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(TIMEOUT)
        request = _NEIGHBOUR.pack(0, index, 0, 0, 0)
        kernel.send(_HEADER.pack(_HEADER.size + len(request), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request)
        found: list[tuple[Address, str]] = []
        while True:
            data = kernel.recv(1 << 16)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in {NLMSG_DONE, NLMSG_ERROR} or length < _HEADER.size:
                    return found
                if kind == RTM_NEWNEIGH:
                    found += _entry(data[_HEADER.size : length], index)
                data = data[(length + 3) & ~3 :]


def _entry(message: bytes, index: int) -> list[tuple[Address, str]]:
    _, at, *_ = _NEIGHBOUR.unpack_from(message)
    values = {}
    rest = message[_NEIGHBOUR.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        values[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]
    address, link = values.get(NDA_DST, b""), values.get(NDA_LLADDR, b"")
    # one that has not answered has no link-layer address, or none but zeros
    if at != index or len(address) not in {4, 16} or not any(link):
        return []
    return [(ipaddress.ip_address(address), link.hex(":"))]
