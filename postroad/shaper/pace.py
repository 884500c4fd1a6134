"""How much may leave by a route right now: counting, no I/O. Standard library only.

A message counts from the moment its try begins until one period after its try has ended: it arrived somewhere between
the two, so no period at the receiver, wherever it begins, sees more than the rate. Where relays share a database,
each has a part of each limit.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from postroad.runtime.sharing import Use

DAY = 86400
MOST_AT_ONCE = 10
"""Processes at once for a route without ``concurrency``: what this machine should bear, not a promise."""
CONNECTIONS = "connections"
FINENESS = 1000
"""Parts of a period that are told apart: what ends within one of them is kept as one."""


@dataclass(frozen=True)
class RouteLimits:
    """What a route allows.

    Attributes:
        concurrency: connections at once; None: any number.
        rate: messages, and within how many seconds; None: any number.
        since: the first day of the warm-up, in days since the epoch (UTC).
        daily: most messages on that day and on those after it; empty: no warm-up.
    """

    concurrency: int | None = None
    rate: tuple[int, int] | None = None
    since: int = 0
    daily: Sequence[int] = ()


def _rate(period: int) -> str:
    """The name of the limit of a rate."""
    return f"rate {period}"


def alone(_: str, total: int) -> int:
    """What a relay that shares its limits with no other may have of one: all."""
    return total


class Pace:
    """Counts for one route; ``clock`` runs evenly, ``wall`` knows the day.

    Attributes:
        limits: what the route allows.
        part: what of it this relay may have, by the limit's name and its total.
    """

    def __init__(
        self, limits: RouteLimits, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.limits = limits
        self.part: Callable[[str, int], int] = alone
        self._clock, self._wall = clock, wall
        self._at_once = 0
        self._trying = 0
        # [when the first of them ended, when the last did, how many], oldest first
        self._recent: deque[list[float]] = deque()
        self._day, self._sent = self._today(), 0

    def _today(self) -> int:
        return int(self._wall() // DAY)

    @property
    def connections(self) -> int:
        """How many more connections may be opened."""
        most = self.limits.concurrency
        return (self.part(CONNECTIONS, most) if most else MOST_AT_ONCE) - self._at_once

    @property
    def busy(self) -> bool:
        """Whether all connections that may be open are, so that there is room when one ends."""
        return self._at_once > 0 and self.connections <= 0

    @property
    def open_today(self) -> bool:
        """Whether the warm-up allows one more message today."""
        cap = self._cap()
        return cap is None or self._sent < self.part(self._today_s, cap)

    @property
    def _today_s(self) -> str:
        """The name of today's limit of the warm-up."""
        return f"day {self._day}"

    def uses(self, waiting: int, needs: int) -> list[Use]:
        """The limits by their names, for relays that share them; each ``keeps`` is 0 here.

        Args:
            waiting: tries that all messages would make that are due.
            needs: tries of the next one.
        """
        found = []

        def add(name: str, total: int, used: int, needs: int, period: float) -> None:
            wants = min(total, used + waiting)
            found.append(Use(name, total, self.part(name, total), 0, used, wants, min(needs, total), period))

        if self.limits.concurrency:
            add(CONNECTIONS, self.limits.concurrency, self._at_once, min(needs, 1), 0.0)
        if self.limits.rate:
            total, period = self.limits.rate
            used = self._used(period)
            add(_rate(period), total, used, needs, float(period))
        if (cap := self._cap()) is not None:
            add(self._today_s, cap, self._sent, needs, float(DAY))
        return found

    @property
    def counts(self) -> bool:
        """Whether there are counts to keep over a restart."""
        return bool(self.limits.rate or self.limits.daily)

    def allows(self, tries: int, counted: bool, besides: int = 0) -> bool:
        """Whether a message may go: one that makes so many tries, and was counted for today already or not.

        ``besides`` are tries of those that go with it. A message that needs more than a whole period or day has is let
        through alone, or it would wait for ever.
        """
        if self.limits.rate:
            most, period = self.limits.rate
            if not self._fits(_rate(period), most, besides + self._used(period), tries):
                return False
        cap = self._cap()
        return counted or cap is None or self._fits(self._today_s, cap, besides + self._sent, tries)

    def _fits(self, name: str, total: int, used: int, tries: int) -> bool:
        part = self.part(name, total)
        return used + tries <= part or (0 < total <= part and not used)

    def _used(self, period: float) -> int:
        now = self._clock()
        while self._recent and self._recent[0][1] <= now - period:
            self._recent.popleft()
        return self._trying + int(sum(count for _, _, count in self._recent))

    def _cap(self) -> int | None:
        """The warm-up's limit for today, in messages; None: no limit."""
        if not self.limits.daily:
            return None
        today = self._today()
        if today != self._day:
            self._day, self._sent = today, 0
        number = today - self.limits.since
        if number < 0:
            return 0
        return self.limits.daily[number] if number < len(self.limits.daily) else None

    def begin(self, tries: int, fresh: int) -> None:
        """Count a connection with so many tries, ``fresh`` of them for messages not yet counted today."""
        self._cap()
        self._at_once += 1
        self._trying += tries
        self._sent += fresh

    def end(self, tries: int) -> None:
        """Count the end of that connection."""
        self._at_once -= 1
        self._trying -= tries
        self._ended(self._clock(), tries)

    def undo(self, tries: int, fresh: int) -> None:
        """Take a connection back that was never opened."""
        self._at_once -= 1
        self._trying -= tries
        self._sent = max(0, self._sent - fresh)

    def _ended(self, now: float, tries: int) -> None:
        period = self.limits.rate[1] if self.limits.rate else 0
        if self._recent and now - self._recent[-1][0] < period / FINENESS:
            self._recent[-1][1] = now
            self._recent[-1][2] += tries
        elif period:
            self._recent.append([now, now, tries])

    def dump(self) -> dict[str, Any]:
        """The counts, for ``load``: what is being tried counts as tried now."""
        offset = self._wall() - self._clock()
        recent = [[last + offset, count] for _, last, count in self._recent]
        if self._trying:
            recent.append([self._wall(), self._trying])
        return {"day": self._day, "sent": self._sent, "recent": recent}

    def load(self, counts: dict[str, Any]) -> None:
        """Restore counts from ``dump``.

        Raises:
            ValueError, KeyError, TypeError: they are damaged.
        """
        now, offset = self._clock(), self._wall() - self._clock()
        self._day, self._sent = int(counts["day"]), int(counts["sent"])
        # a clock that was set back makes times of the future: they count as now
        recent = [(min(float(ended) - offset, now), int(count)) for ended, count in counts["recent"]]
        self._recent = deque([ended, ended, count] for ended, count in recent)

    def fill(self) -> None:
        """Count this day and this period as used up: what they had so far is not known."""
        cap = self._cap()
        self._sent = cap or 0
        if self.limits.rate:
            self._recent = deque([[self._clock(), self._clock(), self.limits.rate[0]]])
