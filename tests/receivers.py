"""Receivers that behave like big ones, and 10,000 messages for each: ``python -m tests.receivers`` prints the figures.

No sockets and no clock: the front's own classes (``Runs``, ``Receivers``) beside models of receivers, in simulated
time. The models answer in the words of the providers' pages; what goes on against their words is punished.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from postroad.front.adaptive import Receivers
from postroad.front.runs import BATCH, Run, Runs
from postroad.front.slowing import Change
from postroad.runtime.outcomes import Failure, Taken

MESSAGES = 10_000
RETRY = 300.0
"""``delivery.queue.retry``."""
SOON = 30.0
"""Seconds after which the front tries again what a slowed receiver has put off."""
START, EACH = 0.1, 0.2
"""Seconds for a run's start with its connection, and for a message."""
SESSIONS, UNKNOWN = 100, 30
"""Sessions that deliver what has just come, in all and for a domain that is not quick."""
COMES = 100
"""Messages a second that the app hands over."""
GIVE_UP = 6 * 3600.0
"""Seconds after which it is enough."""


@dataclass
class Model:
    """A receiver.

    Attributes:
        host: its MX host.
        domain: whose mail it takes.
        rate: messages a second that it takes in the long run, and ``burst``: in a row.
        connections: that it takes at once.
        per_connection: messages in a connection.
        too_fast, too_many, blocked: its words.
        patience: refusals within ten minutes that it bears; then it takes nothing for ``penalty`` seconds, counted from
            the last try.
    """

    host: str
    domain: str
    rate: float
    burst: float
    connections: int
    per_connection: int
    too_fast: str
    too_many: str
    blocked: str
    patience: int
    penalty: float
    open: int = 0
    refusals: int = 0
    taken: int = 0
    most_open: int = 0
    _tokens: float = field(default=-1.0)
    _filled: float = 0.0
    _lately: deque[float] = field(default_factory=deque)
    _until: float = 0.0

    @property
    def least(self) -> float:
        """Seconds that it takes at its own limits, at the least."""
        by_connections = MESSAGES / (self.connections / EACH)
        return max((MESSAGES - self.burst) / self.rate, by_connections)

    def _refuse(self, now: float, words: str) -> str:
        self.refusals += 1
        self._lately.append(now)
        while self._lately[0] < now - 600:
            self._lately.popleft()
        if len(self._lately) > self.patience:
            self._until = now + self.penalty
        return self.blocked if now < self._until else words

    def connect(self, now: float) -> str:
        """A reply that refuses the connection; empty: it is open."""
        if now < self._until:
            return self._refuse(now, self.blocked)
        if self.open >= self.connections:
            return self._refuse(now, self.too_many)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return ""

    def message(self, now: float) -> str:
        """A reply that refuses a message; empty: it is taken."""
        if self._tokens < 0:
            self._tokens = self.burst
        self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if now < self._until:
            return self._refuse(now, self.blocked)
        if self._tokens < 1:
            return self._refuse(now, self.too_fast)
        self._tokens -= 1
        self.taken += 1
        return ""


