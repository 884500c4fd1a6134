"""Live events for programs in the container: JSON lines to every client of a UNIX socket.

Each client gets the events from its connection on. The thread that carries all events also serves the clients, so
none may block it: a client that does not keep up is disconnected.
"""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from postroad import sockets
from postroad.sinks.told import Told

MOST_CLIENTS = 16
BUFFER = 1 << 20
"""The most bytes that may wait for a client (the kernel may allow less: net.core.wmem_max)."""
PAUSE = 0.05
"""Seconds after which a client that could not be accepted is tried again; lines of the log wait for so long."""


class FeedSink:
    """Sends each event to each client as a line of JSON."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``, for this user only, and replace a socket that an earlier run left there.

        Raises:
            OSError: the socket can't be made there.
        """
        self._path = path
        self._clients: list[socket.socket] = []
        self._socket = sockets.listening(path)

    def fileno(self) -> int:
        """The listening socket's descriptor, for select() and the like: readable when a client connects."""
        return self._socket.fileno()

    def accept(self) -> None:
        """Accept all waiting clients; where there are no descriptors for one, it waits."""
        while True:
            try:
                client, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:
                time.sleep(PAUSE)  # the socket stays readable
                return
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self._clients.append(client)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.pop(0).close()

    def handle(self, told: Sequence[Told]) -> None:
        """Send the events to all clients immediately."""
        self.accept()
        if not self._clients:
            return
        line = "".join(f"{each.text}\n" for each in told).encode()
        for client in tuple(self._clients):
            try:
                whole = client.send(line) == len(line)
            except OSError:  # the client went away, or does not read
                whole = False
            if not whole:
                self._clients.remove(client)
                client.close()

    def close(self) -> None:
        """Disconnect all clients and remove the socket from the file system."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._socket.close()
        self._path.unlink(missing_ok=True)
