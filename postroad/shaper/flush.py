"""Flush requests of commands: each is answered once its messages were tried, or have to wait for a limit.

Standard library only.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from postroad import sockets
from postroad.runtime import flushing
from postroad.shaper.route import LimitedRoute


@dataclass
class PendingFlush:
    """A command that waits.

    Attributes:
        connection: closed when it need not wait any more.
        heard: what it has sent so far.
        ids: the messages that it wants; None: all.
        complete: whether its request has come whole.
    """

    connection: socket.socket
    heard: bytes = b""
    ids: frozenset[str] | None = None
    complete: bool = False

    def wants(self, queue_id: str) -> bool:
        """Whether the request includes this message."""
        return self.ids is None or queue_id in self.ids


class FlushRequests:
    """The flush requests that are not answered yet."""

    def __init__(self, path: Path, selector: selectors.BaseSelector) -> None:
        self._path, self._selector = path, selector
        self._requests: dict[socket.socket, PendingFlush] = {}
        self._ready: list[PendingFlush] = []

    def listen(self) -> None:
        """Begin to hear requests (``runtime/flushing.py``) on a socket that only this user can open.

        Raises:
            OSError: the socket can't be made.
        """
        listener = sockets.listening(self._path, 64)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            request = self._requests[connection] = PendingFlush(connection)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(request))

    def _hear(self, request: PendingFlush) -> None:
        try:
            data = request.connection.recv(65536)
        except OSError:
            data = b""
        request.heard += data
        if data and len(request.heard) < flushing.LARGEST:
            return
        self._selector.unregister(request.connection)
        try:
            request.ids = flushing.read(request.heard)
        except ValueError:
            self._close(request)
            return
        request.complete = True
        self._ready.append(request)

    def make_due(self, routes: Iterable[LimitedRoute], running: Container[str]) -> None:
        """Make the messages of new requests due now."""
        ready, self._ready = self._ready, []
        for request in ready:
            now = time.time()
            for route in routes:
                for message in list(route.waiting.entries.values()):
                    if request.wants(message.queue_id) and message.due > now:
                        message.due = now
                        if message.queue_id not in running:
                            route.waiting.put(message)

    def answer(self, routes: Iterable[LimitedRoute], running: Iterable[str]) -> None:
        """Answer the requests whose messages were all tried, or have to wait for a limit.

        Args:
            routes: all that are in force.
            running: the messages that are being tried.
        """
        if not self._requests:
            return
        now = time.time()
        # a message that waits for a connection alone has its turn soon
        soon = {
            queue_id
            for route in routes
            if route.pace.busy
            for queue_id, message in route.waiting.entries.items()
            if message.due <= now
        }.union(running)
        for request in [each for each in self._requests.values() if each.complete]:
            if not any(map(request.wants, soon)):
                self._close(request)

    def _close(self, request: PendingFlush) -> None:
        del self._requests[request.connection]
        request.connection.close()
