"""How much a receiver gets that says "too fast", "too many connections", "try later", or blocks. Pure, with a clock.

Less at once and a lower rate, by what it took before it refused; then a little more every few seconds for as long as it
says nothing (additive increase, multiplicative decrease). A receiver that blocks, or takes nothing any more, is paused:
one message tries now and then, and each time that fails the pause is twice as long.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from postroad.front.profiles import Profile
from postroad.runtime.slowed import SlowedReceiver

STEP = 10.0
"""Seconds without a refusal after which a receiver gets more."""
ROUND = 5.0
"""Seconds after a cut for which further refusals say the same: they answer what was under way."""
WINDOW = 60.0
"""Seconds by which the rate is measured at which a receiver takes mail, and the least of them."""
LEAST_WINDOW = 10.0
CUT = 0.75
"""What is left of the rate after a refusal."""
NEAR = 0.9
"""The part of the rate that was refused up to which it grows fast."""
FAST, SLOW = 0.05, 0.01
"""What is added in a step, as parts of the rate that was refused: below ``NEAR`` and above."""
FOUND = 10
"""Messages that a receiver has to have taken for its rate to mean something; with less, it is found by doubling."""
FIRST = 1.0
"""Messages a second with which that begins."""
LEAST = 1 / 60
MORE_CONNECTIONS = 60.0
"""Seconds without a refusal after which a receiver gets one more connection."""
ROUNDS = 4
"""Rounds of refusals with nothing taken in between, after which a receiver is paused."""
FINAL = 3
"""Refusals for good, one after the other, that are a block: one alone may be about its message."""
SHORT_PAUSE, LONGEST_PAUSE = 60.0, 7200.0
AGAIN = 10.0
"""Seconds after which a pause's message that told nothing is followed by another."""
FORGET = 3600.0
"""Seconds without a refusal after which a receiver is as any other."""
FREE = 4.0
"""Likewise how often the refused rate a receiver gets, without another refusal."""
AHEAD = 5.0
"""Seconds for which a run may have messages."""
MOST_CONNECTIONS = 100


class Signal(Enum):
    """What a refusal says of how much is sent."""

    RATE = auto()
    CONNECTIONS = auto()
    LATER = auto()
    GREYLISTED = auto()
    BLOCK = auto()


class Standing(StrEnum):
    """How a receiver is treated."""

    FREE = "free"
    SLOWED = "slowed"
    PAUSED = "paused"


@dataclass(frozen=True)
class Refusal:
    """What a receiver has said.

    Attributes:
        signal: what that means.
        reason: the class of the reply.
        reply: the reply.
        connections: how many were open with it just then.
        final: for good: the message has bounced.
        alone: whether that can't be what one of its customers wants for his domain.
        age: seconds since that attempt began.
    """

    signal: Signal
    reason: str
    reply: str
    connections: int = 0
    final: bool = False
    alone: bool = True
    age: float = 0.0


@dataclass(frozen=True)
class Change:
    """What is to be told of a receiver.

    Attributes:
        kind: ``slowed``, ``paused`` or ``resumed``.
        receiver: its name.
        reason: the class of the reply; empty for ``resumed``.
        reply: what it said.
        connections: most connections at once from now on; None: as any receiver.
        rate: most messages a second; None: any number.
        until: when one message tries, in seconds of the clock; None: it is not paused.
        lasted: for ``resumed``, seconds since it was slowed or paused.
    """

    kind: str
    receiver: str
    reason: str = ""
    reply: str = ""
    connections: int | None = None
    rate: float | None = None
    until: float | None = None
    lasted: float | None = None


