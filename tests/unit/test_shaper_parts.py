"""A shaper that shares its limits: what it reports, what it does with its part, and what it says when it has none."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from postroad.recorder.parts import PartsAgreement
from postroad.runtime import sharing
from postroad.runtime.shaping import ShapedRoute
from postroad.runtime.sharing import LASTS, Part, Parts, Report
from postroad.shaper.parts import GRACE
from postroad.store import budgets
from postroad.store.budgets import Budgets
from postroad.store.schema import PARTS
from tests.unit.test_shaper_loop import RATE, WARM_UP, World, fill

THREE = ShapedRoute("route-three", one_way=True, concurrency=3, rate=None, since=0, daily=())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.kill()
    close(made)


@pytest.fixture
def shared(world: World) -> World:
    world.shared = True
    world.shaper.parts.listen()
    return world


def close(world: World) -> None:
    """Close the listening sockets: a real shaper's are closed by its end."""
    for key in list(world.shaper._selector.get_map().values()):
        if isinstance(key.fileobj, socket.socket):
            key.fileobj.close()


Found = TypeVar("Found")


def stepped(world: World, act: Callable[[], Found]) -> Found:
    """Do something that the shaper has to answer."""
    found: list[Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(act())
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 20
    while thread.is_alive():
        assert time.monotonic() < until
        world.step()
    if failed:
        raise failed[0]
    return found[0]


def tell(world: World, *parts: Part) -> Report:
    return stepped(world, lambda: sharing.tell(world.places.parts, Parts(sharing.now(), parts)))


def ask(world: World) -> Report:
    return stepped(world, lambda: sharing.tell(world.places.parts, Parts(sharing.now(), None)))


def test_nothing_leaves_without_a_part_and_no_more_than_it(shared: World) -> None:
    shared.routes(THREE)
    fill(shared, "three", *range(1, 40))
    assert shared.step() == []
    report = tell(shared, Part("route-three connections", 2, 1))
    (use,) = report.uses
    assert (use.name, use.total, use.part, use.keeps) == ("route-three connections", 3, 2, 1)
    assert len(shared.step()) == 2
    (use,) = ask(shared).uses
    assert (use.part, use.used, use.wants, use.needs) == (2, 2, 3, 1)
    tell(shared, Part("route-three connections", 3, 1))
    assert len(shared.step()) == 3


def test_what_each_limit_has_used_is_reported_also_by_the_next_process(shared: World) -> None:
    shared.routes(RATE, WARM_UP)
    fill(shared, "rate", 1, 2)
    fill(shared, "warm", 3)
    day = int(time.time() // 86400)
    names = {
        "route-rate connections": 1, "route-rate rate 3600": 2, "route-warm connections": 1, f"route-warm day {day}": 5,
    }  # fmt: skip
    assert {use.name: use.total for use in ask(shared).uses} == names
    tell(shared, *(Part(name, total, 0) for name, total in names.items()))
    assert len(shared.step()) == 2
    shared.end()
    shared.end()
    used = {use.name: use.used for use in ask(shared).uses}
    assert used == {
        "route-rate connections": 0,
        "route-rate rate 3600": 2,
        "route-warm connections": 0,
        f"route-warm day {day}": 1,
    }
    close(shared)
    shared.begin()
    shared.shaper.counts.recall()
    shared.routes(RATE, WARM_UP)
    shared.shaper.parts.listen()
    after = ask(shared)
    assert {use.name: use.used for use in after.uses} == used
    assert {use.part for use in after.uses} == {0}


def test_a_relay_that_shares_with_nobody_asks_nobody(world: World) -> None:
    world.routes(THREE)
    world.shaper.parts.listen()
    fill(world, "three", *range(1, 40))
    now = sharing.now() + GRACE
    world.shaper.parts._clock = lambda: now
    assert len(world.step()) == 3
    assert ask(world).uses == ()
    assert world.said == []


def test_a_limit_that_a_reload_lowers_holds_at_once(shared: World) -> None:
    shared.routes(THREE)
    tell(shared, Part("route-three connections", 3, 3))
    shared.routes(replace(THREE, concurrency=2))
    fill(shared, "three", *range(1, 40))
    assert len(shared.step()) == 2


def test_parts_that_are_not_renewed_shrink_and_the_log_says_so_once_a_minute(shared: World) -> None:
    shared.routes(THREE)
    fill(shared, "three", *range(1, 40))
    now = sharing.now()
    shared.shaper.parts._clock = lambda: now
    shared.shaper.parts.heed(Parts(now, (Part("route-three connections", 3, 1),)))
    now += LASTS - 1
    assert not shared.shaper.parts.cut_off
    now += 1
    assert len(shared.step()) == 1
    assert shared.said[-1] == (
        "the limits of routes can't be agreed on with the relays that share the database (events.store): this relay keeps"
        " to its part, for up to 60 minutes: 1 of route-three connections"
    )


def test_a_relay_that_was_never_told_a_part_says_so_after_a_while(shared: World) -> None:
    shared.routes(THREE)
    now = sharing.now()
    shared.shaper.parts._clock = lambda: now
    shared.step()
    assert shared.said == []
    now += GRACE
    shared.step()
    assert shared.said[-1].endswith("mail of these routes waits until the database and the recorder are back")


def test_a_flush_does_not_wait_for_the_database(shared: World) -> None:
    shared.routes(THREE)
    shared.shaper.requests.listen()
    fill(shared, "three", 1)
    now = sharing.now() + GRACE
    shared.shaper.parts._clock = lambda: now

    def flush() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as command:
            command.settimeout(10)
            command.connect(str(shared.places.socket))
            command.send(b'{"ids": null}')
            command.shutdown(socket.SHUT_WR)
            return command.recv(1)

    assert stepped(shared, flush) == b""


def test_a_route_that_is_no_more_has_no_part_when_it_comes_back(shared: World) -> None:
    shared.routes(THREE)
    tell(shared, Part("route-three connections", 3, 3))
    shared.routes(RATE)
    shared.routes(THREE)
    (use,) = ask(shared).uses
    assert (use.part, use.keeps) == (0, 0)


def test_what_is_no_report_changes_nothing(shared: World) -> None:
    shared.routes(THREE)
    tell(shared, Part("route-three connections", 3, 3))

    def disturb() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.settimeout(10)
            other.connect(str(shared.places.parts))
            other.send(b"{}")
            return other.recv(100)

    assert stepped(shared, disturb) == b""
    assert ask(shared).uses[0].part == 3


def agreement(world: World, engine: Engine, told: list[str]) -> PartsAgreement:
    return PartsAgreement(engine, 2, lambda level, text: told.append(f"{level} {text}"), world.places.parts)


def claimed(engine: Engine) -> list[tuple[int, int, int]]:
    with engine.connect() as connection:
        return [(row.holder, row.amount, row.keeps) for row in connection.execute(select(PARTS))]


def test_the_recorder_agrees_and_lets_go(shared: World, engine: Engine) -> None:
    shared.routes(THREE)
    fill(shared, "three", *range(1, 40))
    told: list[str] = []
    ours = agreement(shared, engine, told)
    stepped(shared, ours.agree)
    assert len(shared.step()) == 3
    stepped(shared, ours.leave)
    assert claimed(engine) == [(2, 3, 0)]
    assert {use.part for use in ask(shared).uses} == {0}
    stepped(shared, ours.agree)
    assert claimed(engine) == [(2, 3, 3)]
    shared.places.parts.unlink()  # the shaper has ended
    ours.leave()
    assert claimed(engine) == [(2, 3, 0)]
    assert told == []


def test_the_recorder_s_thread_begins_goes_on_after_faults_and_lets_go_at_its_end(
    shared: World, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.routes(THREE)
    faults: list[Exception] = [OperationalError("SELECT", {}, Exception("gone")), TypeError("a bug")]
    agree = Budgets.agree

    def faulty(self: Budgets, report: Report) -> tuple[Part, ...]:
        if faults:
            raise faults.pop(0)
        return agree(self, report)

    monkeypatch.setattr(Budgets, "agree", faulty)
    monkeypatch.setattr("postroad.recorder.parts.EVERY", 0.01)
    ours = agreement(shared, engine, [])
    ours.start()
    until = time.monotonic() + 20
    while not claimed(engine):
        shared.step()
        assert time.monotonic() < until
    stepped(shared, lambda: ours.stop(10))
    assert not ours._thread.is_alive()
    assert [keeps for _, _, keeps in claimed(engine)] == [0]
    assert "TypeError: a bug" in capsys.readouterr().err


def test_relays_that_are_silent_are_told_of_once(
    shared: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.routes(THREE)
    told: list[str] = []
    ours = agreement(shared, engine, told)
    stepped(shared, ours.agree)
    report = Report(tuple(ask(shared).uses))
    Budgets(engine, 3).agree(report)
    stepped(shared, ours.agree)
    monkeypatch.setattr(budgets, "LASTS", -budgets.MARGIN)
    stepped(shared, ours.agree)
    stepped(shared, ours.agree)
    (line,) = told
    assert line.startswith("warning relays that share the limits of routes were not heard of for over 60 s")
    assert "after 60 minutes, and of one that is gone for good once `postroad relays forget NAME` says so" in line
    assert line.endswith(": 3: 3 of route-three connections")
