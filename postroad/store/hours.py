"""Counts by hour for a page that asks again and again: an hour that is over is counted once."""

import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from postroad.store import queries, relays
from postroad.store.schema import EVENTS

HOUR = 3600
MOST = 50_000
"""Events since the last look that are looked at one by one, for late ones; after more, all is counted anew."""


class HourCounts:
    """Counts of events, as ``queries.counts_by`` has them, with those of hours that are over kept."""

    def __init__(self, groups: Sequence[str]) -> None:
        """Count by hour and by these of ``queries.GROUPS``; nothing is read yet."""
        self._groups = ("hour", *groups)
        self._lock = threading.Lock()
        self._kept: dict[int, list[Any]] = {}
        self._seen = 0

    def read(self, engine: Engine, first: int, now: float) -> dict[str, list[dict[str, Any]]]:
        """The counts since ``first``, the begin of an hour in seconds since the epoch, by each group.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store can't be read.
        """
        with self._lock, engine.connect() as connection:
            self._look_for_late(connection)
            current = int(now // HOUR) * HOUR
            self._kept = {begin: rows for begin, rows in self._kept.items() if begin >= first}
            unknown = next((begin for begin in range(first, current, HOUR) if begin not in self._kept), current)
            rows = queries.rows_by(connection, self._groups, EVENTS.c.time >= unknown)
            for begin in range(unknown, current, HOUR):
                self._kept[begin] = [row for row in rows if row[0] == begin]
            before = [row for begin, kept in self._kept.items() if begin < unknown for row in kept]
            names = relays.names(connection)
        return queries.grouped_by([*before, *rows], self._groups, names)

    def _look_for_late(self, connection: Connection) -> None:
        """Forget hours of which events came since the last look: those of a relay that was cut off, or of a backlog."""
        newest = connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0
        if not self._seen <= newest <= self._seen + MOST:
            self._kept.clear()
        elif self._kept:
            late = connection.execute(select(func.min(EVENTS.c.time)).where(EVENTS.c.id > self._seen)).scalar()
            if late is not None:
                self._kept = {begin: rows for begin, rows in self._kept.items() if begin + HOUR <= late}
        self._seen = newest
