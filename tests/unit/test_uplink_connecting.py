"""Connections to smarthosts: which address first, where from, through which proxy."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from postroad.runtime.uplink import Server
from postroad.uplink import connecting
from postroad.uplink.connecting import ConnectError, Found, connect, in_order, source

V6: Found = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 25, 0, 0))
V4: Found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 25))
OTHER: Found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.2", 25))


def server(port: int, host: str = "127.0.0.1", **fields: Any) -> Server:
    named = {"id": "0a1b2c", "key": "delivery.smarthost", "tls": "none", "username": "", "password": ""}
    return Server(**{**named, "host": host, "port": port, "certificate": "", **fields})


@pytest.mark.parametrize(
    ("prefer", "bind", "wanted"),
    [
        ("auto", (), [V6, V4, OTHER]),
        ("ipv6", (), [V6, V4, OTHER]),
        ("ipv4", (), [V4, OTHER, V6]),
        ("auto", ("192.0.2.9",), [V4, OTHER]),
        ("auto", ("192.0.2.9", "2001:db8::9"), [V6, V4, OTHER]),
        ("ipv4", ("2001:db8::9",), [V4, OTHER, V6]),
    ],
)
def test_the_order_of_addresses(prefer: str, bind: tuple[str, ...], wanted: list[Found]) -> None:
    assert in_order([V6, V4, OTHER], prefer, bind) == wanted


def test_ipv6_can_be_preferred_to_the_systems_order() -> None:
    assert in_order([V4, OTHER, V6], "ipv6", ()) == [V6, V4, OTHER]


def test_each_family_has_its_own_source() -> None:
    both = ("192.0.2.9", "2001:db8::9")
    assert [source(family, both) for family in (socket.AF_INET, socket.AF_INET6)] == list(both)
    assert source(socket.AF_INET6, both[:1]) == ""


async def listening(serve: Callable[[Any, Any], Awaitable[None]]) -> tuple[asyncio.Server, int]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                await serve(reader, writer)
        finally:
            writer.close()

    made = await asyncio.start_server(served, "127.0.0.1", 0)
    return made, made.sockets[0].getsockname()[1]


async def tell_peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{writer.get_extra_info('peername')[0]}\r\n".encode())
    await writer.drain()


async def said(connected: socket.socket) -> str:
    reader, writer = await asyncio.open_connection(sock=connected)
    line = await reader.readline()
    writer.close()
    return line.decode().strip()


def test_a_connection_comes_from_the_address_that_is_bound() -> None:
    async def run() -> tuple[str, str, str]:
        made, port = await listening(tell_peer)
        async with made:
            plain, address = await connect(server(port))
            bound, _ = await connect(server(port, bind=("127.0.0.9",)))
            return await said(plain), await said(bound), address

    assert asyncio.run(run()) == ("127.0.0.1", "127.0.0.9", "127.0.0.1")


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(
        ConnectError, match=r"can't be reached on port 9: 127\.0\.0\.1: from 192\.0\.2\.9: Cannot assign"
    ):
        asyncio.run(connect(server(9, bind=("192.0.2.9",))))


def test_a_server_with_ipv6_alone_is_not_reached_from_an_ipv4_address() -> None:
    with pytest.raises(ConnectError, match=r"has no IPv4 address, and mail leaves from 192\.0\.2\.9"):
        asyncio.run(connect(server(25, host="::1", bind=("192.0.2.9",))))


async def splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner, out = await asyncio.open_connection("127.0.0.1", port)
    writer.write(await inner.readline())
    await writer.drain()
    out.close()


class Proxies:
    """A SOCKS 5 server (RFC 1928, 1929) and one that takes CONNECT, for one connection after the other."""

    def __init__(self, target: int) -> None:
        self.target, self.asked = target, list[str]()

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        writer.write(b"\x05\x02" if 2 in methods else b"\x05\x00")
        if 2 in methods:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.asked.append(f"{user.decode()}:{password.decode()}")
            writer.write(b"\x01\x00" if password == b"p@ss/word" else b"\x01\x01")
        kind = (await reader.readexactly(4))[3]
        name = await reader.readexactly((await reader.readexactly(1))[0] if kind == 3 else 4)
        await reader.readexactly(2)
        self.asked.append(name.decode() if kind == 3 else f"address {kind}")
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await splice(reader, writer, self.target)

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split("\r\n")[0])
        refused = "refused.example" in head
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n" if refused else b"HTTP/1.1 200 OK\r\n\r\n")
        if not refused:
            await splice(reader, writer, self.target)


def through(scheme: str, credentials: str = "", host: str = "smtp.inside.example") -> tuple[str, list[str]]:
    async def run() -> tuple[str, list[str]]:
        made, port = await listening(tell_peer)
        proxies = Proxies(port)
        front, proxy = await listening(proxies.socks if scheme == "socks5" else proxies.http)
        async with made, front:
            url = f"{scheme}://{credentials}127.0.0.1:{proxy}"
            connected, address = await connect(server(587, host=host, proxy=url))
            assert address == "127.0.0.1"
            return await said(connected), proxies.asked

    return asyncio.run(run())


def test_a_socks_proxy_looks_the_name_up() -> None:
    assert through("socks5") == ("127.0.0.1", ["smtp.inside.example"])


def test_a_socks_proxy_with_a_password() -> None:
    # as postroad/sendmail/outbound.py writes it
    assert through("socks5", "app:p%40ss%2Fword@")[1] == ["app:p@ss/word", "smtp.inside.example"]
    with pytest.raises(ConnectError, match=r"through the proxy 127\.0\.0\.1"):
        through("socks5", "app:wrong@")


def test_an_http_proxy() -> None:
    assert through("http")[1] == ["CONNECT smtp.inside.example:587 HTTP/1.1"]
    with pytest.raises(ConnectError, match=r"through the proxy 127\.0\.0\.1: .*403"):
        through("http", host="refused.example")


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectError, match=r"through the proxy 127\.0\.0\.1") as error:
        asyncio.run(connect(server(587, proxy="http://app:secret@127.0.0.1:9")))
    assert "secret" not in str(error.value)

    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> None:
        made, port = await listening(mute)
        async with made:
            with pytest.raises(ConnectError, match=r"through the proxy 127\.0\.0\.1: no answer"):
                await connect(server(587, proxy=f"socks5://127.0.0.1:{port}"))

    monkeypatch.setattr(connecting, "THROUGH_PROXY_WITHIN", 0.2)
    asyncio.run(run())
