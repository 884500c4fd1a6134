"""What the console's first page tells: the last day, the queue, the relay's state, the doctor's findings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select

from postroad.config.values import format_duration
from postroad.errors import PostroadError
from postroad.runtime import health, looks
from postroad.runtime.paths import DOCTOR, QUEUE
from postroad.sendmail import queue
from postroad.store import counters, database, queries
from postroad.store.hours import HOUR, HourCounts
from postroad.store.schema import COUNTERS
from postroad.times import stamp

HOURS = 24
HEIGHT, WIDTH, GAP = 120, 20, 4
"""Of the chart, of a bar with the gap behind it, and of the gap, in its own units."""
WITHIN = (10, 60, 300, 3600)
"""Seconds within which mail should be delivered; each is a bound of the metrics."""
STACK = ("delivered", "deferred", "bounced")
"""What a bar is made of, from the bottom."""


@dataclass(frozen=True)
class Bar:
    """A rectangle of the chart."""

    kind: str
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Hour:
    """The counts of an hour: ``begin`` in seconds since the epoch."""

    begin: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Overview:
    """The page's facts.

    Attributes:
        at: when they were read, as text.
        state: the supervisor's; ``reasons`` why it is not ready.
        queued: messages in the queue; None: it can't be read. ``oldest``: the age of the oldest, as text.
        findings: what the doctor's last look found wrong; None: there was none.
        total: what ``queries.total`` tells of the last day; None: the store can't be read, for ``trouble``.
        rate: ``fine``, ``warn`` or ``act``, of bounces; empty where nothing came to an end.
        spam: likewise, of complaints; empty where nothing was delivered.
        hours: the last day, the oldest first.
        bars: the same as a chart.
        delays: how soon recipients had their mail, of all that the counters know: within how long, as text, and the
            share of them.
        relays: the same counts by relay, where several share a database.
    """

    at: str
    state: str
    reasons: Sequence[str]
    queued: int | None
    oldest: str
    findings: Sequence[tuple[str, str]] | None
    trouble: str = ""
    total: Mapping[str, Any] | None = None
    rate: str = ""
    spam: str = ""
    hours: Sequence[Hour] = ()
    bars: Sequence[Bar] = ()
    providers: Sequence[Mapping[str, Any]] = ()
    classes: Sequence[Mapping[str, Any]] = ()
    relays: Sequence[Mapping[str, Any]] = ()
    delays: Sequence[tuple[str, float]] = ()

    @property
    def first_steps(self) -> bool:
        """Whether nothing has happened yet."""
        return self.total is not None and not any(self.total[kind] for kind in queries.COUNTED) and self.queued == 0


def counts() -> HourCounts:
    """What ``read`` counts by; kept between two calls, it makes the second one quick."""
    return HourCounts(("provider", "class", "relay"))


def read(store: Callable[[], Engine], hours: HourCounts, now: float | None = None) -> Overview:
    """Read the facts; ``store`` returns the event store, or raises PostroadError."""
    now = time.time() if now is None else now
    state, reasons = health.read()
    queued, oldest = _queue(now)
    facts: dict[str, Any] = {
        "at": stamp(now),
        "state": state,
        "reasons": reasons,
        "queued": queued,
        "oldest": oldest,
        "findings": _findings(),
    }
    try:
        facts |= _counts(store(), hours, now)
    except PostroadError as error:
        facts["trouble"] = str(error)
    return Overview(**facts)


def _queue(now: float) -> tuple[int | None, str]:
    try:
        number, oldest = queue.depth(QUEUE)
    except OSError:
        return None, ""
    return number, _age(now - oldest) if oldest else ""


def _age(seconds: float) -> str:
    return format_duration(timedelta(seconds=max(1, round(seconds))))


def _findings() -> list[tuple[str, str]] | None:
    look = looks.read(DOCTOR)
    if not look.at:
        return None
    return [(name, text) for name, standing in look.checks.items() for text in standing.errors]


def _counts(engine: Engine, counts: HourCounts, now: float) -> dict[str, Any]:
    first = int(now // HOUR - HOURS + 1) * HOUR
    with database.told("read"):
        with engine.connect() as connection:
            rows = connection.execute(select(COUNTERS.c.labels, COUNTERS.c.value).where(COUNTERS.c.name == "delay"))
            delays = _delays({row.labels: row.value for row in rows})
        found = counts.read(engine, first, now)
    by_hour = {int(row["hour"]): row for row in found["hour"]}
    providers, classes = found["provider"], found["class"]
    total = queries.total(by_hour.values())
    hours = [
        Hour(begin, {kind: by_hour.get(begin, {}).get(kind, 0) for kind in queries.COUNTED})
        for begin in range(first, first + HOURS * HOUR, HOUR)
    ]
    return {
        "total": total,
        "rate": _judged(total["bounce_rate"], queries.WARN, queries.ACT),
        "spam": _judged(total["complaint_rate"], queries.SPAM_WARN, queries.SPAM_ACT),
        "hours": hours,
        "bars": bars(hours),
        "providers": [row for row in providers if row["provider"]],
        "classes": [row for row in classes if row["class"]],
        "relays": [row for row in found["relay"] if row["relay"]],
        "delays": delays,
    }


def _delays(counted: Mapping[str, int]) -> list[tuple[str, float]]:
    """The share of deliveries within each of ``WITHIN``; ``counted`` are their numbers by the metrics' bounds."""
    total = sum(counted.values())
    if not total:
        return []
    below = [(bound, counted.get(str(bound), 0)) for bound in counters.BUCKETS]
    return [
        (format_duration(timedelta(seconds=within)), sum(number for bound, number in below if bound <= within) / total)
        for within in WITHIN
    ]


def _judged(rate: float | None, warn: float, act: float) -> str:
    if rate is None:
        return ""
    return "fine" if rate < warn else "warn" if rate < act else "act"


def bars(hours: Sequence[Hour]) -> list[Bar]:
    """The chart: a bar an hour, the highest as high as the chart."""
    highest = max((sum(hour.counts[kind] for kind in STACK) for hour in hours), default=0)
    found = []
    for i, hour in enumerate(hours):
        top = float(HEIGHT)
        for kind in STACK:
            height = round(HEIGHT * hour.counts[kind] / highest, 2) if highest else 0.0
            if height:
                top = round(top - height, 2)
                found.append(Bar(kind, i * WIDTH, top, height))
    return found
