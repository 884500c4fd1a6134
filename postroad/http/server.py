"""The HTTP port: `/healthz`, `/readyz`, `/metrics`. It reads only, and says nothing that names a person."""

import contextlib
import json
import math
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from postroad.http.metrics import Collector, health
from postroad.runtime import acceptance
from postroad.store.database import reason

MOST = 16
"""Requests at once; whoever comes then is turned away."""
DRAINING = "no new messages are taken: postroad queue drain --undo ends that"
PATIENCE = 5.0
"""Seconds for which a client may say nothing, or read nothing."""
LONGEST = 10.0
"""Seconds after which it is cut off, however busy: a letter now and then would hold its place for ever."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request, then closes the connection."""

    timeout = PATIENCE
    server_version, sys_version = "postroad", ""
    registry: CollectorRegistry

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            try:
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))
            except SQLAlchemyError as error:
                self._say(503, "unavailable", [f"the event store can't be read: {reason(error)}"])
        elif path in {"/healthz", "/readyz"}:
            state, reasons = health()
            # who serves, and lets no more mail in, is well and not ready
            if path == "/readyz" and not reasons and not acceptance.accepting():
                state, reasons = "draining", [DRAINING]
            self._say(503 if reasons else 200, state, reasons)
        else:
            self._say(404, "not found", ["there are /healthz, /readyz and /metrics"])

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing: standard error is not for visitors."""

    def _say(self, code: int, status: str, reasons: list[str]) -> None:
        self._answer(code, "application/json", json.dumps({"status": status, "reasons": reasons}).encode() + b"\n")

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Serves with a thread a request, a few at once."""

    daemon_threads = True

    def __init__(self, host: str, port: int, engine: Engine, listener: int | None = None) -> None:
        """Listen, or take over a socket that does.

        Raises:
            OSError: the address can't be had.
        """
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(engine))
        self._free = threading.BoundedSemaphore(MOST)
        self.visited = -math.inf
        """When somebody last came, by the monotonic clock."""
        super().__init__((host, port), type("Bound", (Handler,), {"registry": registry}), bind_and_activate=False)
        if listener is None:
            try:
                self.server_bind()
                self.server_activate()
            except OSError:
                self.server_close()
                raise
        else:
            self.socket.close()
            self.socket = socket.socket(fileno=listener)
            self.socket.set_inheritable(False)

    def retire(self) -> int:
        """Answer those who have come, and nobody who comes later; return the socket, where these wait."""
        self.shutdown()
        for _ in range(MOST):
            self._free.acquire()
        return self.fileno()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a request, if there is room."""
        self.visited = time.monotonic()
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started now
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one."""
        over = threading.Timer(LONGEST, _cut_off, [request])
        over.daemon = True
        try:
            over.start()
            super().process_request_thread(request, client_address)
        except RuntimeError:  # not even a timer can be started
            self.shutdown_request(request)
        finally:
            over.cancel()
            self._free.release()

    def handle_error(self, *_: Any) -> None:
        """A client that goes away, or is too slow, is no news."""


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has just ended
        request.shutdown(socket.SHUT_RDWR)


def serve(host: str, port: int, engine: Engine, listener: int | None = None) -> Server:
    """Serve from now on, in a thread; ``listener`` is a socket that listens there already.

    Raises:
        OSError: the address can't be had.
    """
    server = Server(host, port, engine, listener)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
