"""A session with a server of a smarthost, up to the point where mail may be sent: connection, TLS, AUTH."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from postroad.runtime.uplink import Server
from postroad.uplink import mechanisms
from postroad.uplink.mechanisms import Exchange, MechanismError
from postroad.uplink.replies import MOST_LINES, Reply, ReplyError, parse_line, printable

WITHIN = 50.0
"""Seconds for all of it: sendmail waits a minute for the greeting (``Timeout.initial``)."""
CONNECT_WITHIN = 15.0
"""Seconds for a connection to one address."""
LONGEST_LINE = 1 << 14
UNKNOWN_MECHANISM = 504
"""RFC 4954, 4."""

CONNECTION, TLS, CREDENTIALS, SERVER = "connection", "tls", "credentials", "server"
"""What failed."""


class OpeningError(Exception):
    """A session could not be opened.

    Attributes:
        kind: what failed: one of the above.
        reason: why, the server's words included.
    """

    def __init__(self, kind: str, reason: str) -> None:
        """Tell what failed and why."""
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass
class Opened:
    """A session in which mail may be sent.

    Attributes:
        reader: what the server says from now on.
        writer: what it is told.
        address: the address that was connected to.
        greeting: the text of its greeting's first line.
        offers: the lines of its last answer to EHLO; the first is its name.
        tls: version, cipher and its bits; None: clear text.
        mechanism: that of AUTH; empty: none.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    address: str
    greeting: str
    offers: tuple[str, ...]
    tls: tuple[str, str, int] | None
    mechanism: str


@dataclass
class _Wire:
    """A connection, in clear text at first.

    What has come in before TLS never counts after it (CVE-2011-0411): the octets before are kept apart from the stream.
    """

    connected: socket.socket
    held: bytes = b""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    closed: list[Callable[[], None]] = field(default_factory=list)

    async def line(self) -> bytes:
        if self.reader:
            data = await self.reader.readline()
        else:
            loop = asyncio.get_running_loop()
            while b"\n" not in self.held and len(self.held) < LONGEST_LINE:
                part = await loop.sock_recv(self.connected, 1 << 12)
                if not part:
                    break
                self.held += part
            data, end, self.held = self.held.partition(b"\n")
            data += end
        if not data.endswith(b"\n"):
            raise ConnectionResetError
        return data.rstrip(b"\r\n")

    async def reply(self) -> Reply:
        texts: list[str] = []
        more = True
        code = 0
        while more:
            code, more, text = parse_line(await self.line())
            texts.append(text)
            if len(texts) > MOST_LINES:
                raise ReplyError("a reply without an end")
        return Reply(code, tuple(texts))

    async def ask(self, command: str) -> Reply:
        data = command.encode() + b"\r\n"
        if self.writer:
            self.writer.write(data)
            await self.writer.drain()
        else:
            await asyncio.get_running_loop().sock_sendall(self.connected, data)
        return await self.reply()

    async def stream(self, context: ssl.SSLContext | None, host: str) -> None:
        if self.held:
            raise ReplyError("the server says more than it was asked")
        options: dict[str, Any] = {"ssl": context, "server_hostname": host} if context else {}
        self.reader, self.writer = await asyncio.open_connection(sock=self.connected, **options)

    def close(self) -> None:
        if self.writer:
            self.writer.transport.abort()
        self.connected.close()


