"""Clients at the listeners that sendmail itself has (587, 465): how many there are, and who makes room for others.

sendmail asks before it makes a process for a client (``accept`` in the preloaded library), and again in that process
(``Local_check_relay`` in its rules), which is the session; a login shows who is no stranger.
Where there is no room, the session ends that has been there for longest without one. Standard library only.
"""

import ipaddress
import math
import os
import signal
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

GRACE = 10.0
"""Seconds that a session has for its login where others wait for its place."""
COMING = 5.0
"""Seconds within which a process that is made for a client is a session, or has come to nothing."""
SAY = 60.0
"""Seconds between two lines in the log about clients that are turned away."""
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


def plain(address: str) -> str:
    """An address as sendmail's macros and the kernel write it, in one form.

    Raises:
        ValueError: it is none.
    """
    ip = ipaddress.ip_address(address.removeprefix("IPv6:"))
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@dataclass
class ClientSession:
    """A client's session."""

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
        tell: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        """Begin with none.

        Args:
            most: of all together; a quarter is for addresses whose clients have logged in before.
            clock: the time, in seconds.
            born: when a process began; empty where there is none.
            end: ends a process.
            tell: gets what the log should say: a level and a message.
        """
        self._most = most
        self._clock, self._born, self._end, self._tell = clock, born, end, tell
        self._coming: deque[tuple[str, float]] = deque()
        self._told = -math.inf
        self._sessions: dict[int, ClientSession] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    def knock(self, address: str) -> str:
        """``OK IN`` where a client of this address may have a process, ``OK ALL`` where there are too many."""
        try:
            address = plain(address)
        except ValueError:
            return "PERM not an address"
        self._look()
        if not self._has_room(address, len(self._sessions) + len(self._coming)):
            return "OK ALL"
        self._coming.append((address, self._clock()))
        return "OK IN"

    def answer(self, pid: int, key: str) -> str:
        """``OK IN`` to ``LIMIT ADDRESS``, and count the session; ``OK CLIENT`` where the address has as many as that.

        ``OK ALL`` where all together are too many. A limit of 0 is none.
        """
        limit, _, address = key.partition(" ")
        try:
            most, address = int(limit), plain(address)
        except ValueError:
            return "PERM not a limit and an address"
        self._look()
        self._sessions.pop(pid, None)
        for each in self._coming:
            if each[0] == address:
                self._coming.remove(each)
                break
        of_client = [each for each in self._sessions.values() if each.address == address]
        if most > 0 and len(of_client) >= most and not self._make_room(of_client):
            return "OK CLIENT"
        if not self._has_room(address, len(self._sessions)):
            return "OK ALL"
        self._sessions[pid] = ClientSession(pid, address, self._clock(), self._born(pid))
        return "OK IN"

    def _look(self) -> None:
        """Drop sessions that have ended."""
        self._sessions = {each.pid: each for each in self._sessions.values() if self._born(each.pid) == each.born}
        while self._coming and self._coming[0][1] < self._clock() - COMING:
            self._coming.popleft()

    def _has_room(self, address: str, number: int) -> bool:
        """Whether one more client may come in beside so many."""
        share = self._most if address in self._known else self._most * 3 // 4
        if number < share or self._make_room(list(self._sessions.values())):
            return True
        if self._clock() - self._told > SAY:
            self._told = self._clock()
            self._tell("warning", f"587 and 465: all {share} sessions are taken, further clients are turned away (421)")
        return False

    def login(self, pid: int) -> None:
        """Record that the client of this session has logged in."""
        if session := self._sessions.get(pid):
            session.logged_in = True
            self._known[session.address] = None
            self._known.move_to_end(session.address)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _make_room(self, among: list[ClientSession]) -> bool:
        """End the session that has been there for longest without a login."""
        late = [each for each in among if not each.logged_in and self._clock() - each.since > GRACE]
        if not late:
            return False
        first = min(late, key=lambda each: each.since)
        self._end(first.pid)
        del self._sessions[first.pid]
        return True
