"""Clients at the listeners that sendmail itself has (587, 465): how many there are, and who makes room for others.

Each session asks when it begins (``Local_check_relay`` in sendmail's rules), and a login shows who is no stranger.
Where there is no room, the session ends that has been there for longest without one. Standard library only.
"""

import os
import signal
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

GRACE = 10.0
"""Seconds that a session has for its login where others wait for its place."""
REMEMBERED = 10_000
"""Addresses whose clients have logged in; the one that did so longest ago is forgotten first."""


def born(pid: int) -> str:
    """When a process began, in the kernel's words, so that another of its number is told from it; empty: it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "XZ" else fields[19]


def end(pid: int) -> None:
    """Tell a session to end."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


@dataclass
class Session:
    """One of them."""

    pid: int
    address: str
    since: float
    born: str
    logged_in: bool = field(default=False)


class Sessions:
    """Counts sessions, all together and by address."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        born: Callable[[int], str] = born,
        end: Callable[[int], None] = end,
    ) -> None:
        """Begin with none.

        Args:
            most: of all together; a quarter is for addresses whose clients have logged in before.
            clock: the time, in seconds.
            born: when a process began; empty where there is none.
            end: ends a process.
        """
        self._most = most
        self._clock, self._born, self._end = clock, born, end
        self._sessions: dict[int, Session] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    def answer(self, pid: int, key: str) -> str:
        """``OK IN`` to ``LIMIT ADDRESS``, and count the session; ``OK CLIENT`` where the address has as many as that.

        ``OK ALL`` where all together are too many. A limit of 0 is none.
        """
        limit, _, address = key.partition(" ")
        if not (limit.isascii() and limit.isdigit() and address):
            return "PERM not a limit and an address"
        self._sessions = {each.pid: each for each in self._sessions.values() if self._born(each.pid) == each.born}
        self._sessions.pop(pid, None)
        of_client = [each for each in self._sessions.values() if each.address == address]
        if int(limit) and len(of_client) >= int(limit) and not self._make_room(of_client):
            return "OK CLIENT"
        share = self._most if address in self._known else self._most * 3 // 4
        if len(self._sessions) >= share and not self._make_room(list(self._sessions.values())):
            return "OK ALL"
        self._sessions[pid] = Session(pid, address, self._clock(), self._born(pid))
        return "OK IN"

    def login(self, pid: int) -> None:
        """The client of this session has logged in."""
        if session := self._sessions.get(pid):
            session.logged_in = True
            self._known[session.address] = None
            self._known.move_to_end(session.address)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _make_room(self, among: list[Session]) -> bool:
        """End the session that has been there for longest without a login."""
        late = [each for each in among if not each.logged_in and self._clock() - each.since > GRACE]
        if not late:
            return False
        first = min(late, key=lambda each: each.since)
        self._end(first.pid)
        del self._sessions[first.pid]
        return True
