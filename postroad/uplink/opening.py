"""A session with a server of a smarthost, up to the point where mail may be sent: connection, TLS, AUTH."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from postroad.runtime.uplink import Server
from postroad.uplink.authentication import RefusalError, authenticate
from postroad.uplink.connecting import ConnectError, connect, why_not
from postroad.uplink.mechanisms import MechanismError
from postroad.uplink.oauth import TokenError, Tokens, poster
from postroad.uplink.replies import ReplyError, printable
from postroad.uplink.wire import Wire

WITHIN = 50.0
"""Seconds for all of it: sendmail waits a minute for the greeting (``Timeout.initial``)."""
LOGINS = 4
"""At once, an account; Exchange Online takes three connections."""
OTHER_NAME = frozenset({62, 64})
"""OpenSSL's codes for a certificate of another name or address: X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH."""

CONNECTION, TLS, CREDENTIALS, QUOTA, SERVER = "connection", "tls", "credentials", "quota", "server"
OBJECTION = "objection"
"""What failed; an objection is ours, and a whole sentence."""


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
        address: the address that was connected to; behind a proxy the proxy's.
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


@dataclass(frozen=True)
class Access:
    """What is needed to be let in, besides what ``Server`` says.

    Attributes:
        context: that of TLS; None: clear text.
        tokens: where access tokens are had; None: there is a password, or nothing.
        logins: bounds those at once: so many wrong guesses are made at most before the first is known to be one.
        objection: asked before each: why it is better left; empty: nothing is against it.
    """

    context: ssl.SSLContext | None
    tokens: Tokens | None = None
    logins: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOGINS))
    objection: Callable[[], str] = str


def accesses(authorities: str) -> Callable[[Server, str], Access]:
    """How to be let in; arguments and results are ``contexts``', with tokens."""
    context = contexts(authorities)

    def of(server: Server, certificate: str) -> Access:
        tokens = Tokens(server.oauth, poster(token_context(authorities), server.proxy)) if server.oauth else None
        return Access(context(server, certificate), tokens)

    return of


def token_context(authorities: str) -> ssl.SSLContext:
    """TLS with token servers."""
    context = ssl.create_default_context()
    if authorities:
        context.load_verify_locations(authorities)
    return context


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


async def open_session(server: Server, hostname: str, access: Access, within: float | None = None) -> Opened:
    """Open a session, within ``WITHIN`` seconds, or those given; the caller closes it.

    Args:
        server: whom to speak to, and how.
        hostname: our name in EHLO.
        access: TLS and tokens.
        within: seconds.

    Raises:
        OpeningError: it can't be had.
    """
    within = WITHIN if within is None else within
    stage = [CONNECTION, "the connection"]
    wire: Wire | None = None
    try:
        async with asyncio.timeout(within):
            connected, address = await connect(server)
            wire = Wire(connected)
            return await _prepare(wire, server, hostname, access, address, stage)
    except ConnectError as error:
        raise OpeningError(CONNECTION, str(error)) from error
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
        reason = f"did not get through the TLS handshake: {error}" if kind == TLS else f"does not speak SMTP: {error}"
    elif isinstance(error, RefusalError):
        kind, reason = QUOTA if error.quota else CREDENTIALS if error.lasting else SERVER, error.reason
    elif isinstance(error, TokenError):
        kind, reason = CREDENTIALS if error.lasting else SERVER, f"can't be logged in to: {error}"
    elif isinstance(error, MechanismError):
        kind, reason = CREDENTIALS, f"breaks the rules of AUTH: {error}"
    elif isinstance(error, OSError | EOFError):
        why = why_not(error, "it ended")
        reason = f"did not get through the TLS handshake: {why}" if kind == TLS else f"broke off {doing}: {why}"
    else:
        kind, reason = SERVER, f"can't be spoken to: {type(error).__name__}"
    return OpeningError(kind, reason)


def _tls_fault(error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"did not get through the TLS handshake: {printable(error.reason or str(error))}"
    said = printable(error.verify_message or str(error))
    if error.verify_code in OTHER_NAME:
        return f"fails at TLS: its certificate is for another name: {said}"
    return f"fails at TLS: its certificate is expired or not signed by an authority we trust: {said}"


async def _prepare(wire: Wire, server: Server, hostname: str, access: Access, address: str, stage: list[str]) -> Opened:
    context, tokens = access.context, access.tokens
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
        stage[:] = SERVER, "AUTH"
        async with access.logins:
            if objection := access.objection():
                raise OpeningError(OBJECTION, objection)
            mechanism = await authenticate(wire, server, tokens, offers)
    if wire.reader is None or wire.writer is None:
        await wire.stream(None, server.host)
    assert wire.reader is not None  # noqa: S101 - stream() has set both
    assert wire.writer is not None  # noqa: S101
    found = wire.writer.get_extra_info("cipher")
    tls = (wire.writer.get_extra_info("ssl_object").version(), found[0], found[2]) if found else None
    return Opened(wire.reader, wire.writer, address, "".join(greeting.lines[:1]), offers, tls, mechanism)


async def _ehlo(wire: Wire, hostname: str, stage: list[str]) -> tuple[str, ...]:
    stage[:] = SERVER, "EHLO"
    said = await wire.ask(f"EHLO {hostname}")
    if said.code == 250:
        return said.lines
    if 500 <= said.code < 600:  # a server from before 1995
        said = await wire.ask(f"HELO {hostname}")
        if said.code == 250:
            return said.lines[:1]
    raise OpeningError(SERVER, f"does not take EHLO: {said.text}")


async def quit_session(opened: Opened) -> None:
    """Say goodbye, and wait a moment for the answer."""
    with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
        async with asyncio.timeout(5):
            opened.writer.write(b"QUIT\r\n")
            await opened.writer.drain()
            await opened.reader.readline()
    opened.writer.transport.abort()


@contextlib.asynccontextmanager
async def session(server: Server, hostname: str, access: Access, within: float | None = None) -> AsyncIterator[Opened]:
    """A session that is ended with QUIT."""
    opened = await open_session(server, hostname, access, within)
    try:
        yield opened
    finally:
        await quit_session(opened)
