"""The socket that signals each event as it happens; the event itself is read from the journal."""

import contextlib
import socket
import time
from pathlib import Path

GATHER = 0.2
"""Seconds after an event in which others may come, to be written with it."""


class Feed:
    """A connection to the feed at a path, made when it is first waited for and again after each fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def wait(self, seconds: float) -> bool:
        """Wait for a signal; False if none came within so many seconds."""
        try:
            if self._socket is None:
                self._socket = self._connected(seconds)
                return True  # something may have happened before
            self._socket.settimeout(max(0.01, seconds))
            if not self._socket.recv(1 << 20):
                raise ConnectionResetError
            time.sleep(GATHER)
            self._socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while self._socket.recv(1 << 20):
                    pass
        except TimeoutError:
            return False
        except OSError:  # the server ends, or we were too slow
            self.close()
            time.sleep(GATHER)
        return True

    def _connected(self, seconds: float) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(max(0.01, seconds))
            made.connect(str(self._path))
        except OSError:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close the connection."""
        if self._socket:
            self._socket.close()
        self._socket = None
