"""What a server of a smarthost says to a session in which nothing is sent."""

import asyncio
from dataclasses import dataclass

from postroad.runtime.uplink import Server
from postroad.uplink.opening import Access, Opened, OpeningError, session
from postroad.uplink.replies import Reply, ReplyError, parse_line

REPLY_WITHIN = 20.0
"""Seconds for each reply."""


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        server: whom it was.
        reason: why no session could be opened; empty: one was.
        address: the address that was connected to.
        tls: version and cipher; empty: clear text.
        mechanism: that of AUTH; empty: none.
        offers: what it offers after TLS.
        mail: the reply to MAIL.
        recipient: the reply to RCPT; None: MAIL was refused.
    """

    server: Server
    reason: str = ""
    address: str = ""
    tls: str = ""
    mechanism: str = ""
    offers: tuple[str, ...] = ()
    mail: Reply | None = None
    recipient: Reply | None = None

    @property
    def takes_mail(self) -> bool:
        """Whether MAIL and RCPT were taken."""
        return all(reply is not None and reply.code < 300 for reply in (self.mail, self.recipient))


async def probe(
    server: Server, hostname: str, access: Access, *, sender: str, recipient: str, within: float | None
) -> Probe:
    """Open a session, within so many seconds, ask for a transaction, and take that back. Never raises."""
    try:
        async with session(server, hostname, access, within) as opened:
            mail = await _ask(opened, f"MAIL FROM:<{sender}>")
            taken = await _ask(opened, f"RCPT TO:<{recipient}>") if mail.code < 300 else None
            await _ask(opened, "RSET")
    except OpeningError as error:
        return Probe(server, error.reason)
    except (OSError, EOFError, TimeoutError, ReplyError, ValueError) as error:
        return Probe(server, f"breaks off a session: {error or type(error).__name__}")
    tls = " ".join(map(str, opened.tls[:2])) if opened.tls else ""
    return Probe(server, "", opened.address, tls, opened.mechanism, opened.offers[1:], mail, taken)


async def _ask(opened: Opened, command: str) -> Reply:
    opened.writer.write(command.encode() + b"\r\n")
    texts: list[str] = []
    code, more = 0, True
    async with asyncio.timeout(REPLY_WITHIN):
        await opened.writer.drain()
        while more:
            line = await opened.reader.readline()
            code, more, text = parse_line(line.rstrip(b"\r\n"))
            texts.append(text)
    return Reply(code, tuple(texts))
