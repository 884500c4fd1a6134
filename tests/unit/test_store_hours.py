"""Counts by hour that are kept are those that the store has."""

import time
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from postroad.store import hours, queries
from postroad.store.hours import HOUR, HourCounts
from postroad.store.schema import EVENTS
from tests.unit.api import put

GROUPS = ("hour", "provider", "class", "relay")
NOW = time.time() // HOUR * HOUR + HOUR / 2
FIRST = int(NOW // HOUR - 23) * HOUR


def counted(counts: HourCounts, engine: Engine, now: float = NOW, first: int = FIRST) -> dict[str, Any]:
    found = counts.read(engine, first, now)
    assert found == queries.counts_by(engine, first, GROUPS)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From when on the events were counted, each time, in hours before ``NOW``."""
    found: list[int] = []
    real = queries.rows_by

    def rows_by(connection: Any, groups: Any, when: Any) -> Any:
        found.append(int((NOW - when.right.value) // HOUR))
        return real(connection, groups, when)

    monkeypatch.setattr(queries, "rows_by", rows_by)
    return found


def at(engine: Engine, moment: float, *kinds: str, **fields: Any) -> None:
    put(engine, f"q{moment}", *kinds, ago=time.time() - moment, **fields)


def test_an_hour_that_is_over_is_counted_once(engine: Engine, asked: list[int]) -> None:
    for age in (0, 1, 2, 5, 23):
        at(engine, NOW - age * HOUR, "accepted", "delivered", relay_host="gmail-smtp-in.l.google.com")
    counts = HourCounts(GROUPS[1:])
    for _ in range(3):
        assert len(counted(counts, engine)["hour"]) == 5
        at(engine, NOW, "accepted", "bounced")
    later = NOW + 2 * HOUR
    at(engine, later, "accepted")
    counted(counts, engine, later, FIRST + 2 * HOUR)
    whole, *again = asked[::2]
    assert whole == 23
    assert again == [0, 0, 0]


def test_events_that_come_late_are_counted(engine: Engine) -> None:
    counts = HourCounts(GROUPS[1:])
    at(engine, NOW - 5 * HOUR, "accepted")
    counted(counts, engine)
    at(engine, NOW - 5 * HOUR + 10, "accepted", "bounced")
    at(engine, NOW, "accepted")
    assert sum(row["accepted"] for row in counted(counts, engine)["hour"]) == 3


def test_many_events_since_the_last_look_and_another_store_are_counted_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hours, "MOST", 3)
    counts = HourCounts(GROUPS[1:])
    at(engine, NOW - HOUR, "accepted")
    counted(counts, engine)
    for _ in range(5):
        at(engine, NOW - HOUR, "accepted", "delivered")
    counted(counts, engine)
    with engine.begin() as connection:
        connection.execute(delete(EVENTS))
    assert counted(counts, engine)["hour"] == []
