"""Messages that wait in the queue, and sendmail's runs that take them from there.

They went there for want of room, or were tried before and are due again. A run takes the messages of one domain, a few
at a time, so that they share a connection. A third of the room is for domains that have lately taken mail quickly;
those that let deliveries wait have a third, however many there are.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

BATCH = 20
"""Messages a run."""
SLOW = 7.5
"""Seconds after which a delivery or a run that has delivered nothing counts as slow, and so its domain."""
LONG = 10.0
"""Seconds after which any other does: its receiver answers."""
PER_DOMAIN = 4
"""Runs for one domain at once, where it is quick; any other has one."""
PASSES = 6
"""Times that a run may pass a message over before it waits until the queue is looked at."""
LATE = 10.0
"""Seconds between two runs of messages whose senders are due word of them, where their receiver gets less."""
REMEMBERED = 1000
"""Domains that were quick, and likewise slow."""
MOST = 50_000
"""Messages that may wait here; those above wait until the queue is looked at again."""
WHOLE = 5_000
"""Messages that are due from which on one run takes the whole queue: each run looks through all of its names."""


@dataclass
class Run:
    """A run of the queue; without ``ids`` of all that is in it."""

    domain: str
    began: float
    ids: list[str] = field(default_factory=list)
    probes: bool = False
    """Whether nothing is known of the domain: it has to show soon that it takes mail, or it is one of the slow ones."""
    receiver: str = ""
    """Who receives the domain's mail; empty: not known."""

    @property
    def whole(self) -> bool:
        """Whether it takes all that is in the queue."""
        return not self.ids


class Limits(Protocol):
    """How much may go to receivers that have asked for less (``adaptive.py``)."""

    held: set[str]

    def room(self, domain: str, most: int, now: float) -> int:
        """How many of so many messages for a domain a run may have now."""

    def began(self, domain: str, number: int, now: float) -> str:
        """A run of so many messages has begun for this domain; the name of its receiver, empty if it is not known."""

    def ended(self, receiver: str) -> None:
        """A run for this receiver has ended."""


