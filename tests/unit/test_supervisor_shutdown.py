"""Who is asked to end, and when, while deliveries under way finish."""

import signal
import time

import pytest

from postroad.supervisor import processes
from postroad.supervisor.shutdown import IDLE, Shutdown

WAITING = "sendmail: server x [192.0.2.1] cmd read"
BUSY = "sendmail: ./6AOALKBA000001 mx.rcpt.example: DATA"
TERM, KILL = signal.SIGTERM, signal.SIGKILL


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.running = 0.0, {1: BUSY, 2: WAITING, 3: "signer"}
        self.kills: list[tuple[float, int, signal.Signals]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(processes, "children", lambda: dict(self.running))
        monkeypatch.setattr(processes, "kill", lambda pid, number: self.kills.append((self.now, pid, number)))
        self.end = Shutdown(8.0, frozenset({3}), began=0.0)

    def step(self, now: float) -> bool:
        self.now = now
        return self.end.done()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_who_waits_for_a_client_is_asked_once_and_who_delivers_is_left(stage: Stage) -> None:
    assert not any(stage.step(now) for now in (0.0, IDLE, IDLE + 0.1, 3.0, 5.9))
    assert stage.kills == [(IDLE + 0.1, 2, TERM)]


def test_who_waits_and_works_in_turns_is_at_work(stage: Stage) -> None:
    for step in range(8):
        stage.running[2] = (WAITING, BUSY)[step % 2]
        assert not stage.step(step * IDLE * 0.7)
    assert stage.kills == []


def test_asked_in_the_last_quarter_then_killed_and_the_spared_are_neither(stage: Stage) -> None:
    stage.running = {1: BUSY, 3: "signer"}
    assert [stage.step(now) for now in (0.0, 6.0, 6.1, 7.0, 8.0)] == [False] * 5
    assert stage.kills == [(6.1, 1, TERM)]
    assert stage.step(8.1)
    assert stage.kills[1:] == [(8.1, 1, KILL)]
    assert stage.end.left == [1]


def test_done_when_none_is_left_but_the_spared(stage: Stage) -> None:
    stage.running = {3: "signer"}
    assert stage.step(0.1)
    assert (stage.end.left, stage.kills) == ([], [])
