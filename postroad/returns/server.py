"""The listener's side of SMTP: aiosmtpd's protocol, with bounds, and no address but those of the gate."""

import asyncio
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException, syntax

from postroad.errors import InstallError, plainly
from postroad.returns.gate import Gate
from postroad.returns.spool import Spool
from postroad.returns.telling import LARGEST_MESSAGE
from postroad.runtime.log import Tell

MOST_RECIPIENTS = 5
"""Of one message: a bounce has one, a report one or two."""
MOST_REFUSED = 5
"""Refused recipients of a session, after which it ends: somebody tries names."""
MOST_COMMANDS = 200
"""Of each kind, in a session."""
IDLE = 60.0
"""Seconds that a client may be silent."""
LONGEST_SESSION = 600.0
"""Seconds that a session may take in all, so that nobody holds one by a character a minute."""


class Handler:
    """What aiosmtpd asks at each command."""

    def __init__(self, gate: Gate, spool: Spool, arrived: Callable[[], None], log: Tell) -> None:
        """Take messages for the gate's addresses into the spool.

        Args:
            gate: who may, and for what addresses.
            spool: where they go.
            arrived: is called when one is in there.
            log: takes a level and a line.
        """
        self.gate, self._spool, self._arrived, self._log = gate, spool, arrived, log

    async def handle_VRFY(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """No name is verified before RCPT."""
        return "252 2.5.2 send some mail"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: "Connection", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse every address but those that there are."""
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients"
        if refusal := self.gate.refusal(address):
            server.refused += 1
            if server.refused >= MOST_REFUSED:
                server.end_soon()
                return "421 4.7.0 too many refused recipients"
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: "Connection", session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the message, and answer once it is on the disk."""
        peer = server.peer
        if not self.gate.takes(peer):
            return "451 4.7.1 too many messages: later"
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        put = partial(
            self._spool.put, (envelope.mail_from or "").strip("<>"), list(envelope.rcpt_tos), peer, content, time.time()
        )
        try:
            kept = await asyncio.get_running_loop().run_in_executor(None, put)
        except (InstallError, OSError) as error:
            self._log("err", f"what comes back can't be kept: {plainly(error)}")
            return "451 4.3.0 can't be kept now"
        if not kept:
            return "452 4.3.1 too much waits: later"
        self._arrived()
        return "250 2.0.0 taken"

    async def handle_exception(self, error: Exception) -> str:
        """A fault of ours, in one session; that a client can't begin TLS is none."""
        if isinstance(error, TLSSetupException):
            return "454 4.7.0 TLS has not begun"
        self._log("err", f"a session with a client is at fault: {error!r}")
        return "451 4.3.0 try again"


class Connection(SMTP):
    """One client's connection."""

    line_length_limit = 16 * 1024  # bounces quote long lines

    def __init__(self, handler: Handler, hostname: str, tls: ssl.SSLContext | None) -> None:
        """Prepare for a client that is about to connect."""
        super().__init__(
            handler,
            data_size_limit=LARGEST_MESSAGE,
            hostname=hostname,
            ident="Postroad",
            tls_context=tls,
            timeout=IDLE,
            command_call_limit={"*": MOST_COMMANDS},
            loop=asyncio.get_running_loop(),
        )
        self.peer = ""
        self.refused = 0
        self._gate = handler.gate
        self._counted = self._turned_away = False
        self._end: asyncio.TimerHandle | None = None

    async def push(self, status: str | bytes) -> None:
        """Answer in printable ASCII, also where an answer repeats what the client has said.

        Raises:
            CancelledError: the connection is closing. The rest that came is not read: aiosmtpd would go on, and close
                it again, after which asyncio's TLS fails where one reads or writes.
        """
        if self.transport is None or self.transport.is_closing():
            raise asyncio.CancelledError
        text = status if isinstance(status, str) else status.decode("ascii", "replace")
        await super().push("".join(c if " " <= c <= "~" else "?" for c in text))

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Begin TLS once, and with a client that is still there and waits for the answer (RFC 3207, 4).

        What followed in plain text would, if it is long, keep reading paused until the handshake's time is up.
        """
        if self._original_transport is not None:
            await self.push("503 5.5.1 TLS has begun already")
        elif self._reader._buffer:  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
            await self.push("554 5.5.1 nothing may follow STARTTLS but TLS")
            self._close()
        elif self.transport is not None and not self.transport.is_closing():
            await super().smtp_STARTTLS(arg)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Read a message into one buffer, and let the handler have it.

        aiosmtpd's own keeps an object for each line, which for empty lines is forty times what came, and all of a line
        that does not end.
        """
        if await self.check_helo_needed():
            return
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 need RCPT")
            return
        if arg:
            await self.push("501 5.5.4 DATA takes no argument")
            return
        await self.push("354 end with a dot on a line of its own")
        content, refusal = await self._read_content()
        if not refusal:
            envelope.content = content
            refusal = await self.event_handler.handle_DATA(self, self.session, envelope)
        self.envelope = self._create_envelope()
        await self.push(refusal)

    async def _read_content(self) -> tuple[bytes, str]:
        """A message up to its end (RFC 5321, 4.1.1.4), without the dots that were added; or why it is refused."""
        content, refusal, begins = bytearray(), "", True
        while True:
            try:
                line, ends = await self._reader.readuntil(b"\r\n"), True
            except asyncio.LimitOverrunError as error:
                line, ends = await self._reader.read(error.consumed), False
                refusal = refusal or f"500 5.6.0 a line has more than {self.line_length_limit} octets"
            if begins and line == b".\r\n":
                return bytes(content), refusal
            if len(content) + len(line) > LARGEST_MESSAGE:
                refusal = refusal or f"552 5.3.4 it has more than {LARGEST_MESSAGE} octets"
            if refusal:
                content.clear()
            else:
                content += line[1:] if begins and line.startswith(b".") else line
            begins = ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, or turn it away; once more when TLS has begun."""
        if not self._counted:
            name = transport.get_extra_info("peername")
            self.peer = str(name[0]) if name else ""
            if not self._gate.enter(self.peer):
                self._turned_away = True
                if isinstance(transport, asyncio.WriteTransport):
                    transport.write(b"421 4.7.0 too many connections\r\n")
                transport.close()
                return
            self._counted = True
            self._end = self.loop.call_later(LONGEST_SESSION, self._abort)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Count it no more."""
        if self._turned_away:
            return
        if self._counted:
            self._counted = False
            self._gate.leave(self.peer)
            if self._end:
                self._end.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Nothing is read from a client that was turned away, then or later."""
        if not (self._turned_away or self.transport is None or self.transport.is_closing()):
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """The same for its end."""
        return None if self._turned_away else super().eof_received()

    def end_soon(self) -> None:
        """Close the connection when the answer at hand is sent."""
        self.loop.call_later(0.1, self._close)

    def _close(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.close()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport:
            transport.abort()
