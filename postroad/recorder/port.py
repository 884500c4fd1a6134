"""The recorder's HTTP port: taken over from the recorder before it, and tried again where it can't be had."""

import contextlib
import math
import os
import socket
import sys
import time
from collections.abc import Iterator

from sqlalchemy import Engine

from postroad.http import server as http
from postroad.recorder import rest
from postroad.runtime.log import tell
from postroad.runtime.recording import Settings

AGAIN = 60.0
"""Seconds between two tries to listen."""


class Port:
    """``http.listen`` of the configuration."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._server: http.HttpServer | None = None
        self._again = -math.inf

    def serve(self) -> None:
        """Serve, if configured; if the address can't be bound, log it and try again later."""
        if not self._settings.http:
            if listener := rest.inherited():
                listener.close()
        elif self._server is None and time.monotonic() >= self._again:
            self._again = time.monotonic() + AGAIN
            host, port = self._settings.http
            names = [hook.name for hook in self._settings.webhooks]
            try:
                with rest.no_reload(), enough_threads():
                    self._server = http.serve(host, port, self._engine, rest.inherited(), names)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else error
                tell("err", f"http.listen: {host}:{port} can't be listened on: {why}")

    @property
    def visited(self) -> float:
        """When the last client connected, by the monotonic clock; long ago if none did."""
        return self._server.visited if self._server else -math.inf

    def retire(self, patience: float = http.LONGEST) -> socket.socket | None:
        """Finish open requests within so many seconds and accept no more.

        Returns:
            The listening socket, for the program that this process becomes: new clients queue in its backlog.
        """
        return self._server.retire(patience) if self._server else rest.inherited()


@contextlib.contextmanager
def enough_threads() -> Iterator[None]:
    """End this process where it can't start a thread; the supervisor starts it anew, later each time."""
    try:
        yield
    except RuntimeError as error:
        tell("err", f"the recorder ends and is started anew: {error}; the limit of processes (pids) may be reached")
        sys.exit(1)
