"""TCP connections to servers of smarthosts: which address first, where from, and through which proxy."""

import asyncio
import ipaddress
import os
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.async_.asyncio import Proxy

from postroad.errors import plainly
from postroad.runtime.uplink import Server
from postroad.uplink.replies import printable

CONNECT_WITHIN = 15.0
"""Seconds for a connection to one address."""
THROUGH_PROXY_WITHIN = 30.0
"""Seconds for a connection through a proxy, which looks the name up and connects by itself."""

Found = tuple[int, int, int, str, Any]
"""What ``getaddrinfo`` says of an address."""

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


class ConnectError(Exception):
    """There is no connection to be had; the message says why, and goes on after the server's name."""


class BindError(OSError):
    """Connections can't come from the configured address; ``strerror`` names it."""


async def connect(server: Server) -> tuple[socket.socket, str]:
    """A connection that never blocks, and the address at its other end: behind a proxy the proxy's.

    Raises:
        ConnectError: there is none.
    """
    if server.proxy:
        return await _through_proxy(server)
    found = await _look_up(server.host, server.port)
    problems = []
    for family, kind, protocol, _, name in in_order(found, server.prefer, server.bind):
        try:
            return await _to(family, kind, protocol, name, source(family, server.bind)), str(name[0])
        except (OSError, TimeoutError) as error:
            problems.append(f"{name[0]}: {why_not(error, 'no answer')}")
    if not problems:
        raise ConnectError(f"has no IPv4 address, and mail leaves from {', '.join(server.bind)}")
    raise ConnectError(f"can't be reached on port {server.port}: {'; '.join(problems[:4])}")


async def _look_up(host: str, port: int) -> list[Found]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectError(f"has no address that can be looked up: {error.strerror}") from error
    return list(found)


def in_order(found: Sequence[Found], prefer: str, bind: Sequence[str]) -> list[Found]:
    """Addresses in the order in which they are tried, without those that no connection may go to.

    Args:
        found: in the order of the system (RFC 6724).
        prefer: ``auto``, ``ipv4`` or ``ipv6``.
        bind: the addresses that connections come from; a single IPv4 one leaves out IPv6.
    """
    usable = [each for each in found if each[0] == socket.AF_INET or not bind or source(socket.AF_INET6, bind)]
    first = FAMILIES.get(prefer)
    return sorted(usable, key=lambda each: first is not None and each[0] != first)


def source(family: int, bind: Sequence[str]) -> str:
    """The address of this family that connections come from; empty: the system chooses."""
    version = 6 if family == socket.AF_INET6 else 4
    return next((address for address in bind if ipaddress.ip_address(address).version == version), "")


async def _to(family: int, kind: int, protocol: int, name: Any, bound: str) -> socket.socket:
    """A connection to one address.

    Raises:
        OSError, TimeoutError: it can't be had.
    """
    connected = socket.socket(family, kind, protocol)
    try:
        connected.setblocking(False)
        if bound:
            try:
                connected.bind((bound, 0))
            except OSError as error:
                raise BindError(error.errno, f"from {bound}: {error.strerror}") from error
        async with asyncio.timeout(CONNECT_WITHIN):
            await asyncio.get_running_loop().sock_connect(connected, name)
        _set_up(connected)
    except BaseException:
        connected.close()
        raise
    return connected


async def _through_proxy(server: Server) -> tuple[socket.socket, str]:
    shown = f"the proxy {urllib.parse.urlsplit(server.proxy).hostname}"
    try:
        proxy = Proxy.from_url(server.proxy, rdns=True)
        connected = await proxy.connect(server.host, server.port, timeout=THROUGH_PROXY_WITHIN)
    except ProxyTimeoutError as error:
        raise ConnectError(f"can't be reached through {shown}: no answer") from error
    except (ProxyError, ProxyConnectionError, OSError) as error:
        raise ConnectError(f"can't be reached through {shown}: {printable(plainly(error))}") from error
    _set_up(connected)
    return connected, str(connected.getpeername()[0])


def _set_up(connected: socket.socket) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def why_not(error: BaseException, otherwise: str) -> str:
    """Why, in the system's words; ``otherwise`` where it has none."""
    if isinstance(error, OSError) and error.errno:
        # of any other, asyncio has put words of its own into strerror
        return str(error.strerror) if isinstance(error, BindError) else os.strerror(error.errno)
    return otherwise
