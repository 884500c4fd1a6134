"""A connection to a server, while it is opened: lines and replies, with TLS from some point on."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from postroad.uplink.replies import MOST_LINES, Reply, ReplyError, parse_line

LONGEST_LINE = 1 << 14
"""Octets."""


@dataclass
class Wire:
    """A connection, in clear text at first.

    What has come in before TLS never counts after it (CVE-2011-0411): the octets before are kept apart from the stream.
    """

    connected: socket.socket
    held: bytes = b""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def line(self) -> bytes:
        """The next line, without its end.

        Raises:
            OSError, ValueError: there is none, or it has no end.
        """
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
        """The next reply.

        Raises:
            OSError, ReplyError, ValueError: there is none.
        """
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
        """Send a line; the reply to it. Errors are ``reply``'s."""
        data = command.encode() + b"\r\n"
        if self.writer:
            self.writer.write(data)
            await self.writer.drain()
        else:
            await asyncio.get_running_loop().sock_sendall(self.connected, data)
        return await self.reply()

    async def stream(self, context: ssl.SSLContext | None, host: str) -> None:
        """Go on with a stream, with TLS for this name where there is a context.

        Raises:
            OSError, ReplyError: that can't be done.
        """
        if self.held:
            raise ReplyError("the server says more than it was asked")
        options: dict[str, Any] = {"ssl": context, "server_hostname": host} if context else {}
        self.reader, self.writer = await asyncio.open_connection(sock=self.connected, **options)

    def close(self) -> None:
        """End it at once."""
        if self.writer:
            self.writer.transport.abort()
        self.connected.close()
