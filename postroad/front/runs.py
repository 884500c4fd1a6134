"""Messages that went into the queue for want of room, and sendmail's runs that take them from there.

A run takes the messages of one domain, a few at a time, so that they share a connection. A third of the room is for
domains that have lately taken mail quickly; those that let deliveries wait have a third, however many there are.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

BATCH = 20
"""Messages a run."""
SLOW = 10.0
"""Seconds after which a run, and its domain, counts as slow."""
PER_DOMAIN = 4
"""Runs for one domain at once, where it is quick; any other has one."""
REMEMBERED = 1000
"""Domains that were quick, and likewise slow."""
MOST = 50_000
"""Messages that may wait here; those above wait for a regular run of the queue."""


@dataclass
class Run:
    """A run of the queue."""

    domain: str
    began: float
    ids: list[str] = field(default_factory=list)


class Runs:
    """Which messages wait, and which runs are under way. No I/O: ``start`` is handed in."""

    def __init__(self, most: int, start: Callable[[Run], bool]) -> None:
        """Begin with none.

        Args:
            most: runs at once.
            start: starts one; False: it could not be started.
        """
        self.most = most
        self.running: list[Run] = []
        self.waiting = 0
        self._start = start
        self._domains: OrderedDict[str, list[str]] = OrderedDict()
        self._quick: OrderedDict[str, None] = OrderedDict()
        self._slow: OrderedDict[str, None] = OrderedDict()

    def add(self, queue_id: str, domains: list[str], now: float) -> None:
        """A message has gone into the queue."""
        if self.waiting >= MOST:
            return
        self._domains.setdefault(domains[0] if domains else "", []).append(queue_id)
        self.waiting += 1
        self.fill(now)

    def ended(self, run: Run, now: float) -> None:
        """A run has ended."""
        self.running.remove(run)
        self.took(run.domain, now - run.began)
        self.fill(now)

    def is_quick(self, domain: str) -> bool:
        """Whether the domain has lately taken mail quickly."""
        return domain in self._quick

    def so_far(self, domain: str, seconds: float) -> None:
        """A delivery to this domain has taken so many seconds, and has not ended."""
        if seconds > SLOW:
            self.took(domain, seconds)

    def took(self, domain: str, seconds: float) -> None:
        """A delivery to this domain has ended, after so many seconds."""
        quick, other = (self._quick, self._slow) if seconds < SLOW else (self._slow, self._quick)
        other.pop(domain, None)
        quick[domain] = None
        quick.move_to_end(domain)
        if len(quick) > REMEMBERED:
            quick.popitem(last=False)

    def fill(self, now: float) -> None:
        """Start what there is room for."""
        for run in self.running:
            self.so_far(run.domain, now - run.began)
        for domain in list(self._domains):
            if len(self.running) >= self.most:
                return
            if not self._may_run(domain):
                continue
            ids = self._domains.pop(domain)
            run = Run(domain, now, ids[:BATCH])
            if ids[BATCH:]:
                self._domains[domain] = ids[BATCH:]  # the others first
            self.waiting -= len(run.ids)
            self.running.append(run)
            if not self._start(run):
                self.running.remove(run)

    def _may_run(self, domain: str) -> bool:
        here = sum(run.domain == domain for run in self.running)
        if domain in self._quick:
            return here < PER_DOMAIN
        slow = sum(run.domain in self._slow for run in self.running)
        others = sum(run.domain not in self._quick for run in self.running)
        third = max(1, self.most // 3)
        return here == 0 and others < self.most - third and (domain not in self._slow or slow < third)
