"""The recorder step by step: what it carries, what it says, when it rests, and what a fault costs."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from postroad import system
from postroad.events import own
from postroad.events.model import BounceRate
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.feedback import brake, suppression
from postroad.journal.reader import Position
from postroad.recorder import feed, loop, patience, port, rest, writer
from postroad.recorder.feed import Feed
from postroad.recorder.loop import Recorder
from postroad.recorder.parts import PartsAgreement
from postroad.recorder.patience import Patience
from postroad.runtime.recording import BrakeRules
from postroad.store import database
from postroad.store.schema import EVENTS
from tests.unit.handed import HOOK, SUPPRESSION, recorded


class BecameError(BaseException):
    """In place of another program."""


class World:
    """A journal, a feed that says what the test wants, and a clock."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
        self.folder, self.engine = tmp_path / "events", engine
        self.said: list[str] = []
        self.waits: list[float] = []
        self.slept: list[float] = []
        self.maps: list[dict[bytes, bytes]] = []
        self.now = time.monotonic()
        self.happens = True
        self.folder.mkdir()
        for module, name, value in (
            (loop, "EVENTS", self.folder),
            (rest, "EVENTS", self.folder),
            (loop, "tell", self.tell),
            (port, "tell", self.tell),
            (database, "opened", lambda _: engine),
            (database, "JOURNAL_ID", tmp_path / "journal-id"),
            (suppression, "SUPPRESSED", tmp_path / "suppressed"),
            (brake, "BRAKED", tmp_path / "braked"),
            (system, "write_database", lambda _, records: self.maps.append(records)),
            (time, "sleep", self.slept.append),
            (time, "monotonic", lambda: self.now),
            (Feed, "wait", self.wait),
            (rest, "become", self.become),
        ):
            monkeypatch.setattr(module, name, value)
        monkeypatch.delenv(rest.LISTENER, raising=False)
        self.begin()

    def begin(self, **changes: Any) -> None:
        given = {"suppression": replace(SUPPRESSION, keep=3600.0)} | changes
        self.recorder = Recorder(recorded(**given))

    def tell(self, _: str, text: str, **__: Any) -> bool:
        self.said.append(text)
        return True

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.happens

    def become(self, module: str, *words: str, listener: socket.socket | None = None) -> None:
        raise BecameError(module, *words, listener)

    def write(self, *kinds: str, number: int = 1, **fields: Any) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        about = {"time": stamp, "queue_id": "q", "sender": "app@sender.example", "recipient": "u@rcpt.example"} | fields
        path = self.folder / f"journal-{number:015}.jsonl"
        with path.open("a") as file:
            file.writelines(json.dumps({"event": kind, **about}) + "\n" for kind in kinds)

    def stored(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(EVENTS)).scalar_one())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> World:
    return World(tmp_path, monkeypatch, engine)


def test_what_the_journal_has_is_stored_once_and_its_old_segments_go(world: World) -> None:
    world.write("accepted", "delivered", "journal_end", number=1)
    world.write("accepted", number=2)
    for _ in range(3):
        world.recorder.step()
    assert world.stored() == 3
    assert [path.name for path in sorted(world.folder.glob("journal-*.jsonl"))] == ["journal-000000000000002.jsonl"]
    world.write("delivered", number=2)
    world.begin()
    world.recorder.step()
    assert world.stored() == 4