def models() -> list[Model]:
    """Four kinds of receivers; the numbers are guesses at what a new sender gets."""
    return [
        Model(
            *("gmail-smtp-in.l.google.com", "gmail.com", 8.0, 200, 20, 100),
            "421-4.7.28 Gmail has detected an unusual rate of email originating from your IP",
            "421-4.7.0 Try again later, closing connection.",
            "421-4.7.0 Our system has detected an unusual rate of unsolicited mail",
            *(200, 300.0),
        ),
        Model(
            *("outlook-com.olc.protection.outlook.com", "outlook.com", 5.0, 100, 10, 50),
            "451 4.7.500 Server busy. Please try again later from [203.0.113.5].",
            "421 4.3.2 The maximum number of concurrent connections has exceeded a limit",
            "451 4.7.650 The mail server has been temporarily rate limited due to IP reputation. (S775)",
            *(150, 600.0),
        ),
        Model(
            *("mta5.am0.yahoodns.net", "yahoo.com", 6.0, 100, 8, 20),
            "421 4.7.0 Too many messages from your host, please slow down",
            "421 4.7.0 Too many concurrent connections from 203.0.113.5",
            "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume or user complaints",
            *(150, 1200.0),
        ),
        Model(
            *("mx1.naver.com", "naver.com", 3.0, 50, 3, 50),
            "421 4.7.1 too many messages in a short time, try again later",
            "421 4.3.2 Too many connections from your host",
            "421 4.3.2 Your IP 203.0.113.5 is filtered",
            *(150, 1800.0),
        ),
        Model(
            *("mx1.rcpt.example", "rcpt.example", 5.0, 20, 5, 100),
            "450 4.7.1 Rate limit exceeded",
            "421 4.7.0 Too many connections",
            "421 4.7.0 Temporarily blocked: come back later",
            *(300, 300.0),
        ),
    ]


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        seconds: until all messages were through; infinity: they never were.
        refusals: how many there were.
        told: the changes of its standing.
    """

    seconds: float
    refusals: int
    told: list[Change]


class Relay:
    """The front, as far as it counts here, with one receiver."""

    def __init__(self, model: Model, *, adaptive: bool) -> None:
        self.model, self.now, self.told = model, 0.0, list[Change]()
        self._adaptive = adaptive
        self.receivers = Receivers(self.told.append, lambda _: self._direct)
        self.receivers.enabled = adaptive
        self.runs = Runs(16, self._start, limits=self.receivers if adaptive else None)
        self._direct = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._due: dict[str, float] = {}
        self._left = {str(number) for number in range(MESSAGES)}

    def at(self, then: float, act: Callable[[], None]) -> None:
        """Do something then."""
        heapq.heappush(self._events, (then, next(self._numbers), act))

    def simulate(self) -> Outcome:
        """Hand all messages over, and go on until they are through."""
        for number in range(MESSAGES):
            self.at(number / COMES, lambda queue_id=str(number): self._came(queue_id))  # type: ignore[misc]
        self.at(1.0, self._every_second)
        self.at(RETRY, self._look)
        while self._left and self.now < GIVE_UP:
            self.now, _, act = heapq.heappop(self._events)
            act()
        return Outcome(self.now if not self._left else float("inf"), self.model.refusals, self.told)

    def _every_second(self) -> None:
        self.at(self.now + 1, self._every_second)
        self.receivers.tick(self.now)
        self.runs.fill(self.now)

    def _look(self) -> None:
        self.at(self.now + RETRY, self._look)
        due = [(queue_id, self.model.domain) for queue_id, then in self._due.items() if then <= self.now]
        self.runs.due(due, self.now)

    def _came(self, queue_id: str) -> None:
        domain = self.model.domain
        most = SESSIONS if self.runs.is_quick(domain) else UNKNOWN
        if self._direct >= most or (self._adaptive and self.receivers.is_held(domain)):
            self.runs.add(queue_id, [domain], self.now)
            return
        self._direct += 1
        refused = self.model.connect(self.now)

        def end(reply: str, *, opened: bool) -> None:
            self._direct -= 1
            self.model.open -= opened
            self._outcome(queue_id, reply)
            self.runs.took(domain, START + EACH)

        if refused:
            self.at(self.now + START, lambda: end(refused, opened=False))
        else:
            self.at(self.now + START + EACH, lambda: end(self.model.message(self.now), opened=True))

    def _outcome(self, queue_id: str, reply: str) -> None:
        model = self.model
        if not reply:
            self._left.discard(queue_id)
            self._due.pop(queue_id, None)
            if self._adaptive:
                self.at(self.now + 0.05, lambda: self.receivers.took(Taken(model.host, model.domain, 1, 0.0), self.now))
            return
        self._due[queue_id] = self.now + RETRY
        if not self._adaptive:
            return
        failure = Failure("deferred", model.host, model.domain, None, reply, f"Deferred: {reply}", 0.0)
        self.at(self.now + 0.05, lambda: self.receivers.failed(failure, self.now))

    def _start(self, run: Run) -> bool:
        if run.whole:
            run = Run("", run.began, list(self._due))
            self.at(self.now, lambda: self._next(run, list(self._due), whole=True))
        else:
            self.at(self.now + START, lambda: self._next(run, list(run.ids)))
        return True

    def _next(self, run: Run, ids: list[str], *, whole: bool = False, opened: int = 0) -> None:
        """The next message of a run, over the connection that it has; ``opened``: messages in that so far."""
        model = self.model
        if not opened and ids:
            refused = model.connect(self.now)
            if refused:  # sendmail remembers that, and tries no other message of the run
                for queue_id in ids:
                    self._outcome(queue_id, refused)
                ids = []
        if not ids:
            model.open -= bool(opened)
            self._ended(run, whole=whole)
            return
        queue_id, rest = ids[0], ids[1:]
        reply = "" if queue_id not in self._left else model.message(self.now)
        self._outcome(queue_id, reply)
        if reply.startswith("421"):
            model.open -= 1
            for other in rest:
                self._outcome(other, reply)
            self._ended(run, whole=whole)
            return
        opened += 1
        if opened >= model.per_connection:
            model.open -= 1
            opened = 0
        self.at(self.now + EACH, lambda: self._next(run, rest, whole=whole, opened=opened))

    def _ended(self, run: Run, *, whole: bool) -> None:
        if whole:
            run = next(each for each in self.runs.running if each.whole)
        self.runs.ended(run, self.now)
        if self._adaptive and self.receivers.is_held(self.model.domain):
            again = [queue_id for queue_id in run.ids if queue_id in self._left]
            self.at(self.now + SOON, lambda: self._again(again))

    def _again(self, ids: list[str]) -> None:
        for queue_id in ids:
            self.runs.add(queue_id, [self.model.domain], self.now)


def main() -> None:
    """Print the figures."""
    for patient in (False, True):
        how = "they bear any number of refusals" if patient else "who goes on gets nothing for a while"
        print(f"\n{MESSAGES} messages for one receiver each, retry {RETRY:g} s, batches of {BATCH}; {how}")
        table(patient=patient)


def table(*, patient: bool) -> None:
    """Print a table; ``patient``: of receivers that punish nothing."""
    print(f"{'receiver':40} {'its limit':>9} {'with':>9} {'without':>9} {'refusals with':>14} {'without':>9}  told")
    for with_, without in zip(models(), models(), strict=True):
        if patient:
            with_.patience = without.patience = 10**9
        one, other = Relay(with_, adaptive=True).simulate(), Relay(without, adaptive=False).simulate()
        kinds = [change.kind for change in one.told]
        told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        print(
            f"{with_.host:40} {with_.least:8.0f}s {one.seconds:8.0f}s {other.seconds:8.0f}s"
            f" {one.refusals:14} {other.refusals:9}  {told}"
        )


if __name__ == "__main__":
    main()
