"""Who is signed in to the console: sessions in memory, known by the digests of their tokens."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from postroad.errors import PostroadError

IDLE, LONGEST = 30 * 60.0, 8 * 3600.0
"""Seconds for which a session lasts without a request, and at most."""
MOST = 100
"""Sessions at once; the one that was used longest ago ends first."""


MOST_NOTICES = 5


class RefusedError(PostroadError):
    """Somebody may not sign in; the reason is for the log."""


class Role(StrEnum):
    """What a session may: a viewer changes nothing, and sees no mail addresses."""

    OPERATOR = "operator"
    VIEWER = "viewer"


@dataclass
class Session:
    """A session.

    Attributes:
        form: what a form of this session has to hold.
        begun: when it began, by the clock of ``Sessions``; ``used`` when it was used last.
        role: what it may.
        name: whose it is, as events of changes tell: the role, or what an identity provider says.
        notices: what the next page is to say first: ``done`` or ``failed``, and the words.
    """

    form: str
    begun: float
    used: float
    role: Role = Role.OPERATOR
    name: str = "operator"
    notices: list[tuple[str, str]] = field(default_factory=list)

    @property
    def operates(self) -> bool:
        """Whether it may change things, and see addresses."""
        return self.role is Role.OPERATOR

    def tell(self, kind: str, text: str) -> None:
        """Let the next page say something first."""
        self.notices = [*self.notices, (kind, text)][-MOST_NOTICES:]

    def told(self) -> list[tuple[str, str]]:
        """What is to be said, once."""
        notices, self.notices = self.notices, []
        return notices


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

    def begin(self, role: Role = Role.OPERATOR, name: str = "") -> str:
        """Begin a session; return its token."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        self._sessions[_digest(token)] = Session(secrets.token_urlsafe(32), now, now, role, name or str(role))
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return token

    def of(self, token: str, *, uses: bool = True) -> Session | None:
        """The session with this token, which is used now, if somebody ``uses`` it; None: it has ended, or never was."""
        name = _digest(token)
        session = self._sessions.get(name)
        if session is None:
            return None
        now = self._clock()
        if now - session.used > IDLE or now - session.begun > LONGEST:
            del self._sessions[name]
            return None
        if uses:
            session.used = now
            self._sessions.move_to_end(name)
        return session

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
