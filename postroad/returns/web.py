"""The HTTP side of ``returns``: connections, with bounds, each for one request."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from postroad.events import own
from postroad.events.model import Unsubscribed
from postroad.returns import page
from postroad.returns.gate import REMEMBERED
from postroad.returns.reader import Tell
from postroad.runtime.unsubscribing import Wish

MOST = 64
"""Connections at once; a further one is closed."""
PATIENCE = 10.0
"""Seconds for a request to come, and for the answer to go."""
AGAIN = 3600.0
"""Seconds in which a wish that is made again is not told again."""


class Wishes:
    """Tells the log of wishes, each once an hour."""

    def __init__(self, tell: Tell) -> None:
        """Begin; ``tell`` takes a level and a line, and says whether the log took it."""
        self._tell = tell
        self._told: dict[Wish, float] = {}

    def __call__(self, wish: Wish) -> bool:
        """Whether the wish is told."""
        now = time.monotonic()
        if self._told.get(wish, -AGAIN) > now - AGAIN:
            return True
        fields = {"recipient": wish.recipient, "sender_domain": wish.domain}
        if not self._tell("info", own.line(Unsubscribed, fields)):
            return False
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told[wish] = now
        return True


class Web:
    """Serves the links."""

    def __init__(self, path: Callable[[], str], key: Callable[[], bytes], wishes: Wishes) -> None:
        """Prepare; ``path`` and ``key`` give what counts now: what links begin with, and the key that signs them."""
        self._path, self._key, self._wishes = path, key, wishes
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self._open += 1
        try:
            if self._open <= MOST:
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError):
            pass
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b""
        while not page.is_whole(request):
            data = await reader.read(4096)
            request += data
            if not data or len(request) > page.LARGEST:
                break
        if not request:
            return
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(
            None, lambda: page.Request(request, self._path(), self._key(), self._wishes).answer
        )
        writer.write(answer)
        await writer.drain()
