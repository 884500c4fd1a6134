"""The side that takes over: serves the relays that know the secret, each connection in a thread."""

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from postroad.errors import InstallError, plainly
from postroad.evacuation import wire
from postroad.evacuation.taking import RefusedError, Taking
from postroad.evacuation.wire import Wire, WireError

STRANGE = 10.0
"""Seconds, all in all, in which a client has to prove that it knows the secret."""
SILENT = 120.0
"""Seconds that a relay may say nothing."""
SCARCE = 0.2
"""Seconds for which nobody is accepted where something ran out."""
MOST, MOST_OF_ONE = 64, 8
"""Connections at once, and those of one address."""


@dataclass(frozen=True)
class Settings:
    """What the server is told.

    Attributes:
        secret: what all relays know.
        name: what we call ourselves.
        context: TLS.
        certificate: the digest of our certificate.
    """

    secret: str = field(repr=False)
    name: str
    context: ssl.SSLContext
    certificate: bytes


@dataclass(frozen=True)
class Taken:
    """A message that was taken just now.

    Attributes:
        token: what relays call it.
        path: its control file in the queue.
        octets: what stands in there.
        relay: what the relay that it is from calls itself.
    """

    token: str
    path: Path
    octets: bytes
    relay: str


class Server:
    """Serves relays. ``settings`` may be changed at any time; connections under way keep theirs."""

    def __init__(
        self,
        settings: Settings,
        taking: Taking,
        queue: str,
        accepting: Callable[[], bool],
        tell: Callable[[Taken], None],
        complain: Callable[[str], None],
    ) -> None:
        """Prepare it.

        Args:
            settings: see there.
            taking: puts messages into the queue.
            queue: the queue's id.
            accepting: whether messages are taken at this moment.
            tell: what to do with each message that was taken.
            complain: what to do with words about a message that could not be written.
        """
        self.settings = settings
        self._taking, self._queue, self._accepting, self._tell = taking, queue, accepting, tell
        self._complain = complain
        self._current: dict[str, Peer] = {}
        self._clients: Counter[str] = Counter()
        self._mutex = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        """Accept clients until the socket is closed."""
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                if listener.fileno() < 0:
                    return
                time.sleep(SCARCE)  # there are no descriptors for it
                continue
            if not self._has_room(address[0]):
                connection.close()
                continue
            try:
                threading.Thread(target=self._client, args=(connection, address[0]), daemon=True).start()
            except RuntimeError:  # nor threads
                self._gone(connection, address[0])
                time.sleep(SCARCE)

    def _gone(self, connection: socket.socket, address: str) -> None:
        connection.close()
        with self._mutex:
            self._clients[address] -= 1
            if not self._clients[address]:
                del self._clients[address]

    def _has_room(self, address: str) -> bool:
        with self._mutex:
            if self._clients[address] >= MOST_OF_ONE or self._clients.total() >= MOST:
                return False
            self._clients[address] += 1
            return True

    def _client(self, connection: socket.socket, address: str) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):  # it went away, or is no relay of ours
                self._session(connection)
        finally:
            self._gone(connection, address)

    def _session(self, plain: socket.socket) -> None:
        settings = self.settings
        plain.settimeout(STRANGE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = settings.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with contextlib.closing(Wire(connection, settings.certificate)) as link:
            # a timeout counts from octet to octet; this one does not
            alarm = threading.Timer(STRANGE, _cut, (connection,))
            alarm.daemon = True
            alarm.start()
            try:
                connection.do_handshake()
                relay = self._introduced(link, settings)
            finally:
                alarm.cancel()
            if relay is None:
                return
            connection.settimeout(SILENT)
            self._serve_all(Peer(link, *relay))

    def _serve_all(self, peer: "Peer") -> None:
        """Answer a relay until it goes; an older session of its queue has no say from now on."""
        with self._taking.fence():
            older = self._current.get(peer.queue)
            self._current[peer.queue] = peer
        if older:
            _cut(older.link.connection)
        try:
            while True:
                self._serve(peer, peer.link.hear())
        finally:
            with self._taking.fence():
                if self._current.get(peer.queue) is peer:
                    del self._current[peer.queue]

    def _introduced(self, link: Wire, settings: Settings) -> tuple[str, str] | None:
        """The queue's id and the name of a relay that knows the secret; None: it does not."""
        said, ours = link.hear(), wire.nonce()
        link.say(postroad=wire.VERSION, nonce=ours)
        if said.get("postroad") != wire.VERSION:
            return None
        nonces = wire.text(said, "nonce"), ours
        said = link.hear()
        if not wire.is_proof(wire.text(said, "proof"), wire.proof(settings.secret, "client", nonces, link.certificate)):
            link.say(refused="it does not know the secret that we have in peers.secret_file")
            return None
        link.say(
            proof=wire.proof(settings.secret, "server", nonces, link.certificate),
            queue=self._queue,
            name=settings.name,
        )
        return wire.identity(said), wire.text(said, "name")

    def _serve(self, peer: "Peer", said: dict[str, object]) -> None:
        """Answer one request."""
        link = peer.link
        if "offer" in said:
            self._offered(peer, said)
        elif "ask" in said:
            link.say(known=self._taking.answer(wire.text(said, "ask")) or "")
        elif "done" in said:
            self._taking.forget(peer.own(wire.text(said, "done")))
            link.say(done=True)
        elif "inherit" in said:
            try:
                self._taking.inherit(wire.text(said, "inherit"), wire.text(said, "name"))
            except RefusedError as error:
                link.say(refused=str(error))
            else:
                link.say(inherited=True)
        else:
            raise WireError("a request that is none")

    def _offered(self, peer: "Peer", said: dict[str, object]) -> None:
        token, body = peer.own(wire.text(said, "offer")), _Body(peer.link)
        octets = peer.link.read(wire.number(said, "control", wire.LARGEST_CONTROL))
        group, size = wire.text(said, "group"), wire.number(said, "body", wire.LARGEST_BODY)
        if not self._accepting() and self._taking.known(token) is None:
            peer.link.say(refused="it takes no messages at this moment")
            return
        try:
            path, is_new = self._taking.take(
                token, group, octets, cast("BinaryIO", body), size, lambda: self._current.get(peer.queue) is peer
            )
        except RefusedError as error:
            if body.asked:
                raise WireError(str(error)) from error  # the rest of it is on its way: the relay connects anew
            peer.link.say(refused=str(error))
            return
        except (InstallError, OSError) as error:
            if not isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
                self._complain(f"message {token.partition('.')[2]} of {peer.name} can't be taken: {plainly(error)}")
            raise WireError(plainly(error)) from error
        if is_new:
            self._tell(Taken(token, path, octets, peer.name))
        peer.link.say(taken=path.name[2:])


@dataclass(frozen=True, eq=False)
class Peer:
    """A relay that has proved that it knows the secret."""

    link: Wire
    queue: str
    name: str

    def own(self, token: str) -> str:
        """A token of its own queue.

        Raises:
            WireError: it is another queue's.
        """
        if token.partition(".")[0] != self.queue:
            raise WireError("a message of another queue")
        return token


class _Body:
    """A body that is asked for when it is first read, so that it is not sent in vain."""

    def __init__(self, link: Wire) -> None:
        self._link, self.asked = link, False

    def read(self, size: int) -> bytes:
        if not self.asked:
            self.asked = True
            self._link.say(send=True)
        return self._link.file.read(size)


def _cut(connection: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # that of SSLSocket is not for another thread
