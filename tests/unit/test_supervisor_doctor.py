"""When the doctor looks: not before the server is ready, never twice at once, and as often as the plan says."""

import os
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from postroad import system
from postroad.supervisor import doctor
from tests.unit.supervision import World, plan, process

SENDMAIL = process("sendmail")
PYTHON = sys.executable.removeprefix("/")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 1e9 + made.now)
    return made


def begin(world: World, every: float) -> None:
    world.supervisor.plan = replace(plan(SENDMAIL), look_every=every)
    world.supervisor._start_all(world.supervisor.plan)


def until_it_looks(world: World, limit: float) -> float:
    """Seconds until it looks; infinity where it does not within ``limit``."""
    began = world.now
    while PYTHON not in world.running.values():
        if world.now > began + limit:
            return float("inf")
        world.turn()
    return world.now - began


def test_it_looks_a_minute_after_the_start_and_then_every_hour(world: World) -> None:
    begin(world, 3600)
    assert until_it_looks(world, 600) == doctor.FIRST
    world.end(PYTHON, 0)
    assert 3590 < until_it_looks(world, 4000) <= 3600
    assert not world.log.said("warning")


def test_never(world: World) -> None:
    begin(world, 0)
    assert until_it_looks(world, 10**4) == float("inf")


@pytest.mark.parametrize(("ago", "expected"), [(10, 3590), (3000, 600), (3599, 60), (10**6, 60), (-(10**6), 3600)])
def test_a_restart_goes_on_where_the_last_look_was(world: World, ago: float, expected: float) -> None:
    record = world.run / "doctor.json"
    record.write_text("{}")
    os.utime(record, (time.time() - ago, time.time() - ago))
    begin(world, 3600)
    assert until_it_looks(world, 4000) == pytest.approx(expected, abs=1)


def test_not_while_the_server_is_not_ready(world: World) -> None:
    begin(world, 3600)
    (world.run / "pids.max").write_text("20\n")
    (world.run / "pids.current").write_text("20\n")
    world.turn(2)
    assert world.state == "degraded"
    began, before = world.now, world.waits
    while world.now < began + 600:
        world.turn()
    assert PYTHON not in world.running.values()
    assert world.waits < before + 700, "it waits, and does not spin"
    (world.run / "pids.current").write_text("5\n")
    world.turn(2)
    assert until_it_looks(world, 100) <= doctor.FIRST


def test_never_two_at_once_and_one_that_was_killed_is_told(world: World) -> None:
    begin(world, 100)
    until_it_looks(world, 600)
    world.now += 1000
    world.turn(20)
    assert list(world.running.values()).count(PYTHON) == 1
    world.end(PYTHON, signal.SIGKILL)
    world.settle()
    assert world.log.said("warning") == ["the doctor's run was ended by SIGKILL, without a finding"]
    assert until_it_looks(world, 600) <= 100


def test_one_that_can_not_be_started_is_told_and_due_again(world: World) -> None:
    begin(world, 100)
    world.refused.add(PYTHON)
    assert until_it_looks(world, 150) == float("inf")
    assert "could not be started" in world.log.said()[0]
    world.refused.clear()
    assert until_it_looks(world, 200) <= 100


def test_a_reload_may_change_it(world: World) -> None:
    begin(world, 3600)
    world.supervisor._take(replace(plan(SENDMAIL), look_every=0.0))
    assert until_it_looks(world, 10**4) == float("inf")
    world.supervisor._take(replace(plan(SENDMAIL), look_every=20.0))
    assert until_it_looks(world, 100) == 20


def test_what_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def spawn(argv: list[str], env: dict[str, str], *, output: int) -> int:
        seen.append(argv[1:])
        return 7

    monkeypatch.setattr(system, "spawn", spawn)
    made = doctor.DoctorProcess(tmp_path / "none")
    made.start("start", lambda: nullcontext(3))
    made.follow(50)
    made.start("regular", lambda: nullcontext(3))  # one is under way
    made.pid = 0
    made.start("regular", lambda: nullcontext(3))
    assert seen == [["-m", "postroad.checks", "start"], ["-m", "postroad.checks", "regular"]]
