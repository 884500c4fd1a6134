"""A time limit for the database server: a frozen one keeps its connections, so only a timer notices."""

import signal
from collections.abc import Callable

LIMIT = 120.0
"""Seconds that a database server may take for one thing."""


class Patience:
    """A timer around what asks a server; SQLite, a file of our own, needs none."""

    def __init__(self, server: bool, late: Callable[[], None]) -> None:
        """Call ``late`` when a server has taken longer than it may; ``server``: there is one."""
        self._server, self._late = server, late

    def begin(self) -> None:
        """Take SIGALRM, in the main thread."""
        if self._server:
            signal.signal(signal.SIGALRM, lambda *_: self._late())

    def more(self) -> None:
        """Restart the timer for the next request."""
        self._set(LIMIT)

    def end(self) -> None:
        """Stop the timer: nothing is asked, or the request may take long."""
        self._set(0)

    def _set(self, seconds: float) -> None:
        if self._server:
            signal.setitimer(signal.ITIMER_REAL, seconds)