@dataclass
class Receiver:
    """One receiver, with all domains behind its MX hosts.

    Attributes:
        profile: who it is.
        standing: how it is treated.
        since: since when it is not treated as any other.
        connections: most at once.
        rate: most messages a second; infinity: any number.
        until: when a message tries it again, while it is paused.
        reason: the class of its last refusal; reply: and its words.
        running: runs under way for it.
        returns_late: it has asked for the same messages later, as greylisting does.
        last_refusal: when it last asked for less.
    """

    profile: Profile
    standing: Standing = Standing.FREE
    since: float = 0.0
    connections: int = MOST_CONNECTIONS
    rate: float = float("inf")
    until: float = 0.0
    reason: str = ""
    reply: str = ""
    running: int = 0
    returns_late: bool = False
    last_refusal: float = float("-inf")
    _refused_rate: float = 0.0
    """The rate at which it refused last; 0: not known."""
    _refused_connections: int = 0
    _began_with: int = 0
    """Connections when the round began, and how many of them were refused."""
    _refused_in_round: int = 0
    _cut: float = float("-inf")
    _stepped: float = 0.0
    _more_connections: float = 0.0
    _rounds: int = 0
    """Rounds of refusals since it took something; final: and refusals for good."""
    _final: int = 0
    _pauses: int = 0
    _paused: float = float("-inf")
    _tokens: float = 0.0
    _filled: float = 0.0
    _wanted: bool = False
    """Whether a limit held something back since the last step."""
    _taken: deque[tuple[float, int]] = field(default_factory=deque)
    _told_rate: float = float("inf")

    # --- what happened

    def took(self, number: int, now: float, age: float = 0.0) -> list[Change]:
        """It has taken so many messages; ``age`` is for how many seconds the latest attempt has lasted."""
        if self._taken and now - self._taken[-1][0] < 1:
            then, before = self._taken.pop()
            self._taken.append((then, before + number))
        else:
            self._taken.append((now, number))
        self._forget(now)
        return self.answered(now, age)

    def answered(self, now: float, age: float = 0.0) -> list[Change]:
        """It has taken a message, or refused one for what it is: in any case it talks to us."""
        if self.standing is Standing.PAUSED and now - age - 1 < self._paused:
            return []  # that was under way
        self._rounds = self._final = 0
        if self.standing is not Standing.PAUSED:
            return []
        self._pauses = max(0, self._pauses - 1) if now - self.until > FORGET else self._pauses
        self.standing = Standing.SLOWED
        self.connections = 1
        self.rate = max(LEAST, self._refused_rate / 2) if self._refused_rate else FIRST
        self._begin_growing(now)
        return [self._change("resumed", lasted=now - self.since)]

    def refused(self, refusal: Refusal, now: float) -> list[Change]:
        """It has refused a message."""
        signal = refusal.signal
        self.returns_late = signal is Signal.GREYLISTED
        self.reason, self.reply = refusal.reason, refusal.reply
        self.last_refusal = now
        if signal is Signal.BLOCK:
            self._final += refusal.final and refusal.alone
            return self._pause(now, refusal.age) if not refusal.final or self._final >= FINAL else []
        if self.standing is Standing.PAUSED:
            return self._pause(now, refusal.age)
        if now - self._cut < ROUND or now - refusal.age < self._cut:
            if signal is Signal.CONNECTIONS:
                self._refused_in_round += 1
                self._cut_connections(now)
            return []
        self._rounds += signal is not Signal.GREYLISTED
        if self._rounds > ROUNDS:
            return self._pause(now, refusal.age)
        return self._slow(signal, now, refusal.connections)

    def _slow(self, signal: Signal, now: float, connections: int) -> list[Change]:
        was = self.standing
        if was is Standing.FREE:
            self.since = now
        self.standing = Standing.SLOWED
        self._cut = now
        self._began_with = max(1, connections)
        self._refused_in_round = 1
        if signal is Signal.CONNECTIONS:
            self._cut_connections(now)
        else:
            self._cut_rate(now, gently=signal is Signal.GREYLISTED)
        self._begin_growing(now)
        if was is Standing.FREE or self.rate < self._told_rate / 2:
            self._told_rate = self.rate
            return [self._change("slowed")]
        return []

    def _cut_rate(self, now: float, *, gently: bool) -> None:
        self._forget(now)
        taken = sum(number for _, number in self._taken)
        span = now - self._taken[0][0] if self._taken else 0.0
        measured = taken / max(LEAST_WINDOW, span) if taken >= FOUND else 0.0
        found = min(measured, self.rate) if measured else (self.rate if self.rate < float("inf") else 0.0)
        self._refused_rate = found if measured or self._refused_rate else 0.0
        self.rate = max(LEAST, found * CUT) if found else FIRST
        if gently:  # it asks each new message to come back, and has no limit of its own
            self.rate = max(self.rate, FIRST)

    def _cut_connections(self, now: float) -> None:
        left = max(1, self._began_with - self._refused_in_round)
        self._refused_connections = min(self.connections, left + 1)
        self.connections = min(self.connections, left)
        self._more_connections = now + MORE_CONNECTIONS

    def _pause(self, now: float, age: float) -> list[Change]:
        if self.standing is Standing.PAUSED and now - age < self.until:
            return []  # what was under way
        if self.standing is Standing.FREE:
            self.since = now
        base = self.profile.pause if self.reason in BLOCKS else SHORT_PAUSE
        self.standing, self._paused = Standing.PAUSED, now
        self.until = now + min(LONGEST_PAUSE, base * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 10)
        self._rounds = 0
        return [self._change("paused")]

    def _begin_growing(self, now: float) -> None:
        self._stepped = self._filled = now
        self._more_connections = now + MORE_CONNECTIONS
        self._tokens, self._wanted = 1.0, False
        limit = self.profile.connections
        if limit is not None:
            self.connections = min(self.connections, limit)

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0][0] < now - WINDOW:
            self._taken.popleft()

    def _change(self, kind: str, lasted: float | None = None) -> Change:
        slowed = self.standing is Standing.SLOWED
        return Change(
            kind,
            self.profile.name,
            "" if kind == "resumed" else self.reason,
            "" if kind == "resumed" else self.reply,
            connections=self.connections if slowed and self.connections < MOST_CONNECTIONS else None,
            rate=self.rate if slowed and self.rate < float("inf") else None,
            until=self.until if self.standing is Standing.PAUSED else None,
            lasted=lasted,
        )

    # --- over a restart

    def restore(self, kept: SlowedReceiver, now: float, offset: float) -> None:
        """Be as before a restart; ``offset`` is what the clock shows more than the time since the epoch."""
        self.standing = Standing(kept.standing)
        self.since = kept.since + offset
        # a clock that was set back makes no pause longer
        self.until = min(kept.until + offset, now + LONGEST_PAUSE)
        self.connections = MOST_CONNECTIONS if kept.connections is None else kept.connections
        self.rate = float("inf") if kept.rate is None else kept.rate
        self._refused_rate, self._pauses = kept.refused_rate, kept.pauses
        self.reason, self.reply = kept.reason, kept.reply
        self.last_refusal = self._cut = now
        self._begin_growing(now)

    @property
    def memory(self) -> tuple[float, int]:
        """The rate that was refused last, and how many pauses there were: what ``restore`` takes besides."""
        return self._refused_rate, self._pauses

    # --- time

    def tick(self, now: float) -> list[Change]:
        """Give it more, if it is time for that; called about every second."""
        if self.standing is not Standing.SLOWED:
            return []
        while now - self._stepped >= STEP:
            self._stepped += STEP
            self._step()
        if now >= self._more_connections:
            self._more_connections = now + MORE_CONNECTIONS
            self.connections = min(MOST_CONNECTIONS, self.profile.connections or MOST_CONNECTIONS, self.connections + 1)
        free = self._refused_rate and self.rate > self._refused_rate * FREE
        if now - self.last_refusal >= FORGET or (free and self.connections >= self._refused_connections):
            lasted = now - self.since
            self._free()
            return [self._change("resumed", lasted=lasted)]
        return []

    def _free(self) -> None:
        """Treat it as any other from now on."""
        self.standing = Standing.FREE
        self.connections, self.rate, self._told_rate = MOST_CONNECTIONS, float("inf"), float("inf")
        self._refused_rate = 0.0
        self._refused_connections = self._rounds = self._pauses = 0

    def _step(self) -> None:
        wanted, self._wanted = self._wanted, False
        if not wanted or self.rate == float("inf"):
            return
        if not self._refused_rate:
            self.rate *= 2
        elif self.rate < self._refused_rate * NEAR:
            self.rate += self._refused_rate * FAST
        elif self.rate < self._refused_rate * (1 + 10 * SLOW):
            self.rate += self._refused_rate * SLOW
        else:  # what was refused then is taken now
            self.rate += self._refused_rate * FAST

    # --- what may go

    def room(self, most: int, now: float) -> int:
        """How many messages a run for it may have now; ``most`` is how many there are."""
        if self.standing is Standing.FREE:
            return most
        if self.standing is Standing.PAUSED:
            return int(now >= self.until and self.running == 0 and now - self._filled >= AGAIN)
        most = min(most, self.profile.messages or most)
        if self.running >= self.connections:
            self._wanted = True
            return 0
        if self.rate == float("inf"):
            return most
        self._tokens = min(max(1.0, self.rate * AHEAD), self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < most:
            self._wanted = True
        # not one by one, where they may share a connection
        least = min(most, max(1, int(self.rate)))
        return min(most, int(self._tokens)) if self._tokens >= least else 0

    def began(self, number: int, now: float) -> None:
        """A run has begun for it, with so many messages."""
        self.running += 1
        self._tokens -= number
        if self.standing is Standing.PAUSED:
            self._filled = now

    def ended(self) -> None:
        """A run for it has ended."""
        self.running = max(0, self.running - 1)


BLOCKS = frozenset({"blocked", "badreputation", "requireptr"})
"""The classes of replies of a receiver that takes nothing from us for now."""
