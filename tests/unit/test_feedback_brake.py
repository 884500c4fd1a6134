"""When a sender domain is warned of and braked, and when that is over."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.events import own
from postroad.events.model import BounceRate, ComplaintRate, Notice
from postroad.events.syslog import LogLine, format_datagram, parse_datagram
from postroad.feedback import brake
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.times import stamp
from tests.unit.handed import RECORDING, RULES

NOW = 1_800_000_000.0
BOUNDS = replace(RULES, brake=0.1, warn=0.05)
GONE, BLOCKED = "550 5.1.1 User unknown", "550 5.7.1 blocked"


def put(
    engine: Engine, kind: str, number: int, *, at: float = NOW, sender: str = "A@Ex.org", reply: str = GONE
) -> None:
    about: dict[str, Any] = {"time": stamp(at), "sender": sender, "recipient": "u@rcpt.example", "queue_id": "q"}
    if kind == "bounced":
        about |= {"dsn": reply[4:9], "reply": reply}
    events = tuple({"event": kind, **about} for _ in range(number))
    writer.write(engine, Batch(events, Position("j", 1)), RECORDING)


def complain(engine: Engine, number: int) -> None:
    """So many messages that are delivered, and called spam."""
    for i in range(number):
        about = {"time": stamp(NOW), "sender": "a@ex.org", "recipient": f"u{i}@rcpt.example", "queue_id": f"c{i}"}
        story = ({"event": kind, **about} for kind in ("accepted", "delivered", "complained"))
        writer.write(engine, Batch(tuple(story), Position("j", 1)), RECORDING)


def look(
    engine: Engine, now: float = NOW, cause: brake.Cause = brake.BOUNCES, **settings: Any
) -> list[tuple[str, str, int, int]]:
    with engine.begin() as connection:
        changed = brake.update_states(connection, cause, replace(BOUNDS, **settings), now)
    return [(rate.sender_domain, rate.state, rate.number, rate.total) for rate in changed]


def test_each_threshold_is_told_of_once(engine: Engine) -> None:
    put(engine, "delivered", 19)
    put(engine, "bounced", 1)
    assert look(engine) == [("ex.org", "warning", 1, 20)]
    assert look(engine) == []
    put(engine, "bounced", 1)
    put(engine, "bounced", 1)
    assert look(engine) == [("ex.org", "braked", 3, 22)]
    assert look(engine) == []


def test_below_the_minimum_a_rate_says_nothing(engine: Engine) -> None:
    put(engine, "bounced", 19)
    assert look(engine) == []
    put(engine, "delivered", 1)
    assert look(engine) == [("ex.org", "braked", 19, 20)]


def test_only_hard_bounces_of_a_sender_domain_count(engine: Engine) -> None:
    put(engine, "delivered", 20)
    put(engine, "bounced", 10, reply=BLOCKED)
    put(engine, "deferred", 10)
    put(engine, "rejected", 10)
    put(engine, "bounced", 50, sender="")
    assert look(engine) == []
    put(engine, "bounced", 10, sender="x@other.example")
    put(engine, "bounced", 30, at=NOW - 3601)
    put(engine, "bounced", 2)
    assert look(engine) == [("ex.org", "warning", 2, 32)]


def test_a_state_holds_until_the_rate_is_well_below(engine: Engine) -> None:
    put(engine, "delivered", 90)
    put(engine, "bounced", 10)
    assert look(engine) == [("ex.org", "braked", 10, 100)]
    put(engine, "delivered", 25)
    assert look(engine) == []  # 8 %
    put(engine, "delivered", 1)
    assert look(engine) == [("ex.org", "warning", 10, 126)]
    put(engine, "delivered", 124)
    assert look(engine) == []  # 4 %
    put(engine, "delivered", 1)
    assert look(engine) == [("ex.org", "normal", 10, 251)]
    with engine.connect() as connection:
        assert brake.rates(connection) == []


def test_the_brake_ends_when_the_window_has_passed(engine: Engine) -> None:
    put(engine, "delivered", 20, at=NOW - 600)
    put(engine, "bounced", 5)
    look(engine)
    assert look(engine, NOW + 3500) == []  # five are left, all of them bounced
    assert look(engine, NOW + 3601) == [("ex.org", "normal", 0, 0)]


def test_without_a_rate_nothing_is_braked(engine: Engine) -> None:
    put(engine, "bounced", 30)
    assert look(engine, brake=None, warn=None) == []
    assert look(engine, brake=None) == [("ex.org", "warning", 30, 30)]


def test_a_person_releases_and_what_was_before_is_forgiven(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    put(engine, "bounced", 30)
    look(engine)
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    with engine.begin() as connection:
        assert [rate.state for rate in brake.release(connection, ["EX.org", "other.example"])] == ["braked"]
        assert brake.release(connection, ["ex.org"]) == []
    assert look(engine, NOW + 2) == []
    put(engine, "bounced", 20, at=NOW + 5)
    assert look(engine, NOW + 6) == [("ex.org", "braked", 20, 20)]


def test_a_domain_that_would_break_the_map_is_none(engine: Engine) -> None:
    for sender in ("x@a b", "x@a\tb", "x@a\nb.example\tfree", "x@ä.example", "root"):
        put(engine, "bounced", 30, sender=sender)
    assert look(engine) == []


def test_it_looks_soon_after_an_end_and_not_all_the_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake, "publish", lambda _: None)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watch = brake.BrakeWatch(engine, brake.BOUNCES, replace(BOUNDS, window=1e9))
    assert watch.wait(600) == 0
    assert watch.update() == []
    watch.note([{"event": "accepted"}])
    assert watch.wait(600) == 600
    put(engine, "bounced", 30)
    watch.note([{"event": "bounced"}])
    assert watch.wait(600) == 1
    assert watch.update() == []
    clock[0] += 1
    assert [rate.state for rate in watch.update()] == ["braked"]
    assert watch.wait(600) == 30


def test_complaints_have_a_rate_of_their_own(engine: Engine) -> None:
    put(engine, "delivered", 28)
    complain(engine, 2)
    assert look(engine) == []
    assert look(engine, cause=brake.COMPLAINTS) == [("ex.org", "warning", 2, 30)]
    put(engine, "bounced", 30)
    assert look(engine, NOW + 1, cause=brake.COMPLAINTS, brake=0.06) == [("ex.org", "braked", 2, 30)]
    assert look(engine, NOW + 2) == [("ex.org", "braked", 30, 60)]
    with engine.connect() as connection:
        assert [rate.cause for rate in brake.rates(connection)] == [brake.COMPLAINTS, brake.BOUNCES]


def test_a_release_is_of_both(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(brake, "BRAKED", tmp_path / "braked")
    put(engine, "delivered", 10)
    put(engine, "bounced", 10)
    complain(engine, 10)
    look(engine)
    look(engine, cause=brake.COMPLAINTS)
    brake.publish(engine)
    assert (tmp_path / "braked").read_text().splitlines() == [
        "ex.org\t10 of 30 bounced",
        "ex.org\t10 of 20 were called spam",
    ]
    monkeypatch.setattr(time, "time", lambda: NOW + 1)
    with engine.begin() as connection:
        assert {rate.cause for rate in brake.release(connection, ["ex.org"])} == {brake.BOUNCES, brake.COMPLAINTS}
    assert look(engine, NOW + 2, cause=brake.COMPLAINTS) == []


def test_what_raises_no_rate_asks_for_no_look(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of deliveries is not counted for each of them."""
    monkeypatch.setattr(brake, "publish", lambda _: None)
    watch = brake.BrakeWatch(engine, brake.COMPLAINTS, BOUNDS)
    watch.update()
    watch.note([{"event": "delivered"}, {"event": "bounced"}])
    assert watch.wait(600) == 600
    watch.note([{"event": "complained"}])
    assert watch.wait(600) <= 1


def test_a_line_of_the_recorder_is_an_event() -> None:
    line = own.bounce_rate("braked", "ex.org", 3, 22, 3600.0)
    event = own.read(parse_datagram(format_datagram("warning", line), 5.0))
    assert isinstance(event, BounceRate)
    assert (event.state, event.sender_domain, event.bounce_rate, event.window) == ("braked", "ex.org", 0.13636, 3600)
    line = own.complaint_rate("warning", "ex.org", 3, 1500, 86400.0)
    event = own.read(parse_datagram(format_datagram("warning", line), 5.0))
    assert isinstance(event, ComplaintRate)
    assert (event.state, event.complained, event.delivered, event.complaint_rate) == ("warning", 3, 1500, 0.002)


@pytest.mark.parametrize(
    "text", ["bounce_rate", "complaint_rate {", "bounce_rate []", 'bounce_rate {"state": 1}', "words"]
)
def test_any_other_line_is_a_notice(text: str) -> None:
    event = own.read(LogLine(5.0, 2, 4, "postroad", 7, text))
    assert isinstance(event, Notice)
    assert (event.level, event.message) == ("warning", text)
