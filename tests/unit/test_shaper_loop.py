"""The shaper step by step: what it starts, and what its counts say when something goes wrong."""

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from postroad import system
from postroad.errors import CommandError, InstallError
from postroad.runtime import handover, shaping
from postroad.runtime.shaping import ShapedRoute
from postroad.shaper.loop import Shaper
from postroad.shaper.places import Places
from tests.unit.test_shaper_waiting import write

RATE = ShapedRoute("route-rate", one_way=False, concurrency=1, rate=(2, 3600), since=0, daily=())
WARM_UP = ShapedRoute("route-warm", one_way=False, concurrency=1, rate=None, since=0, daily=(5,) * 100_000)


class World:
    """Routes, their messages, and sendmail's runs, which end when the test says so."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.queue = tmp_path, tmp_path / "queue"
        self.said: list[str] = []
        self.runs: list[tuple[int, list[str]]] = []
        self.broken = False
        self.tell: tuple[float, ...] = ()
        self.queue.mkdir()
        self.shared = False
        self.places = Places(
            self.queue, tmp_path, *(tmp_path / name for name in ("paces.json", "released", "socket", "parts"))
        )
        monkeypatch.setattr(system, "spawn", self.spawn)
        self.begin()

    def begin(self) -> None:
        """Be a new process."""
        self.shaper = Shaper(lambda _, text: self.said.append(text), self.places)

    def spawn(self, argv: Sequence[str], _: Mapping[str, str], **__: Any) -> int:
        if self.broken:
            raise CommandError("sendmail could not be started: no more processes")
        pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
        self.runs.append((pid, [word.removeprefix("-qI") for word in argv if word.startswith("-qI")]))
        return pid

    def routes(self, *routes: ShapedRoute) -> None:
        for each in routes:
            (self.queue / each.group).mkdir(exist_ok=True)
        settings = shaping.Settings(
            prefix="route-", retry=300.0, tell=self.tell, by_domain=True, shared=self.shared, routes=routes,
            sendmail="/sendmail", env={},
        )  # fmt: skip
        (self.root / shaping.FILE).write_text(handover.dumps(settings))
        self.shaper.load()

    def end(self) -> None:
        """Let the oldest run end: its messages were delivered."""
        pid, ids = self.runs.pop(0)
        for queue_id in ids:
            for path in self.queue.rglob(f"?f{queue_id}"):
                path.unlink()
        os.kill(pid, signal.SIGKILL)
        while pid in self.shaper.runs._runs:
            self.shaper.step(0.01)

    def kill(self) -> None:
        """End the runs that go on."""
        for pid, _ in self.runs:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def step(self) -> list[list[str]]:
        self.shaper._looked = 0.0
        self.shaper.step(0.01)
        return [ids for _, ids in self.runs]

    def sent(self, group: str) -> int:
        return int(json.loads((self.root / "paces.json").read_text())[group]["sent"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.kill()


def fill(world: World, name: str, *numbers: int, to: Sequence[str] = ("u@rcpt.example",)) -> list[str]:
    return [write(world.queue / f"route-{name}", number, *to).name[2:] for number in numbers]


@pytest.mark.parametrize("what", ["spawn", "released"])
def test_a_run_that_can_t_be_started_costs_neither_rate_nor_warm_up(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    world.routes(RATE, WARM_UP)
    fill(world, "rate", 1, 2)
    fill(world, "warm", 3, 4, 5, 6, 7)
    with monkeypatch.context() as broken:
        if what == "spawn":
            world.broken = True
        else:
            whole = system.write

            def full(path: Path, data: str | bytes, mode: int = 0o600) -> None:
                if path.name == "released":
                    raise InstallError("no space left")
                whole(path, data, mode)

            broken.setattr(system, "write", full)
        for _ in range(20):
            for waiting in world.shaper.routes.values():
                for entry in list(waiting.waiting.entries.values()):
                    entry.due = 0.0
                    waiting.waiting.put(entry)
            assert world.step() == []
    world.broken = False
    assert world.said
    assert world.sent("route-warm") == 0
    for route in world.shaper.routes.values():
        assert (route.pace.connections, route.pace._trying, len(route.pace._recent)) == (1, 0, 0)
        for entry in list(route.waiting.entries.values()):
            entry.due = 0.0
            route.waiting.put(entry)
    assert sorted(len(ids) for ids in world.step()) == [2, 5]


def test_a_route_that_comes_back_has_its_counts(world: World) -> None:
    world.routes(RATE, WARM_UP)
    fill(world, "rate", 1, 2)
    fill(world, "warm", *range(10, 15))
    assert sorted(len(ids) for ids in world.step()) == [2, 5]
    world.end()
    world.end()
    world.routes()
    fill(world, "rate", 3)
    world.routes(RATE, WARM_UP)
    fill(world, "rate", 4)
    fill(world, "warm", 15)
    assert world.step() == []
    assert world.sent("route-warm") == 5


def test_a_run_under_way_counts_when_its_route_goes_and_comes(world: World) -> None:
    world.routes(RATE)
    fill(world, "rate", 1)
    assert len(world.step()) == 1
    world.routes()
    world.routes(RATE)
    fill(world, "rate", 2)
    assert len(world.step()) == 1  # concurrency is 1
    world.end()
    assert len(world.step()) == 1
    world.end()
    fill(world, "rate", 3)
    assert world.step() == []


def test_two_messages_that_come_at_once_share_a_connection(world: World) -> None:
    world.routes(WARM_UP)
    assert world.step() == []
    both = fill(world, "warm", 1, 2)
    assert [sorted(ids) for ids in world.step()] == [both]
    assert (world.root / "released").read_text() == "".join(f"{each}\troute-warm\n" for each in world.runs[0][1])


def test_a_message_for_several_domains_goes_alone(world: World) -> None:
    world.routes(WARM_UP)
    fill(world, "warm", 1, to=("u@a.example", "u@b.example"))
    fill(world, "warm", 2, 3)
    alone = [f"6AOALKBA{1:06}"]
    for _ in range(2):
        (ids,) = world.step()
        assert ids == alone or len(ids) == 2
        world.end()
    assert world.step() == []
    assert world.sent("route-warm") == 4


@pytest.mark.parametrize("text", ["{", "[]", '{"route-rate": {"day": "x"}}', '{"route-rate": {"day": 99999999}}'])
def test_counts_that_can_t_be_read_count_as_used_up(world: World, text: str) -> None:
    (world.root / "paces.json").write_text(text)
    world.shaper.counts.recall()
    world.routes(RATE, WARM_UP)
    fill(world, "rate", 1)
    assert world.step() == []
    assert any("can't be read" in text for text in world.said)


def test_counts_outlive_the_process(world: World) -> None:
    world.routes(RATE)
    fill(world, "rate", 1, 2)
    world.step()
    world.begin()
    world.shaper.counts.recall()
    world.routes(RATE)
    fill(world, "rate", 3)
    assert len(world.step()) == 1  # the run of before; no new one
