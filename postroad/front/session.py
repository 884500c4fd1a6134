"""A session of sendmail's behind an inner door: opened for one client's address and name, and used again for both."""

import socket
import struct
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from postroad.front.lines import Answers, Reply
from postroad.front.loop import Loop, Stream
from postroad.runtime.front import TELLING
from postroad.runtime.paths import inner_door

TELL_SAVED = 1  # preload/doors.c
READY = 220
SOCKADDR = 128  # struct sockaddr_storage


class SessionState(Enum):
    """What a session is doing."""

    GREETING = auto()
    HELO = auto()
    IDLE = auto()
    BUSY = auto()  # with a client
    DELIVERING = auto()  # its client has its answer
    QUITTING = auto()


class SessionUser(Protocol):
    """Whom a session serves."""

    def opened(self, greeting: bytes, helo: bytes) -> None:
        """The session is ready; these were the answers to the connection and to HELO."""

    def refused(self, answer: Reply, state: SessionState) -> None:
        """The session is not to be had: what it said instead of a greeting, or to HELO."""

    def answered(self, answer: Reply) -> None:
        """An answer to what was written."""

    def abandoned(self) -> None:
        """The session has ended without another answer."""


Key = tuple[str, bytes, int]
"""Whom a session may be used for: the client's address, its whole HELO or EHLO line, and the inner door's number."""


def header(peer: tuple[str, int], local: tuple[str, int], *, inet6: bool, tell: bool) -> bytes:
    """What a session begins with: who the client is. ``struct header`` in preload/doors.c."""
    flags = struct.pack("=8sII", b"postroad", TELL_SAVED if tell else 0, 0)
    return flags + b"".join(_sockaddr(each, inet6).ljust(SOCKADDR, b"\0") for each in (peer, local))


def _sockaddr(address: tuple[str, int], inet6: bool) -> bytes:
    host, port = address
    if inet6:
        mapped = host if ":" in host else f"::ffff:{host}"
        packed = socket.inet_pton(socket.AF_INET6, mapped)
        return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + bytes(4)
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_pton(socket.AF_INET, host)


def connect(number: int) -> socket.socket:
    """Connect to an inner door.

    Raises:
        OSError: sendmail does not listen there now.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.connect(str(inner_door(number)))
    except OSError:
        made.close()
        raise
    return made


class SendmailSession(Stream):
    """One such session.

    Attributes:
        key: whom it is for.
        state: what it is doing.
        user: whom it serves now.
        uses: how many transactions it had.
        since: since when it is in this state.
        spoilt: something went wrong in it: it is not used again.
        raw: it is its client's own: what it says is handed on and not read.
    """

    __slots__ = (
        *("_answers", "_changed", "_greeting", "_helo", "born", "domain", "encrypted", "helo_answer"),
        *("key", "queue_id", "raw", "since"),
        *("spoilt", "state", "user", "uses"),
    )

    def __init__(
        self,
        loop: Loop,
        connected: socket.socket,
        key: Key,
        begin: bytes,
        user: SessionUser | None,
        changed: Callable[["SendmailSession", SessionState], None],
    ) -> None:
        """Begin at a fresh connection, for ``user``; ``begin`` is the header.

        ``changed`` is called after each change of its state, with the former one.
        """
        super().__init__(loop, connected)
        self.key = key
        self.user = user
        self.uses = 0
        self.state = SessionState.GREETING
        self.since = self.born = loop.now
        self.spoilt = False
        self.domain = ""
        """Whom its message is for: the domain of the first recipient."""
        self.queue_id = ""
        """The message that it delivers, where that is known."""
        self.raw = False
        self.encrypted = False
        self.helo_answer = b""
        self._greeting = b""
        self._helo = key[1]
        self._changed = changed
        self._answers = Answers()
        self.write(begin)

    @property
    def tells(self) -> bool:
        """Whether it says that a message is on the disk."""
        return self.key[2] in TELLING

    def enter(self, state: SessionState) -> None:
        """Be in another state from now on."""
        former, self.state = self.state, state
        self._changed(self, former)
        if state is SessionState.IDLE:
            self.domain = ""
        self.since = self._loop.now

    def release(self) -> None:
        """Its client is done with it, and no answer is pending."""
        self.user = None
        if self.spoilt:
            self.quit()
        else:
            self.enter(SessionState.IDLE)

    def deliver(self, queue_id: str = "") -> None:
        """Its client was answered; sendmail's own answer is still to come, and makes it idle."""
        self.user, self.queue_id = None, queue_id
        self.enter(SessionState.DELIVERING)

    def give_back(self) -> None:
        """Its client gives it up in the middle of a transaction."""
        self.write(b"RSET\r\n")
        self.domain = ""
        self.deliver()

    def quit(self) -> None:
        """End it with QUIT."""
        self.user = None
        if self.state is not SessionState.QUITTING:
            self.enter(SessionState.QUITTING)
            self.write(b"QUIT\r\n")

    def received(self, data: bytes) -> None:
        """Cut the data into answers, and handle each."""
        if self.raw and (self.encrypted or not self.tells) and self.state is SessionState.BUSY:
            if self.user is not None:
                self.user.answered(Reply(data, -1))
            return
        for answer in self._answers.feed(data):
            # to STARTTLS: what follows is not ours to read (and the preload tells nothing any more)
            self.encrypted |= self.raw and answer.code == READY
            if answer.code == 0 and not answer.text:
                self.spoilt = True  # it would remember for long that this receiver failed
            else:
                self._take(answer)

    def _take(self, answer: Reply) -> None:
        user = self.user
        if answer.code == 0 and self.state is not SessionState.BUSY:
            return  # of a bounce, or of a message whose client has gone
        if self.state is SessionState.GREETING:
            if answer.code != 220 and not (self.raw and not self._helo):
                self._refused(answer)
                return
            self._greeting = answer.text
            if self._helo:
                self.enter(SessionState.HELO)
                self.write(self._helo)
            else:
                self._opened(b"")
        elif self.state is SessionState.HELO:
            if answer.code != 250:
                self._refused(answer)
                return
            self.helo_answer = answer.text
            self._opened(answer.text)
        elif self.state is SessionState.BUSY:
            if user is not None:
                user.answered(answer)
        elif self.state is SessionState.DELIVERING:
            self.spoilt |= answer.code != 250
            self.release()

    def _opened(self, helo: bytes) -> None:
        user = self.user
        if user is None:
            self.release()
            return
        self.enter(SessionState.BUSY)
        user.opened(self._greeting, helo)

    def _refused(self, answer: Reply) -> None:
        state, user = self.state, self.user
        self.quit()
        if user is not None:
            user.refused(answer, state)

    def ended(self) -> None:
        """Sendmail has closed it."""
        self.close()

    def lost(self) -> None:
        """Tell its client that the session is gone."""
        user, self.user = self.user, None
        former, self.state = self.state, SessionState.QUITTING
        self._changed(self, former)
        if user is not None:
            user.abandoned()
