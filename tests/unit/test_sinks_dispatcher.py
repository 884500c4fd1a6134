import io
import sys
from collections.abc import Sequence

import pytest

from postroad.events import model
from postroad.events.model import Event
from postroad.sinks import Dispatcher
from postroad.sinks.told import Told

EVENT = model.Notice(time=0, message="x")


class Keeps:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, told: Sequence[Told]) -> None:
        self.events += [each.event for each in told]


class Fails:
    def handle(self, told: Sequence[Told]) -> None:
        raise OSError("no space left")


def test_every_sink_gets_every_event_in_order() -> None:
    first, second = Keeps(), Keeps()
    dispatcher = Dispatcher([first, second])
    events = [EVENT, model.Notice(time=1, message="y")]
    for event in events:
        dispatcher.handle([event])
    assert first.events == second.events == events
    assert not dispatcher.failures


def test_a_sink_that_fails_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = Keeps(), Keeps()
    dispatcher = Dispatcher([before, Fails(), after])
    for _ in range(3):
        dispatcher.handle([EVENT])
    assert len(before.events) == len(after.events) == 3
    assert dispatcher.failures == {"Fails": 3}
    told = capsys.readouterr().err
    assert told.count("Fails failed on an event (notice)") == 1
    assert "no space left" in told


def test_telling_of_it_may_fail_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    closed = io.StringIO()
    closed.close()
    keeps = Keeps()
    for stream in (Full(), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        Dispatcher([Fails(), keeps]).handle([EVENT])
    assert len(keeps.events) == 2
