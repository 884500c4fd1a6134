"""Posts to one webhook's receiver, to a checked address, over connections that are kept open.

The name is looked up here, and the connection goes to an address that was found and allowed. So a name that resolves to
a public address when checked and to a private one afterwards (DNS rebinding) gains nothing. Redirects are not followed.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import postroad
from postroad.config.addresses import reach
from postroad.errors import plainly
from postroad.runtime.recording import Hook
from postroad.text import printable
from postroad.webhooks import envelope

CONNECT, READ = 5.0, 15.0
"""Seconds for the connection and for TLS, each; seconds for the next bytes of an answer."""
CONNECTIONS = 4
"""Simultaneous connections per webhook."""
MOST_ADDRESSES = 4
LARGEST_ANSWER = 4096
"""The most octets read of an answer; after a longer answer the connection is closed."""


class RefusedError(OSError):
    """The receiver has no address that may be posted to."""


@dataclass(frozen=True)
class ReceiverAnswer:
    """The outcome of a POST.

    Attributes:
        status: the HTTP status; None if there was no answer, and ``error`` says why.
        error: the error, for people; empty if the event was accepted.
        retry_after: seconds that the receiver asks for; None if it says nothing.
    """

    status: int | None
    error: str
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver accepted the event."""
        return not self.error


class _Connection(http.client.HTTPConnection):
    """A connection to one address of a host, with or without TLS for the host's name."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=READ)
        self.default_port = 443 if context else 80  # whether the Host field needs the port
        self._address = address
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), timeout=CONNECT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = plain
        if self._tls:
            # self.sock is set before the handshake, so that the handshake can be aborted
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = wrapped
            wrapped.do_handshake()
        self.sock.settimeout(READ)


class Receiver:
    """Posts for several threads; ``abort`` ends their waits."""

    def __init__(self, hook: Hook, source: str) -> None:
        """Prepare to post to a webhook from the server with the host name ``source``; opens no connection yet."""
        parts = urlsplit(hook.url)
        self._host, self._target = (
            parts.hostname or "",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._private = hook.allow_private
        self._secrets = hook.secrets
        self._source = source
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            if hook.ca:
                # private authorities often lack extensions that RFC 5280 requires
                self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
                self._tls.load_verify_locations(cadata=hook.ca)
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._lock = threading.Lock()

    def post(self, uid: str, seconds: float, event: Mapping[str, Any]) -> ReceiverAnswer:
        """Post an event; never raises for what the receiver or the network does. See ``envelope.body``."""
        content = envelope.body(self._source, uid, seconds, event)
        try:
            return self._post(uid, content)
        except RefusedError as error:
            return ReceiverAnswer(None, f"not posted: {error}")
        except ssl.SSLCertVerificationError as error:
            return ReceiverAnswer(None, f"its certificate is refused: {error.verify_message}")
        except TimeoutError:
            return ReceiverAnswer(None, "no answer in time")
        except (OSError, http.client.HTTPException) as error:
            return ReceiverAnswer(None, f"no answer: {plainly(error)}")

    def _post(self, uid: str, content: bytes) -> ReceiverAnswer:
        if kept := self._take():
            try:
                return self._ask(kept, uid, content)
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException):
                self.close()  # closed by the peer while idle, like the others: not a failure of the receiver
        return self._ask(self._open(), uid, content)

    def _ask(self, connection: _Connection, uid: str, content: bytes) -> ReceiverAnswer:
        keep = False
        try:
            fields = envelope.headers(uid, int(time.time()), content, self._secrets)
            fields |= {"Content-Type": envelope.CONTENT_TYPE, "User-Agent": f"postroad/{postroad.__version__}"}
            connection.request("POST", self._target, body=content, headers=fields)
            response = connection.getresponse()
            text = b""
            while len(text) < LARGEST_ANSWER and (part := response.read1(LARGEST_ANSWER - len(text))):
                text += part
            if len(text) < LARGEST_ANSWER and response.length:  # read1() does not report a truncated answer
                raise http.client.IncompleteRead(text, response.length)
            keep = (response.isclosed() or response.length == 0) and not response.will_close
            response.close()
            return _judged(response, text)
        finally:
            if keep:
                self._give_back(connection)
            else:
                self._close(connection)

    def _take(self) -> _Connection | None:
        with self._lock:
            if not self._idle:
                return None
            connection = self._idle.pop()
            self._busy.add(connection)
            return connection

    def _open(self) -> _Connection:
        problem: OSError = RefusedError(f"{self._host} has no address")
        for address in self._addresses():
            connection = _Connection(self._host, self._port, address, self._tls)
            with self._lock:
                self._busy.add(connection)
            try:
                connection.connect()
            except ssl.SSLError:
                self._close(connection)
                raise
            except OSError as error:
                self._close(connection)
                problem = error
                continue
            return connection
        raise problem

    def _addresses(self) -> list[str]:
        """The receiver's addresses that may be posted to, in the resolver's order."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = {"private"} if not self._tls else {"public", "private"} if self._private else {"public"}
        good = [address for address in addresses if reach(address) in allowed]
        if addresses and not good:
            known = ipaddress.ip_address(addresses[0].partition("%")[0])
            kind = {"public": "a public address, and http:// is for private ones"}.get(
                reach(str(known)), "no public address: allow_private is not set, or it is never allowed"
            )
            raise RefusedError(f"{self._host} is at {known}, {kind}")
        return good[:MOST_ADDRESSES]

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            self._idle.append(connection)

    def _close(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def abort(self) -> None:
        """End the posts under way: a receiver that sends a byte now and then would hold them forever."""
        with self._lock:
            waiting = [connection.sock for connection in self._busy if connection.sock]
        for each in waiting:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)  # not SSLSocket's, which another thread may be in


def _judged(response: http.client.HTTPResponse, text: bytes) -> ReceiverAnswer:
    status = response.status
    if 200 <= status < 300:
        return ReceiverAnswer(status, "")
    said = printable(text[:200].decode(errors="replace")).strip()
    kind = "redirects are not followed" if 300 <= status < 400 else said
    error = f"answered {status}" + (f": {kind}" if kind else "")
    return ReceiverAnswer(status, error, _seconds(response.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    """``Retry-After`` (RFC 9110, section 10.2.3) in seconds; None if it is missing or unreadable."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
