"""Leases: who has one, who takes it over, and when. The clock is the test's."""

import time

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from postroad.store import leases
from postroad.store.leases import LASTS, RENEWED, Lease

POST = 35.0


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def lease(engine: Engine, holder: int, name: str = "webhook app") -> Lease:
    made = Lease(engine, name, holder)
    made._alone = False  # SQLite knows no others, but the same statements
    return made


def test_one_has_it_and_another_task_is_another_s(engine: Engine, clock: Clock) -> None:
    first, second = lease(engine, 2), lease(engine, 3)
    assert first.held(POST)
    assert not second.held(0)
    assert lease(engine, 3, "webhook other").held(POST)
    for _ in range(20):
        clock.now += RENEWED
        assert first.held(POST)
        assert not second.held(0)


def test_a_dead_holder_s_is_taken_over_when_it_was_seen_unrenewed_for_long(engine: Engine, clock: Clock) -> None:
    first, second, third = (lease(engine, holder) for holder in (2, 3, 4))
    assert first.held(POST)
    clock.now += 1000  # however long that was before the look
    assert not second.held(0)
    clock.now += LASTS - 1
    assert not second.held(0)
    assert not third.held(0)
    clock.now += 1
    assert second.held(POST)
    assert not third.held(0)
    assert not first.held(0)


def test_a_holder_that_could_not_renew_knows_when_it_is_over(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lease(engine, 2), lease(engine, 3)
    assert first.held(POST)
    assert not second.held(0)
    taken = Lease._taken

    def away(*_: object) -> bool:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    monkeypatch.setattr(Lease, "_taken", away)
    for _ in range(10):
        clock.now += LASTS / 5
        for each in (first, second):
            with pytest.raises(OperationalError):
                each.held(POST)
    monkeypatch.setattr(Lease, "_taken", taken)
    assert not second.held(0)  # the first gets its time again
    assert first.held(POST)
    clock.now += LASTS
    assert not second.held(0)


def test_a_server_that_was_frozen_for_long_makes_nobody_a_holder(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lease(engine, 2), lease(engine, 3)
    assert first.held(POST)
    assert not second.held(0)
    taken = Lease._taken

    def slow(self: Lease, now: float) -> bool:
        clock.now += 2 * LASTS
        return taken(self, now)

    monkeypatch.setattr(Lease, "_taken", slow)
    assert not second.held(0)
    monkeypatch.setattr(Lease, "_taken", taken)
    assert not second.held(0)
    assert first.held(POST)


def test_what_is_released_is_another_s_at_once(engine: Engine, clock: Clock) -> None:
    first, second = lease(engine, 2), lease(engine, 3)
    assert first.held(POST)
    second.release()  # not its own
    assert not second.held(0)
    first.release()
    assert second.held(POST)
    assert not first.held(0)


def test_the_same_relay_begins_anew_with_its_lease(engine: Engine, clock: Clock) -> None:
    assert lease(engine, 2).held(POST)
    clock.now += 1
    assert lease(engine, 2).held(POST)


def test_two_that_begin_at_once(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = lease(engine, 2), lease(engine, 3)
    made = Lease._made

    def late(self: Lease) -> bool:
        monkeypatch.setattr(Lease, "_made", made)
        assert first.held(POST)
        return made(self)

    monkeypatch.setattr(Lease, "_made", late)
    assert not second.held(0)
    assert first.held(POST)


def test_sqlite_s_only_relay_has_every_lease(engine: Engine) -> None:
    only = Lease(engine, "webhook app", 1)
    assert only.held(leases.LASTS * 100)
    only.release()
    assert only.held(0)
