"""The side that hands over: a session with the relay that takes the messages."""

import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from postroad.errors import PostroadError, plainly
from postroad.evacuation import wire
from postroad.evacuation.taking import RefusedError

TIMEOUT = 30.0
"""Seconds for each step: the other side may have to save a large message."""


class RefusedPeerError(PostroadError):
    """The other side is not a relay that takes our messages; trying again changes nothing."""


class Session:
    """A session with a relay: ``run.Receiver``."""

    def __init__(self, connected: wire.Wire, host: str, port: int) -> None:
        """Take over a connection; ``open_session`` makes one."""
        self._wire = connected
        self.host = f"{host} {port}"
        """Where the relay is reached."""
        self.relay = ""
        """The id of its queue."""
        self.name = ""
        """What it calls itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._wire.close()

    def introduce(self, secret: str, own: str, name: str) -> None:
        """Prove that we know the secret, and see that the other side does.

        Args:
            secret: it.
            own: the id of our queue.
            name: what we call ourselves.

        Raises:
            RefusedPeerError: the other side does not know the secret, refuses ours, or is another version.
            OSError: the connection has ended.
        """
        link, ours = self._wire, wire.nonce()
        link.say(postroad=wire.VERSION, nonce=ours)
        said = link.hear()
        if said.get("postroad") != wire.VERSION:
            raise RefusedPeerError(f"{self.host} speaks another version of the protocol: update one of the two")
        nonces = ours, wire.text(said, "nonce")
        link.say(proof=wire.proof(secret, "client", nonces, link.certificate), queue=own, name=name)
        said = link.hear()
        if why := said.get("refused"):
            raise RefusedPeerError(f"{self.host} refuses: {why}")
        if not wire.is_proof(wire.text(said, "proof"), wire.proof(secret, "server", nonces, link.certificate)):
            raise RefusedPeerError(f"{self.host} does not know the secret of peers.secret_file: it is no relay of ours")
        self.relay, self.name = wire.identity(said), wire.text(said, "name")

    def offer(self, token: str, group: str, octets: bytes, body: Path) -> str:
        """Hand over a message, or hear that it was taken; return what it is called there.

        Raises:
            RefusedError: it is not taken, and won't be by an earlier offer either.
            OSError: the connection has ended: it may be taken, or not.
        """
        link, size = self._wire, body.stat().st_size
        link.say(offer=token, group=group, control=len(octets), body=size)
        link.connection.sendall(octets)
        said = self._answer()
        if said.get("send"):
            link.send_file(body, size)
            said = self._answer()
        return wire.text(said, "taken")

    def ask(self, token: str) -> str | None:
        """What a message is called there; None: it was not taken, and won't be by an earlier offer either.

        Raises:
            OSError: the connection has ended.
        """
        self._wire.say(ask=token)
        said = self._answer()
        return wire.text(said, "known") or None

    def done(self, token: str) -> None:
        """Say that the message is deleted here, and need not be known there any more.

        Raises:
            OSError: the connection has ended.
        """
        self._wire.say(done=token)
        self._answer()

    def inherit(self, token: str, name: str) -> None:
        """Have it keep what an entry of ours says.

        Raises:
            RefusedError: it does not.
            OSError: the connection has ended.
        """
        self._wire.say(inherit=token, name=name)
        self._answer()

    def _answer(self) -> dict[str, object]:
        said = self._wire.hear()
        if isinstance(why := said.get("refused"), str):
            raise RefusedError(why)
        return said


def open_session(
    host: str, port: int, secret: str, own: str, name: str, wanted: str = "", timeout: float = TIMEOUT
) -> Session:
    """A session with the relay at a host: at the first of its addresses that answers, and is not ourselves.

    Args:
        host: a name or an address. A name may have several addresses, each of another relay.
        port: its TCP port.
        secret: what all relays know.
        own: the id of our queue.
        name: what we call ourselves.
        wanted: the id of the relay's queue, where only that one will do; empty: any.
        timeout: seconds for each step.

    Raises:
        RefusedPeerError: no relay there takes our messages; of several errors the last is told.
        OSError: none can be reached.
    """
    failed: OSError | RefusedPeerError = OSError(f"{host} has no address")
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            session = Session(wire.connect(address, family, timeout), host, port)
        except OSError as error:
            failed = OSError(f"{host} ({address[0]}, port {port}) can't be reached: {plainly(error)}")
            continue
        try:
            session.introduce(secret, own, name)
        except (OSError, RefusedPeerError) as error:
            failed = error
        else:
            if session.relay == own:
                failed = RefusedPeerError(f"{host} ({address[0]}) is this relay itself")
            elif wanted and session.relay != wanted:
                failed = RefusedPeerError(f"{host} ({address[0]}) is another relay than the one that was asked for")
            else:
                return session
        session.close()
    raise failed
