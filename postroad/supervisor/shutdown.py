"""The end of sendmail's processes: those at work finish, those that wait for their client end at once.

The daemon itself goes first, so nothing new comes in. Its children live on and are adopted by the supervisor. Each ends
cleanly on SIGTERM: what it was delivering stays in the queue, what it was receiving was not answered yet.
"""

import signal
import time
from dataclasses import dataclass, field

from postroad.supervisor import processes

IDLE = 1.0
"""Seconds after which a session that waits for its client's next command is not in flight any more."""
WAITING = "cmd read"
"""What sendmail writes into the command line of such a session's process."""


@dataclass
class Shutdown:
    """Looks at what still runs, again and again until it is done.

    Attributes:
        grace: seconds until the last process is killed; for the last quarter of it, all are asked to end.
        spare: process ids to leave alone.
    """

    grace: float
    spare: frozenset[int]
    began: float = field(default_factory=lambda: time.monotonic())  # noqa: PLW0108 - a test may have another clock
    left: list[int] = field(default_factory=list)
    _waiting_since: dict[int, float] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)

    def done(self) -> bool:
        """Look once. True when nothing is left, or the grace time is over and the rest was killed."""
        now = time.monotonic()
        running = {pid: title for pid, title in processes.children().items() if pid not in self.spare}
        self.left = list(running)
        if now > self.began + self.grace:
            for pid in running:
                processes.kill(pid, signal.SIGKILL)
            return True
        late = now > self.began + self.grace * 3 / 4
        for pid, title in running.items():
            if WAITING not in title:
                self._waiting_since.pop(pid, None)
            idle = WAITING in title and now - self._waiting_since.setdefault(pid, now) > IDLE
            if (late or idle) and pid not in self._told:
                processes.kill(pid, signal.SIGTERM)
                self._told.add(pid)
        return not running