def contexts(authorities: str) -> Callable[[Server, str], ssl.SSLContext | None]:
    """Make TLS contexts, each once: reading the authorities takes time and memory.

    Args:
        authorities: path of certificates to trust besides the system's; empty: none.

    Returns:
        What gives the context for a server, given the path of its client certificate or nothing.
    """
    made: dict[tuple[bool, str], ssl.SSLContext] = {}

    def of(server: Server, certificate: str) -> ssl.SSLContext | None:
        if server.tls == "none":
            return None
        key = server.verified, certificate
        if key not in made:
            context = ssl.create_default_context()
            if authorities:
                context.load_verify_locations(authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if not server.verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if certificate:
                context.load_cert_chain(certificate)
            made[key] = context
        return made[key]

    return of


async def open_session(
    server: Server, hostname: str, context: ssl.SSLContext | None, within: float | None = None
) -> Opened:
    """Open a session, within ``WITHIN`` seconds, or those given; the caller closes it.

    Args:
        server: whom to speak to, and how.
        hostname: our name in EHLO.
        context: that of TLS; None: clear text.
        within: seconds.

    Raises:
        OpeningError: it can't be had.
    """
    within = WITHIN if within is None else within
    stage = [CONNECTION, "the connection"]
    wire: _Wire | None = None
    try:
        async with asyncio.timeout(within):
            connected, address = await _connect(server)
            wire = _Wire(connected)
            return await _prepare(wire, server, hostname, context, address, stage)
    except BaseException as error:
        if wire:
            wire.close()
        if isinstance(error, OpeningError | asyncio.CancelledError):
            raise
        raise _failure(error, stage[0], stage[1], within) from error


def _failure(error: BaseException, kind: str, doing: str, within: float) -> OpeningError:
    """An error, in words."""
    if isinstance(error, ssl.SSLError):
        return OpeningError(TLS, _tls_fault(error))
    if isinstance(error, TimeoutError):
        reason = f"did not get through {doing} within {within:g} s"
    elif isinstance(error, ReplyError):
        kind, reason = SERVER, f"does not speak SMTP: {error}"
    elif isinstance(error, MechanismError):
        kind, reason = CREDENTIALS, f"breaks the rules of AUTH: {error}"
    elif isinstance(error, OSError | EOFError):
        why = _why(error, "it ended")
        reason = f"did not get through the TLS handshake: {why}" if kind == TLS else f"broke off {doing}: {why}"
    else:
        kind, reason = SERVER, f"can't be spoken to: {type(error).__name__}"
    return OpeningError(kind, reason)


def _why(error: BaseException, otherwise: str) -> str:
    # asyncio puts words of its own into strerror
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else otherwise


def _tls_fault(error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"did not get through the TLS handshake: {printable(error.reason or str(error))}"
    said = printable(error.verify_message or str(error))
    if "mismatch" in said:
        return f"fails at TLS: its certificate is for another name: {said}"
    return f"fails at TLS: its certificate is expired or not signed by an authority we trust: {said}"


async def _connect(server: Server) -> tuple[socket.socket, str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OpeningError(CONNECTION, f"has no address that can be looked up: {error.strerror}") from error
    problems = []
    for family, kind, protocol, _, name in found:
        connected = socket.socket(family, kind, protocol)
        connected.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await loop.sock_connect(connected, name)
        except (OSError, TimeoutError) as error:
            connected.close()
            problems.append(f"{name[0]}: {_why(error, 'no answer')}")
        except BaseException:
            connected.close()
            raise
        else:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return connected, str(name[0])
    raise OpeningError(CONNECTION, f"can't be reached on port {server.port}: {'; '.join(problems[:4])}")


async def _prepare(
    wire: _Wire, server: Server, hostname: str, context: ssl.SSLContext | None, address: str, stage: list[str]
) -> Opened:
    if server.tls == "implicit":
        stage[:] = TLS, "the TLS handshake"
        await wire.stream(context, server.host)
    stage[:] = SERVER, "the greeting"
    greeting = await wire.reply()
    if greeting.code != 220:
        raise OpeningError(SERVER, f"does not greet: {greeting.text}")
    offers = await _ehlo(wire, hostname, stage)
    if context and server.tls != "implicit":
        if "STARTTLS" not in {offer.upper() for offer in offers[1:]}:
            raise OpeningError(TLS, "does not offer STARTTLS")
        stage[:] = TLS, "STARTTLS"
        said = await wire.ask("STARTTLS")
        if said.code != 220:
            raise OpeningError(TLS, f"does not take STARTTLS now: {said.text}")
        stage[:] = TLS, "the TLS handshake"
        await wire.stream(context, server.host)
        offers = await _ehlo(wire, hostname, stage)
    mechanism = ""
    if server.username:
        stage[:] = CREDENTIALS, "AUTH"
        mechanism = await _authenticate(wire, server, offers)
    if wire.reader is None or wire.writer is None:
        await wire.stream(None, server.host)
    assert wire.reader is not None  # noqa: S101 - stream() has set both
    assert wire.writer is not None  # noqa: S101
    found = wire.writer.get_extra_info("cipher")
    tls = (wire.writer.get_extra_info("ssl_object").version(), found[0], found[2]) if found else None
    return Opened(wire.reader, wire.writer, address, "".join(greeting.lines[:1]), offers, tls, mechanism)


async def _ehlo(wire: _Wire, hostname: str, stage: list[str]) -> tuple[str, ...]:
    stage[:] = SERVER, "EHLO"
    said = await wire.ask(f"EHLO {hostname}")
    if said.code == 250:
        return said.lines
    if 500 <= said.code < 600:  # a server from before 1995
        said = await wire.ask(f"HELO {hostname}")
        if said.code == 250:
            return said.lines[:1]
    raise OpeningError(SERVER, f"does not take EHLO: {said.text}")


async def _authenticate(wire: _Wire, server: Server, offers: tuple[str, ...]) -> str:
    offered = [word for offer in offers[1:] for word in _auth_words(offer)]
    names = mechanisms.choose(offered)
    if not names:
        has = ", ".join(map(printable, offered)) or "no AUTH"
        raise OpeningError(
            CREDENTIALS, f"takes no credentials of ours: it offers {has}, and none of {', '.join(mechanisms.ORDER)}"
        )
    said = Reply(0, ())
    for name in names:
        try:
            said = await _exchange(wire, name, mechanisms.ORDER[name](server.username, server.password))
        except (OSError, EOFError, ReplyError, MechanismError):
            if said.code < 500:
                raise
            break  # what it said before is why
        if said.code == 235:
            return name
        if said.code < 500:
            raise OpeningError(SERVER, f"does not take AUTH now: {said.text}")
        if name in mechanisms.IN_CLEAR and said.code != UNKNOWN_MECHANISM:
            break  # another way to send the same password would be one more wrong guess
    raise OpeningError(CREDENTIALS, f"refuses the credentials of {printable(server.username)}: {said.text}")


def _auth_words(offer: str) -> list[str]:
    words = offer.replace("=", " ", 1).split() if offer[:5].upper() in {"AUTH ", "AUTH="} else []
    return words[1:]


async def _exchange(wire: _Wire, name: str, exchange: Exchange) -> Reply:
    first = exchange.initial
    said = await wire.ask(f"AUTH {name}" + ("" if first is None else f" {base64.b64encode(first).decode() or '='}"))
    for _ in range(8):
        if said.code != 334:
            if said.code == 235:
                exchange.finished()
            return said
        challenge = mechanisms.decoded("".join(said.lines).strip())
        try:
            answer = base64.b64encode(exchange.answer(challenge)).decode()
        except MechanismError:
            with contextlib.suppress(OSError, ReplyError):
                await wire.ask("*")
            raise
        said = await wire.ask(answer)
    raise MechanismError("the server never ends to ask")


async def quit_session(opened: Opened) -> None:
    """Say goodbye, and wait a moment for the answer."""
    with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
        async with asyncio.timeout(5):
            opened.writer.write(b"QUIT\r\n")
            await opened.writer.drain()
            await opened.reader.readline()
    opened.writer.transport.abort()


@contextlib.asynccontextmanager
async def session(
    server: Server, hostname: str, context: ssl.SSLContext | None, within: float | None = None
) -> AsyncIterator[Opened]:
    """A session that is ended with QUIT."""
    opened = await open_session(server, hostname, context, within)
    try:
        yield opened
    finally:
        await quit_session(opened)
