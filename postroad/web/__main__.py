"""``python -m postroad.web``: the HTTP API and the console."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from postroad import system
from postroad.runtime import log, web
from postroad.runtime.paths import CURRENT
from postroad.web import app, server
from postroad.web.services import Services
from postroad.web.sessions import Sessions


class Process:
    """Serves until SIGTERM; at SIGHUP with the settings that are then in force.

    The socket goes on to listen over a reload: new clients wait in its backlog while those before are answered.
    """

    def __init__(self, generation: Path) -> None:
        """Serve by the settings of a generation."""
        self._generation = generation
        self._ended = self._stale = False
        self._server: uvicorn.Server | None = None
        self._listener: socket.socket | None = None
        self._address = ("", 0)
        self._sessions = Sessions()

    async def run(self) -> None:
        """Serve.

        Raises:
            OSError: the address can't be had, or the settings can't be read.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._stop)
        # uvicorn takes SIGTERM while it serves, and sends it again to whoever had it before
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        try:
            while not self._ended:
                self._stale = False
                await self._serve(web.load(self._generation))
        finally:
            self._close()

    async def _serve(self, settings: web.Settings) -> None:
        """Serve until a signal comes."""
        address = settings.host, settings.port
        if self._listener is None or self._address != address:
            self._close()
            self._listener, self._address = server.listen(settings), address
        services = Services(settings, self._generation, self._sessions)
        try:
            application = app.make(settings, services.operations(), services.pages(), services.vendors)
            self._server = server.make(application, settings, self._generation)
            if not self._stale:  # by a signal since the settings were read
                await self._server.serve([self._listener.dup()])  # which uvicorn closes
        finally:
            services.close()

    def end(self) -> None:
        """Answer what has begun, and end."""
        self._ended = True
        self._stop()

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _stop(self) -> None:
        self._stale = True
        if self._server is not None:
            self._server.should_exit = True


def main() -> int:
    """Serve; 1 where that can't be."""
    os.umask(0o077)
    with contextlib.suppress(OSError):
        system.offer_to_oom_killer()  # a large request is no reason to lose what delivers mail
    process = Process(CURRENT)
    try:
        asyncio.run(process.run())
    except OSError as error:
        log.tell(
            "err",
            f"web.listen: it can't be served: {os.strerror(error.errno) if error.errno else error}",
            1.0,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