def test_a_new_database_is_made_and_then_it_begins_anew_without_alembic(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = database.connect(tmp_path / "fresh.db")
    monkeypatch.setattr(database, "opened", lambda _: fresh)
    world.begin()
    with pytest.raises(BecameError, match=r"postroad\.recorder"):
        world.recorder.step()
    assert database.is_current(fresh)
    fresh.dispose()


def test_a_suppressed_address_is_in_the_map_in_the_same_step(world: World) -> None:
    world.recorder.step()
    assert world.maps == [{}]
    world.write("bounced", dsn="5.1.1", reply="550 5.1.1 User unknown")
    world.recorder.step()
    assert world.maps == [{}, {b"u@rcpt.example": b"userunknown"}]
    world.recorder.step()
    assert len(world.maps) == 2


def test_an_address_whose_time_is_over_leaves_the_map(world: World) -> None:
    world.begin(suppression=replace(SUPPRESSION, keep=-1.0))
    world.recorder.step()
    world.write("bounced", dsn="5.1.1", reply="550 5.1.1 User unknown")
    world.recorder.step()
    world.now += loop.TIDY + 1
    world.recorder.step()
    assert world.maps[-1] == {}
    assert len(world.maps) == 3


def test_old_events_are_forgotten_now_and_then(world: World) -> None:
    world.write("accepted", time="2020-01-01T00:00:00Z")
    world.recorder.step()
    assert world.stored() == 0
    world.write("accepted", time="2020-01-01T00:00:00Z")
    world.recorder.step()
    assert world.stored() == 1, "not at each step"
    world.now += loop.TIDY + 1
    world.recorder.step()
    assert world.stored() == 0


def test_a_line_that_can_t_be_read_is_told_of_and_the_rest_goes_on(world: World) -> None:
    world.write("accepted")
    (path,) = world.folder.glob("journal-*.jsonl")
    path.write_bytes(path.read_bytes() + b"torn\n")
    world.write("delivered")
    world.recorder.step()
    assert world.stored() == 3  # one is the gap
    assert [text for text in world.said if "1 line of the journal can't be read" in text]


def test_a_domain_that_bounces_too_much_is_told_of_in_a_line_that_is_an_event(world: World) -> None:
    world.begin(bounces=BrakeRules(brake=0.5, warn=0.1, window=3600.0, minimum=2))
    world.write("bounced", "bounced", "bounced", dsn="5.1.1", reply="550 5.1.1 User unknown")
    world.recorder.step()
    event = own.read(parse_datagram(format_datagram("warning", world.said[-1]), 0.0))
    assert isinstance(event, BounceRate)
    assert (event.state, event.sender_domain, event.window) == ("braked", "sender.example", 3600)


@pytest.mark.parametrize("error", [OperationalError("", None, Exception("disk is full")), OSError("no room")])
def test_a_store_that_takes_nothing_is_told_of_once_and_asked_later_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    world.recorder.step()
    world.write("accepted")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(writer, "write", fail)
        for _ in range(8):
            world.recorder.step()
    assert len(world.said) == 1
    assert "the event store can't be written, events wait in the journal" in world.said[0]
    assert world.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    world.recorder.step()
    assert world.said[1:] == ["the event store is written again"]
    assert world.stored() == 1


def test_a_bug_is_shown_and_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(suppression, "publish", lambda _: 1 / 0)
        world.recorder.step()
    assert "ZeroDivisionError" in capsys.readouterr().err
    world.recorder.step()
    assert world.said[-1] == "the event store is written again"


def test_it_rests_when_nothing_has_happened_and_says_how_far_it_has_read(world: World) -> None:
    world.write("started")  # of the server itself: this keeps it awake for a moment only
    world.happens = False
    world.recorder.step()
    assert world.waits[-1] == pytest.approx(loop.SETTLED)
    world.now += loop.SETTLED + 1
    with pytest.raises(BecameError) as caught:
        world.recorder.step()
    module, position, listener = caught.value.args
    assert (module, listener) == ("postroad.recorder.rest", None)
    assert position == rest.journal() != ""


def test_an_event_keeps_it_awake(world: World) -> None:
    world.recorder.step()
    world.now += loop.SETTLED - 1
    world.write("accepted")
    world.recorder.step()
    world.happens = False
    world.now += rest.AWAKE - 1
    world.recorder.step()
    world.now += 2
    with pytest.raises(BecameError):
        world.recorder.step()


def test_webhooks_keep_it_awake_and_hear_of_what_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from postroad.webhooks import senders  # noqa: PLC0415 - as the recorder has it

    woken: list[str] = []

    class Sender:
        def wake(self) -> None:
            woken.append("")

    monkeypatch.setattr(senders, "start", lambda *_: [Sender()])
    world.begin(webhooks=(HOOK,))
    world.happens = False
    world.write("delivered")
    world.recorder.step()
    assert woken
    world.now += 1e6
    world.recorder.step()
    assert world.waits[-1] == loop.TIDY


def test_too_few_threads_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from postroad.webhooks import senders  # noqa: PLC0415

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(senders, "start", fail)
    world.begin(webhooks=(HOOK,))
    with pytest.raises(SystemExit):
        world.recorder.step()
    assert "the limit of processes (pids) may be reached" in world.said[-1]


# --- the feed


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(feed, "GATHER", 0.0)
    return tmp_path / "feed"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        yield made


def test_the_feed_tells_when_something_happens(path: Path, listener: socket.socket) -> None:
    tells = Feed(path)
    assert tells.wait(5.0), "something may have happened before"
    with listener.accept()[0] as server:
        assert not tells.wait(0.01)
        server.sendall(b"{}\n" * 1000)
        assert tells.wait(5.0)
        assert not tells.wait(0.01), "all of it was taken"
        threading.Timer(0.05, server.sendall, [b"{}\n"]).start()
        assert tells.wait(5.0)
    assert tells.wait(5.0), "the server has gone, and may have said something"
    assert tells.wait(5.0), "connected again"
    tells.close()


def test_without_a_server_it_is_asked_again(path: Path) -> None:
    tells = Feed(path)
    assert tells.wait(5.0)
    assert tells.wait(5.0)


# --- the time that a database server may take


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()
    monkeypatch.setattr(patience, "LIMIT", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    try:
        waits = Patience(server=True, late=late.set)
        waits.begin()
        waits.more()
        assert late.wait(5.0)
        late.clear()
        waits.more()
        waits.end()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_file_of_our_own_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "setitimer", lambda *_: pytest.fail("a timer"))
    waits = Patience(server=False, late=lambda: None)
    waits.begin()
    waits.more()
    waits.end()


class ExitError(BaseException):
    """In place of the process's end."""


def run_to_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: int) -> None:
        raise ExitError

    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(ExitError):
        world.recorder.run()


