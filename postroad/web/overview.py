"""What the console's first page tells: the last day, the queue, the relay's state, the doctor's findings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from postroad.config.values import format_duration
from postroad.errors import PostroadError
from postroad.http import metrics
from postroad.runtime import looks
from postroad.runtime.paths import DOCTOR, QUEUE
from postroad.sendmail import queue
from postroad.store import database, queries
from postroad.times import stamp

HOUR = 3600
HOURS = 24
HEIGHT, WIDTH, GAP = 120, 20, 4
"""Of the chart, of a bar with the gap behind it, and of the gap, in its own units."""
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
        rate: ``fine``, ``warn`` or ``act``; empty where nothing came to an end.
        hours: the last day, the oldest first.
        bars: the same as a chart.
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
    hours: Sequence[Hour] = ()
    bars: Sequence[Bar] = ()
    providers: Sequence[Mapping[str, Any]] = ()
    classes: Sequence[Mapping[str, Any]] = ()

    @property
    def first_steps(self) -> bool:
        """Whether nothing has happened yet."""
        return self.total is not None and not any(self.total[kind] for kind in queries.COUNTED) and self.queued == 0


def read(store: Callable[[], Engine], now: float | None = None) -> Overview:
    """Read the facts; ``store`` returns the event store, or raises PostroadError."""
    now = time.time() if now is None else now
    state, reasons = metrics.health()
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
        facts |= _counts(store(), now)
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


def _counts(engine: Engine, now: float) -> dict[str, Any]:
    first = int(now // HOUR - HOURS + 1) * HOUR
    with database.told("read"):
        by_hour = {int(row["hour"]): row for row in queries.counts(engine, first, "hour")}
        providers = queries.counts(engine, first, "provider")
        classes = queries.counts(engine, first, "class")
    total = queries.total(by_hour.values())
    hours = [
        Hour(begin, {kind: by_hour.get(begin, {}).get(kind, 0) for kind in queries.COUNTED})
        for begin in range(first, first + HOURS * HOUR, HOUR)
    ]
    return {
        "total": total,
        "rate": _judged(total["bounce_rate"]),
        "hours": hours,
        "bars": bars(hours),
        "providers": [row for row in providers if row["provider"]],
        "classes": [row for row in classes if row["class"]],
    }


def _judged(rate: float | None) -> str:
    if rate is None:
        return ""
    return "fine" if rate < queries.WARN else "warn" if rate < queries.ACT else "act"


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
