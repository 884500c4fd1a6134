"""The HTTP server: sockets, TLS, and what a client may take of it."""

import asyncio
import ipaddress
import logging
import socket
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from postroad.runtime.web import Settings

MOST = 200
"""Connections at once."""
PATIENCE = 10.0
"""Seconds for a client to send the header of its request."""
IDLE = 30
"""Seconds for which a connection is kept open between two requests."""
ENDING = 10
"""Seconds for requests under way to be answered, where the process ends."""
LAST = 1.0
"""Seconds for the first request of a client that came as the process was told to end."""
LARGEST_HEADER = 32 * 1024
BACKLOG = 128


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which lets no client hold a connection without a request, however busy it is meanwhile.

    uvicorn itself waits without end for the first request and for the rest of a later one.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request; where there are too many, the one that has waited longest makes room."""
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        self._late: asyncio.TimerHandle | None = self.loop.call_later(PATIENCE, transport.close)
        self._last = False
        waiting = [each for each in self.connections if isinstance(each, PatientProtocol) and each.waits]
        if len(self.connections) > MOST and waiting:
            min(waiting, key=lambda each: each.waits_since).transport.close()

    @property
    def waits(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Note whether a request has begun to be served."""
        super().data_received(data)
        if not self.waits:
            self._end_wait()
            if self._last:
                self.cycle.keep_alive = False
        elif self._late is None:
            self.waits_since = self.loop.time()
            self._late = self.loop.call_later(PATIENCE, self.transport.close)

    def shutdown(self) -> None:
        """Answer a client that has just come, whose request is on its way, before the connection is closed."""
        if self.cycle is not None:
            super().shutdown()
            return
        self._last = True
        self._end_wait()
        self._late = self.loop.call_later(LAST, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_wait()
        super().connection_lost(exc)

    def _end_wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def listen(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        OSError: the address can't be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # `::` alone means every address, of IPv4 as well
    both = family == socket.AF_INET6 and ipaddress.ip_address(settings.host).is_unspecified
    listener = socket.create_server(
        (settings.host, settings.port),
        family=family,
        backlog=BACKLOG,
        dualstack_ipv6=both and socket.has_dualstack_ipv6(),
    )
    # asyncio does not see that these are of TCP: an answer's body would wait 40 ms for the client's delayed ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make(app: ASGIApp, settings: Settings, generation: Path) -> uvicorn.Server:
    """A server for the application; TLS with the generation's certificate where the settings say so."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what strangers send is no news
    tls: dict[str, Any] = {}
    if settings.tls:
        folder = generation / "tls"
        tls = {"ssl_certfile": str(folder / "certificate.pem"), "ssl_keyfile": str(folder / "key.pem")}
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST + 2,  # none of them is turned away before it may be another's room
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=ENDING,
            h11_max_incomplete_event_size=LARGEST_HEADER,
            **tls,
        )
    )