def test_limits_are_agreed_on_where_they_are_shared_and_let_go_at_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds: list[str] = []
    monkeypatch.setattr(PartsAgreement, "start", lambda _: deeds.append("started"))
    monkeypatch.setattr(PartsAgreement, "stop", lambda _, patience: deeds.append(f"stopped within {patience:g} s"))
    world.recorder.step()
    assert deeds == []
    world.begin(divides=True)
    world.recorder.step()
    world.recorder.end()
    run_to_the_end(world, monkeypatch)
    assert deeds == ["started", "stopped within 2 s"]


def test_what_came_last_is_stored_before_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: object) -> bool:
        world.write("delivered", number=1)
        world.recorder.end()  # a signal that comes meanwhile
        raise AssertionError

    world.write("accepted", number=1)
    monkeypatch.setattr(Feed, "wait", wait)
    run_to_the_end(world, monkeypatch)
    assert world.stored() == 2


def test_who_is_to_end_before_it_has_begun_stores_all_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("accepted", "delivered", number=1)
    world.recorder.end()
    run_to_the_end(world, monkeypatch)
    assert world.stored() == 2


def test_what_is_under_way_at_the_end_is_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    carry = Recorder._carry

    def carried(recorder: Recorder) -> Position:
        recorder.end()
        return carry(recorder)

    monkeypatch.setattr(Recorder, "_carry", carried)
    world.write("accepted", number=1)
    run_to_the_end(world, monkeypatch)
    assert world.stored() == 1
    assert world.waits == []


def test_a_store_that_can_t_be_written_does_not_hold_up_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fail(_: Recorder) -> Position:
        tries.append(1)
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(Recorder, "_carry", fail)
    monkeypatch.setattr(time, "sleep", lambda _: world.recorder.end())
    run_to_the_end(world, monkeypatch)
    assert tries == [1]
