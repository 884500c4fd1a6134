"""The HTTP port: `/healthz`, `/readyz`, `/metrics`. It reads only, and says nothing that names a person.

One thread holds all connections and answers probes itself, so neither slow clients nor slow scrapes stand in their way.
A scrape, which asks the database, has a thread of its own, and few run at once.
"""

import contextlib
import ipaddress
import json
import math
import os
import selectors
import socket
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from postroad.http.metrics import Collector
from postroad.runtime import acceptance, health
from postroad.runtime.whole_request import WholeRequest
from postroad.store.database import reason

MOST = 64
"""Connections whose request has not come yet; the one that has waited longest makes room for a new one."""
SCRAPES = 4
"""Scrapes at once; a further one is answered 503."""
DRAINING = "no new messages are taken: postroad queue drain --undo ends that"
LONGEST = 10.0
"""Seconds for a client to send its request, and again to read the answer, however busy it is meanwhile."""
LARGEST = 100_000
"""Octets of a request; http.server refuses less than that itself."""
BACKLOG = 128


class Handler(WholeRequest):
    """Its ``answer`` is empty where ``scrape`` asks for metrics."""

    def __init__(self, request: bytes) -> None:
        """Answer this request."""
        self.scrape = False
        super().__init__(request)

    def do_GET(self) -> None:  # noqa: N802
        """Answer a probe, or note that metrics are asked for."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.scrape = True
        elif path in {"/healthz", "/readyz"}:
            # whoever restarts what is not alive must not do so over receivers that fail
            state, reasons = health.life() if path == "/healthz" else health.read()
            # who serves, and lets no more mail in, is well and not ready
            if path == "/readyz" and not reasons and not acceptance.accepting():
                state, reasons = "draining", [DRAINING]
            self.say(503 if reasons else 200, state, reasons)
        else:
            self.say(404, "not found", ["there are /healthz, /readyz and /metrics"])

    do_HEAD = do_GET  # noqa: N815

    def metrics(self, registry: CollectorRegistry) -> None:
        """Answer a scrape."""
        try:
            self._respond(200, CONTENT_TYPE_LATEST, generate_latest(registry))
        except SQLAlchemyError as error:
            self.say(503, "unavailable", [f"the event store can't be read: {reason(error)}"])

    def say(self, code: int, status: str, reasons: list[str]) -> None:
        """Answer with a state and the reasons for it."""
        self._respond(code, "application/json", json.dumps({"status": status, "reasons": reasons}).encode() + b"\n")

    def log_message(self, *_: object) -> None:
        """Say nothing: standard error is not for visitors."""

    def _respond(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@dataclass(eq=False)
class Connection:
    """A client whose request has not come whole yet."""

    socket: socket.socket
    until: float = field(default_factory=lambda: time.monotonic() + LONGEST)
    request: bytes = b""


class HttpServer:
    """Serves from when it is made until ``retire``."""

    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        """Serve who comes to a socket that listens.

        Raises:
            RuntimeError: no thread can be started.
        """
        self.visited = -math.inf
        """When somebody last came, by the monotonic clock."""
        self._listener = listener
        self._registry = registry
        self._waiting: dict[socket.socket, Connection] = {}  # the oldest first
        self._scrapes = threading.BoundedSemaphore(SCRAPES)
        self._ending = math.inf
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._loop, name="http", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """The address and port."""
        host, port, *_ = self._listener.getsockname()
        return host, port

    def retire(self, patience: float = LONGEST) -> socket.socket:
        """Answer the requests that have begun, for so many seconds, and accept no more.

        Returns:
            The socket, which goes on to listen: new clients wait in its backlog.
        """
        self._ending = time.monotonic() + patience
        os.eventfd_write(self._wake, 1)
        self._thread.join(patience + LONGEST)
        for _ in range(SCRAPES):
            self._scrapes.acquire(timeout=max(0.0, self._ending - time.monotonic()))
        return self._listener

    def _loop(self) -> None:
        while True:
            try:
                if self._ending < math.inf:
                    self._turn_away()
                    if not self._waiting or time.monotonic() > self._ending:
                        for client in list(self._waiting.values()):
                            self._drop(client)
                        return
                self._step()
            except Exception:  # noqa: BLE001 - a bug in here must not end the probes
                traceback.print_exc()

    def _turn_away(self) -> None:
        with contextlib.suppress(KeyError):  # it has been done
            self._selector.unregister(self._listener)

    def _step(self) -> None:
        """Wait for what comes next, and act."""
        first = min((each.until for each in self._waiting.values()), default=math.inf)
        wait = min(first, self._ending) - time.monotonic()
        for key, _ in self._selector.select(None if wait == math.inf else max(0.0, wait)):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._waiting:
                self._read(self._waiting[key.fileobj])
        now = time.monotonic()
        for late in [each for each in self._waiting.values() if each.until <= now]:
            self._drop(late)

    def _accept(self) -> None:
        self.visited = time.monotonic()
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError | ConnectionAbortedError) and self._waiting:
                self._drop(next(iter(self._waiting.values())))  # no descriptor is left
            return
        client.setblocking(False)
        if len(self._waiting) >= MOST:
            self._drop(next(iter(self._waiting.values())))
        self._waiting[client] = Connection(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _read(self, client: Connection) -> None:
        try:
            data = client.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.request += data
        if data and len(client.request) < LARGEST and not _whole(client.request):
            return
        self._selector.unregister(client.socket)
        del self._waiting[client.socket]
        if client.request:
            self._serve(client.socket, Handler(client.request))
        else:
            client.socket.close()

    def _serve(self, client: socket.socket, handler: Handler) -> None:
        if not handler.scrape:
            _send(client, handler.answer)  # it is short: the kernel takes it whole, or the client is gone
        elif not self._scrapes.acquire(blocking=False):
            handler.say(503, "busy", [f"{SCRAPES} scrapes are under way"])
            _send(client, handler.answer)
        else:
            try:
                threading.Thread(target=self._scrape, args=(client, handler), name="scrape", daemon=True).start()
            except RuntimeError:
                self._scrapes.release()
                handler.say(503, "busy", ["no thread can be started: the limit of processes (pids) may be reached"])
                _send(client, handler.answer)

    def _scrape(self, client: socket.socket, handler: Handler) -> None:
        try:
            with client:
                handler.metrics(self._registry)
                client.settimeout(LONGEST)  # for all of it
                _send(client, handler.answer)
        finally:
            self._scrapes.release()

    def _drop(self, client: Connection) -> None:
        self._selector.unregister(client.socket)
        del self._waiting[client.socket]
        client.socket.close()


def _whole(request: bytes) -> bool:
    return b"\r\n\r\n" in request or b"\n\n" in request


def _send(client: socket.socket, answer: bytes) -> None:
    """Send the answer and close; a client that is gone, or too slow, is no news."""
    with client, contextlib.suppress(OSError):
        client.sendall(answer)
        client.shutdown(socket.SHUT_WR)


def serve(
    host: str, port: int, engine: Engine, listener: socket.socket | None = None, webhooks: Iterable[str] = ()
) -> HttpServer:
    """Serve from now on, in a thread; ``listener`` is used if it listens there already, else it is closed.

    Raises:
        OSError: the address can't be had.
        RuntimeError: no thread can be started.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(engine, webhooks))
    if listener is not None and listener.getsockname()[:2] != (str(ipaddress.ip_address(host)), port):
        listener.close()
        listener = None
    listener = listener or socket.create_server(
        (host, port),
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=":" in host and socket.has_dualstack_ipv6(),
    )
    listener.setblocking(False)
    return HttpServer(listener, registry)
