"""One session of sendmail's: opened at the server, and then passed on, octet by octet.

What the server says is passed on as it is, but for replies that speak of the account and not of the message
(``replies.toml``): the mail waits then.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from postroad.runtime.log import Tell
from postroad.runtime.uplink import Server
from postroad.uplink.accounts import Account
from postroad.uplink.opening import CREDENTIALS, OBJECTION, Access, Opened, OpeningError, open_session
from postroad.uplink.replies import LONGEST, MOST_LINES, QUOTA, Reply, ReplyError, for_now, kind_of, parse_line
from postroad.uplink.wire import LONGEST_LINE

SILENT = 900.0
"""Seconds in which one of both says nothing before the session is ended; the longest wait of sendmail's is ten minutes
(``Timeout.datafinal``), and it keeps a connection for five (``ConnectionCacheTimeout``)."""
STUCK = 300.0
"""Seconds for which one of both may take nothing."""
LAST_WORDS = 5.0
"""Seconds for what a server says that takes nothing more."""
CLOSING, UNAVAILABLE = 221, 421
"""Replies with which a server ends a session itself (RFC 5321, 3.8)."""
PART = 1 << 16

_HIDDEN = ("STARTTLS", "AUTH", "AUTH=", "CHUNKING", "BINARYMIME")
_CODES = {
    CREDENTIALS: "4.7.0",
    QUOTA: "4.7.0",
    OBJECTION: "4.7.0",
    "tls": "4.7.0",
    "connection": "4.4.1",
    "server": "4.4.0",
}


@dataclass
class Way:
    """A server, and what sessions there share.

    Attributes:
        server: whom to speak to.
        access: TLS and tokens.
        account: what is known of the account.
    """

    server: Server
    access: Access
    account: Account

    @classmethod
    def make(cls, server: Server, access: Access) -> "Way":
        """One of which nothing is known yet."""
        account = Account()
        return cls(server, replace(access, objection=lambda: account.left_alone(time.monotonic())), account)


class Session:
    """One session of sendmail's."""

    def __init__(
        self,
        hostname: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        said: Tell,
        opened: Callable[[Server, Opened], None],
    ) -> None:
        """Serve sendmail's end.

        Args:
            hostname: our name in EHLO.
            reader: what sendmail says.
            writer: what it is told.
            said: called with a level and a line for the log.
            opened: called with each session that is opened, before sendmail learns of it.
        """
        self._hostname, self._reader, self._writer = hostname, reader, writer
        self._said, self._opened = said, opened
        self._last_code = 0

    async def serve(self, way: Way) -> None:
        """Do all of it."""
        opened = await self._open(way)
        if opened is None:
            return
        try:
            self._opened(way.server, opened)
            await self._pass_on(way, opened)
        finally:
            opened.writer.transport.abort()

    async def refuse(self, code: str, text: str) -> None:
        """Tell sendmail, in place of a greeting, that its mail has to wait."""
        self._writer.write(f"421 {code} {text}"[: LONGEST + 100].encode("ascii", "replace") + b"\r\n")
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(STUCK):
                await self._writer.drain()

    async def _open(self, way: Way) -> Opened | None:
        """A session at the server; None where there is none to be had, which sendmail has been told."""
        clock, account = time.monotonic, way.account
        if refusal := account.rests(clock()):
            await self.refuse("4.7.0", refusal)
            return None
        try:
            opened = await open_session(way.server, self._hostname, way.access)
        except OpeningError as error:
            refusal = error.reason if error.kind == OBJECTION else f"{way.server.host} {error.reason}"
            if error.kind in {CREDENTIALS, QUOTA}:
                note = account.refused if error.kind == CREDENTIALS else account.has_no_quota
                if note(clock(), refusal):
                    self._said("err", f"smarthost {refusal}; its mail waits: see {way.server.key}")
            elif error.kind != OBJECTION:
                account.put_off()
            await self.refuse(_CODES[error.kind], refusal)
            return None
        if account.works(clock()):
            self._said("notice", f"smarthost {way.server.host} takes mail of {way.server.key} again")
        return opened

    async def _pass_on(self, way: Way, opened: Opened) -> None:
        self._writer.write(f"220 {opened.greeting}".encode("ascii", "replace") + b"\r\n")
        async with asyncio.timeout(SILENT):
            await self._writer.drain()
            first = await self._reader.readline()
        if first[:5].upper() in {b"EHLO ", b"HELO "}:
            self._writer.write(_offer(opened.offers))
        else:
            opened.writer.write(first)
        commands = asyncio.create_task(self._commands(opened))
        replies = asyncio.create_task(self._replies(way, opened))
        gone = False
        try:
            await asyncio.wait({commands, replies}, return_when=asyncio.FIRST_COMPLETED)
            gone = commands.done() and commands.exception() is None
            if not gone and commands.done():  # the server takes nothing more: it may have said why
                await asyncio.wait({replies}, timeout=LAST_WORDS)
        finally:
            for task in (commands, replies):
                task.cancel()
            for result in await asyncio.gather(commands, replies, return_exceptions=True):
                gone = gone or isinstance(result, TimeoutError)
                if isinstance(result, Exception) and not isinstance(result, OSError | TimeoutError | ReplyError):
                    self._said("err", f"uplink: a session is ended: {result!r}")
        if not gone and self._last_code != CLOSING:
            await self._say_why(way)

    async def _say_why(self, way: Way) -> None:
        """Tell sendmail that the server has gone, unless that said so itself, and wait for sendmail to go, too.

        It may be in the middle of a message, or come back to a session that it has kept: its next command is answered.
        To a 421 it says QUIT, and would wait for an answer to that as well (``Timeout.quit``): the end is one.
        """
        if self._last_code != UNAVAILABLE:
            self._writer.write(f"421 4.4.2 {way.server.host} broke off the session\r\n".encode("ascii", "replace"))
        self._writer.write_eof()
        async with asyncio.timeout(SILENT):
            while await self._reader.read(PART):
                pass

    async def _commands(self, opened: Opened) -> None:
        while True:
            async with asyncio.timeout(SILENT):
                data = await self._reader.read(PART)
            if not data:
                return
            opened.writer.write(data)
            async with asyncio.timeout(STUCK):
                await opened.writer.drain()

    async def _replies(self, way: Way, opened: Opened) -> None:
        raw: list[bytes] = []
        texts: list[str] = []
        while True:
            async with asyncio.timeout(SILENT):
                line = await opened.reader.readline()
            if not line.endswith(b"\n"):
                return
            raw.append(line)
            code, more, text = parse_line(line.rstrip(b"\r\n")[:LONGEST_LINE])
            texts.append(text)
            if len(texts) > MOST_LINES:
                raise ReplyError("a reply without an end")
            if more:
                continue
            self._last_code = code
            self._writer.write(self._judged(way, Reply(code, tuple(texts)), b"".join(raw)))
            raw, texts = [], []
            async with asyncio.timeout(STUCK):
                await self._writer.drain()

    def _judged(self, way: Way, reply: Reply, raw: bytes) -> bytes:
        """The reply as it came, or what stands in its place."""
        kind = kind_of(reply)
        if kind is None:
            return raw
        instead = for_now(way.server.host, reply, kind)
        now = time.monotonic()
        refusal = instead.decode().strip().partition(" ")[2].partition(" ")[2]
        note = way.account.has_no_quota if kind == QUOTA else way.account.refused
        if note(now, refusal):
            self._said("err", f"smarthost {refusal}; its mail waits: see {way.server.key}")
        return instead


def _offer(offers: tuple[str, ...]) -> bytes:
    """The server's answer to EHLO as sendmail gets it: without what the uplink has done, and can't pass on."""
    kept = [offers[0], *(offer for offer in offers[1:] if not _is_hidden(offer))]
    lines = [f"250-{offer}" for offer in kept[:-1]] + [f"250 {kept[-1]}"]
    return "\r\n".join([*lines, ""]).encode("ascii", "replace")


def _is_hidden(offer: str) -> bool:
    word = offer.upper().split(" ", 1)[0]
    return word in _HIDDEN or word.startswith("AUTH=")
