"""What sendmail greets its clients with, as the front says it."""

import re
import time
from collections.abc import Callable

from postroad.front.lines import Reply
from postroad.front.loop import Loop
from postroad.front.pool import Pool
from postroad.front.session import SendmailSession, SessionState
from postroad.runtime.front import BACKGROUND

AGAIN = 0.05
"""Seconds after which sendmail is asked again that was not there."""

_DATE = re.compile(rb"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4}(?: \(\w+\))?)")
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Greeting:
    """Learns it from a session that no client uses: ``sendmail.defines`` may have changed it."""

    def __init__(self, loop: Loop, pool: Pool, known: Callable[[], None]) -> None:
        """Begin without; ``known`` is called when sendmail has said it, or does not say it now."""
        self._loop, self._pool, self._known = loop, pool, known
        self._session: SendmailSession | None = None
        self._parts: tuple[bytes, bytes, bool] | None = None

    active = float("inf")  # it says nothing, and waits for nobody

    def cut(self) -> None:
        """There is nothing to give up."""

    def ask(self) -> None:
        """Ask sendmail, again and again until it greets."""
        self._parts = None
        self._again()

    def _again(self) -> None:
        loopback = ("::1" if self._pool.settings.inet6 else "127.0.0.1", 0)
        self._session = self._pool.open((loopback[0], b"", BACKGROUND), self, loopback, loopback)
        if self._session is None:
            self._loop.at(self._loop.now + AGAIN, self._again)
        else:
            self._session.spoilt = True

    def opened(self, greeting: bytes, helo: bytes) -> None:
        """Sendmail has said it."""
        del helo  # there was none
        session, self._session = self._session, None
        self._learn(greeting)
        if session is not None:
            session.release()
        self._known()

    def _learn(self, greeting: bytes) -> None:
        found = _DATE.search(greeting)
        self._parts = (greeting[: found.start()], greeting[found.end() :], True) if found else (greeting, b"", False)

    def refused(self, answer: Reply, state: SessionState) -> None:
        """Sendmail takes nobody now: it is drained."""
        del answer, state
        self._session = None
        self._loop.at(self._loop.now + 1, self._again)
        self._known()

    def answered(self, answer: Reply) -> None:
        """Nothing was asked."""

    def abandoned(self) -> None:
        """The session ended before it said anything."""
        if self._session is not None:
            self._session = None
            self._loop.at(self._loop.now + AGAIN, self._again)

    def text(self) -> bytes | None:
        """The greeting, with the time of now; None: it is not known yet."""
        if self._parts is None:
            return None
        before, after, dated = self._parts
        return before + _date(time.time()) + after if dated else before


def _date(when: float) -> bytes:
    """A time in UTC, in the form of RFC 5322, 3.3."""
    now = time.gmtime(when)
    return (
        f"{_DAYS[now.tm_wday]}, {now.tm_mday} {_MONTHS[now.tm_mon - 1]} {now.tm_year}"
        f" {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} +0000"
    ).encode()