class Runs:
    """The waiting messages and the runs under way. No I/O: ``start`` is passed in."""

    def __init__(
        self,
        most: int,
        start: Callable[[Run], bool],
        spare: Callable[[], int] = lambda: 0,
        limits: Limits | None = None,
    ) -> None:
        """Begin with none.

        Args:
            most: runs at once.
            start: starts one; False: it could not be started.
            spare: how many more there may be at this moment.
            limits: those of receivers; None: there are none.
        """
        self.most = most
        self._spare = spare
        self._limits = limits
        self.running: list[Run] = []
        self.waiting = 0
        self._start = start
        self._known: set[str] = set()  # those that wait, and those of runs
        self._late: OrderedDict[str, list[str]] = OrderedDict()
        self._late_run = float("-inf")
        self._fresh: dict[str, int] = {}  # those that have come just now, and how often a run has passed them over
        self._domains: OrderedDict[str, list[str]] = OrderedDict()
        self._quick: OrderedDict[str, None] = OrderedDict()
        self._slow: OrderedDict[str, None] = OrderedDict()

    def add(self, queue_id: str, domains: list[str], now: float) -> None:
        """A message has gone into the queue."""
        self._add(queue_id, domains[0] if domains else "")
        if queue_id in self._known:
            self._fresh.setdefault(queue_id, 0)
        self.fill(now)

    def passed_over(self, run: Run, untouched: Callable[[str], bool]) -> list[str]:
        """The messages that a run has passed over and that have to be added again.

        A message is told of when it is on the disk. The process that wrote it may still hold it then, and a run leaves
        alone what another process holds. ``untouched`` says that it was never tried, and is still there.
        """
        found = []
        for queue_id in run.ids:
            times = self._fresh.pop(queue_id, PASSES)
            if times < PASSES and untouched(queue_id):
                self._fresh[queue_id] = times + 1
                found.append(queue_id)
        return found

    def due(self, messages: list[tuple[str, str]], now: float) -> None:
        """Add messages that are due again: (queue id, domain) each."""
        for queue_id, domain in messages:
            self._add(queue_id, domain)
        held = self._limits is not None and self._limits.held
        whole = len(messages) >= WHOLE and not held and not any(run.whole for run in self.running)
        if whole and len(self.running) < self.most + self._spare():
            self._begin(Run("", now))
        self.fill(now)

    def late(self, messages: list[tuple[str, str]]) -> None:
        """Messages whose senders have to be told that they wait, or that they come back: (queue id, domain) each.

        sendmail does so when a try fails. They are tried even where their receiver gets nothing else.
        """
        for queue_id, domain in messages:
            if queue_id not in self._known:
                self._known.add(queue_id)
                self._late.setdefault(domain, []).append(queue_id)

    def _fill_late(self, now: float) -> None:
        """Start a run of such messages, now and then: one connection tells that the receiver takes none."""
        if self._late and now - self._late_run >= LATE and len(self.running) < self.most:
            self._late_run = now
            domain, ids = self._late.popitem(last=False)
            if ids[BATCH:]:
                self._late[domain] = ids[BATCH:]
            run = Run(domain, now, ids[:BATCH])
            if self._limits is not None:
                run.receiver = self._limits.began(domain, len(run.ids), now)
            self._begin(run)

    def _add(self, queue_id: str, domain: str) -> None:
        if self.waiting < MOST and queue_id not in self._known:
            self._known.add(queue_id)
            self._domains.setdefault(domain, []).append(queue_id)
            self.waiting += 1

    def ended(self, run: Run, now: float, *, helped: bool = False) -> None:
        """A run has ended; ``helped``: any of its messages has left the queue."""
        self._forget(run)
        if not run.whole:
            self.took(run.domain, now - run.began, LONG if helped else SLOW)
        self.fill(now)

    def _begin(self, run: Run) -> None:
        self.running.append(run)
        if not self._start(run):
            self._forget(run)

    def _forget(self, run: Run) -> None:
        self.running.remove(run)
        self._known.difference_update(run.ids)
        if self._limits is not None and not run.whole:
            self._limits.ended(run.receiver)

    def waits_for(self, is_theirs: Callable[[str], bool]) -> int:
        """How many messages wait for the domains that a function says yes to."""
        return sum(len(ids) for domain, ids in self._domains.items() if is_theirs(domain))

    @property
    def borrowed(self) -> int:
        """Runs beyond those that there may always be."""
        return max(0, len(self.running) - self.most)

    def is_quick(self, domain: str) -> bool:
        """Whether the domain has lately taken mail quickly."""
        return domain in self._quick

    def so_far(self, domain: str, seconds: float) -> None:
        """A delivery to this domain has taken so many seconds, and has not ended."""
        if seconds > LONG:
            self.took(domain, seconds)

    def took(self, domain: str, seconds: float, slow: float = SLOW) -> None:
        """A delivery to this domain has ended, after so many seconds, of which so many are slow."""
        quick, other = (self._quick, self._slow) if seconds < slow else (self._slow, self._quick)
        other.pop(domain, None)
        quick[domain] = None
        quick.move_to_end(domain)
        if len(quick) > REMEMBERED:
            quick.popitem(last=False)

    def fill(self, now: float) -> None:
        """Start as many runs as there is room for."""
        for run in self.running:
            if not run.whole:
                self.so_far(run.domain, now - run.began)
        self._fill_late(now)
        most = self.most + self._spare()
        for domain in list(self._domains):
            if len(self.running) >= most:
                return
            if not self._may_run(domain, most):
                continue
            number = min(BATCH, len(self._domains[domain]))
            if self._limits is not None:
                number = self._limits.room(domain, number, now)
            if not number:
                continue
            ids = self._domains.pop(domain)
            run = Run(domain, now, ids[:number], probes=domain not in self._quick and domain not in self._slow)
            if ids[number:]:
                self._domains[domain] = ids[number:]  # the others first
            self.waiting -= len(run.ids)
            if self._limits is not None:
                run.receiver = self._limits.began(domain, number, now)
            self._begin(run)

    def _may_run(self, domain: str, most: int) -> bool:
        runs = [run for run in self.running if not run.whole]
        here = sum(run.domain == domain for run in runs)
        if domain in self._quick:
            return here < PER_DOMAIN
        slow = sum(run.domain in self._slow for run in runs)
        others = sum(run.domain not in self._quick for run in runs)
        third = max(1, most // 3)
        return here == 0 and others < most - third and (domain not in self._slow or slow < third)
