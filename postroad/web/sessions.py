"""Who is signed in to the console: sessions in memory, known by the digests of their tokens."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

IDLE, LONGEST = 30 * 60.0, 8 * 3600.0
"""Seconds for which a session lasts without a request, and at most."""
MOST = 100
"""Sessions at once; the one that was used longest ago ends first."""


@dataclass
class Session:
    """A session.

    Attributes:
        form: what a form of this session has to hold.
        begun: when it began, by the clock of ``Sessions``; ``used`` when it was used last.
    """

    form: str
    begun: float
    used: float


class Sessions:
    """All sessions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody is signed in."""
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._password = ""

    def belong_to(self, password: str) -> None:
        """End all sessions unless this is the password that they were begun with."""
        digest = _digest(password)
        if digest != self._password:
            self._sessions.clear()
            self._password = digest

    def begin(self) -> str:
        """Begin a session; return its token."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        self._sessions[_digest(token)] = Session(secrets.token_urlsafe(32), now, now)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return token

    def of(self, token: str) -> Session | None:
        """The session with this token, which is used now; None: it has ended, or never was."""
        name = _digest(token)
        session = self._sessions.get(name)
        if session is None:
            return None
        now = self._clock()
        if now - session.used > IDLE or now - session.begun > LONGEST:
            del self._sessions[name]
            return None
        session.used = now
        self._sessions.move_to_end(name)
        return session

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
