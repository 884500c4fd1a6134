"""How a webhook's thread deals with what its receiver answers; the receiver is pretended, since time is what matters."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from postroad.store import leases
from postroad.webhooks import outbox, senders
from postroad.webhooks.post import ReceiverAnswer
from postroad.webhooks.senders import Sender
from tests.unit.handed import HOOK
from tests.unit.test_webhooks_outbox import counters, put

TAKEN, DOWN = ReceiverAnswer(204, ""), ReceiverAnswer(None, "no answer: Connection refused")


class Pretended:
    def __init__(self, answer: Callable[[str], ReceiverAnswer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.aborted = threading.Event()

    def post(self, uid: str, _seconds: float, event: Mapping[str, Any]) -> ReceiverAnswer:
        self.asked.append(uid)
        return self.answer(event["queue_id"])

    def abort(self) -> None:
        self.aborted.set()


class Case:
    def __init__(self, engine: Engine, give_up_after: float = 86400.0) -> None:
        self.told: list[str] = []
        self.sender = Sender(engine, replace(HOOK, give_up_after=give_up_after), "m.example.com", self.tell)
        self.engine = engine

    def tell(self, level: str, message: str) -> None:
        self.told.append(f"{level} {message}")

    def receive(self, answer: Callable[[str], ReceiverAnswer]) -> Pretended:
        self.sender._receiver = made = Pretended(answer)  # type: ignore[assignment]
        return made


def test_what_is_taken_is_gone_a_few_at_once(engine: Engine) -> None:
    case = Case(engine)
    receiver = case.receive(lambda _: TAKEN)
    put(engine, *["delivered"] * 6)
    assert [case.sender.round(), case.sender.round()] == [0.0, 0.0]
    assert len(set(receiver.asked)) == 6
    assert case.sender.round() == senders.POLL
    assert case.told == []


def test_one_that_is_down_is_tried_with_one_event_and_told_of_once(engine: Engine) -> None:
    case = Case(engine)
    receiver = case.receive(lambda _: DOWN)
    put(engine, *["delivered"] * 12)
    pauses = [case.sender.round() for _ in range(3)]
    assert len(receiver.asked) == 4 + 1 + 1
    assert all(1 <= pause <= senders.LONGEST_PAUSE for pause in pauses)
    assert case.told == ["err webhook app accepts no events, they wait in the outbox: no answer: Connection refused"]
    case.receive(lambda _: TAKEN)
    put(engine, "delivered")
    assert case.sender.round() == 0.0
    assert case.told[1:] == ["info webhook app accepts events again"]


def test_an_event_that_is_never_taken_holds_up_no_other(engine: Engine) -> None:
    case = Case(engine)
    put(engine, *["delivered"] * 12)
    case.receive(lambda queue_id: ReceiverAnswer(500, "answered 500") if queue_id == "q0" else TAKEN)
    for _ in range(3):
        case.sender.round()
    assert counters(engine) == {"app,delivered": 11}
    assert case.told == []


def test_a_pause_is_as_long_as_the_receiver_asks_for(engine: Engine) -> None:
    case = Case(engine)
    case.receive(lambda _: ReceiverAnswer(503, "answered 503", 300.0))
    put(engine, "delivered")
    assert case.sender.round() == 300
    case.receive(lambda _: ReceiverAnswer(503, "answered 503", 10.0**9))
    put(engine, "delivered")
    assert case.sender.round() == outbox.LONGEST_DELAY


def test_who_is_gone_gets_nothing_again(engine: Engine) -> None:
    case = Case(engine)
    case.receive(lambda _: ReceiverAnswer(410, "answered 410"))
    put(engine, "delivered")
    case.sender.round()
    assert len(outbox.dead(engine, "app", 10)) == 1
    assert [line for line in case.told if "1 event is a dead letter of webhook app" in line]


def test_what_waited_too_long_is_given_up_with_what_was_tried(engine: Engine) -> None:
    case = Case(engine, give_up_after=0.0)
    case.receive(lambda _: DOWN)
    put(engine, *["delivered"] * 10)
    case.sender.round()
    assert len(outbox.dead(engine, "app", 100)) == 10
    assert any("6 events are dead letters" in line for line in case.told)


def test_one_that_takes_for_ever_is_ended(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "LONGEST_ATTEMPT", 0.1)
    case = Case(engine)
    receiver = case.receive(lambda _: DOWN if receiver.aborted.wait(10) else TAKEN)
    put(engine, "delivered")
    case.sender.round()
    assert len(outbox.due(engine, "app", 1)) == 0
    assert len(receiver.asked) == 1
    assert case.told


def test_what_was_posted_is_not_posted_again_while_the_store_can_t_be_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(engine)
    receiver = case.receive(lambda _: TAKEN)
    put(engine, *["delivered"] * 6)
    write = outbox.delivered

    def full(*_: object) -> None:
        raise OperationalError("DELETE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(outbox, "delivered", full)
    for _ in range(3):
        with pytest.raises(OperationalError):
            case.sender.round()
    assert len(receiver.asked) == 4
    monkeypatch.setattr(outbox, "delivered", write)
    case.sender.round()
    assert len(receiver.asked) == len(set(receiver.asked)) == 6
    assert counters(engine) == {"app,delivered": 6}


def test_new_events_are_posted_at_once_and_errors_are_survived(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []
    look = outbox.due

    def due(*arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 1:
            raise OperationalError("SELECT", {}, Exception("database is locked"))
        if len(asked) == 2:
            raise ZeroDivisionError
        return look(*arguments)

    monkeypatch.setattr(outbox, "due", due)
    for name in ("POLL", "LONGEST_PAUSE"):
        monkeypatch.setattr(senders, name, 0.05)
    case = Case(engine)
    receiver = case.receive(lambda _: TAKEN)
    case.sender.start()
    wait_until(lambda: len(asked) >= 3)
    assert "ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.setattr(senders, "POLL", 300)
    for number in (1, 2):  # after the first it waits for as long as that
        put(engine, "delivered")
        case.sender.wake()
        wait_until(lambda number=number: len(receiver.asked) == number)  # type: ignore[misc]


def test_another_relay_s_webhook_is_left_alone_until_it_is_ours(engine: Engine) -> None:
    case = Case(engine)
    receiver = case.receive(lambda _: TAKEN)
    held = [False, False, True]
    case.sender._lease.held = lambda seconds: held.pop(0)  # type: ignore[method-assign]
    put(engine, "delivered")
    assert [case.sender.round() for _ in range(3)] == [senders.POLL, senders.POLL, 0.0]
    assert len(receiver.asked) == 1


def test_the_lease_is_kept_while_the_receiver_is_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", 0.01)
    case = Case(engine)
    renewed: list[float] = []

    def held(seconds: float) -> bool:
        renewed.append(seconds)
        if len(renewed) % 2:
            raise OperationalError("UPDATE", {}, Exception("connection refused"))
        return True

    case.sender._lease.held = held  # type: ignore[method-assign]
    case.sender._rest(0.2)
    assert len(renewed) > 3


def test_at_the_end_posts_under_way_are_written_down_and_the_lease_is_free(engine: Engine) -> None:
    case = Case(engine)
    begun, go = threading.Event(), threading.Event()
    released: list[bool] = []

    def answer(_: str) -> ReceiverAnswer:
        begun.set()
        assert go.wait(60)
        return TAKEN

    receiver = case.receive(answer)
    case.sender._lease.release = lambda: released.append(True)  # type: ignore[method-assign]
    put(engine, *["delivered"] * 9)
    case.sender.start()
    assert begun.wait(60)
    senders.end([case.sender], 0.05)
    assert not released  # one that hangs holds up no end
    go.set()
    senders.end([case.sender], 60)
    assert released == [True]
    assert len(receiver.asked) == 4
    assert counters(engine) == {"app,delivered": 4}


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
