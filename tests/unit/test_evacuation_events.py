"""What the log and the store say of a message that went from one relay to another."""

from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.cli.trace import _told
from postroad.events import own
from postroad.events.model import Delivered, Evacuated, Event, Notice, TakenOver
from postroad.events.parse import Parser
from postroad.events.syslog import LogLine
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.sinks.redact import Redactor
from postroad.store import queries
from tests.unit.handed import recorded

OLD, NEW = "6AQFKfHd000061", "6AQFKfHd9482060417"
ABOUT = {"message_id": "<m4@sender.example>", "sender": "app@sender.example"}
LEFT: dict[str, Any] = {"queue_id": OLD, **ABOUT, "to_relay": "postroad-0", "to_queue_id": NEW, "recipients": 1}
CAME: dict[str, Any] = {
    "queue_id": NEW,
    **ABOUT,
    "from_relay": "postroad-2",
    "from_queue_id": OLD,
    "recipients": 1,
    "attempts": 3,
}
DELIVERED = (
    f"{NEW}: to=<user@rcpt.example>, delay=01:00:00, xdelay=00:00:01, mailer=mx, pri=90000, relay=mx.rcpt.example."
    " [192.0.2.1], dsn=2.0.0, stat=Sent (Ok)"
)


def line(text: str, program: str = "postroad") -> LogLine:
    return LogLine(time=1795496643.0, facility=2, severity=5, program=program, pid=7, text=text)


@pytest.mark.parametrize(("kind", "fields"), [(Evacuated, LEFT), (TakenOver, CAME)], ids=["left", "came"])
def test_the_line_is_read_as_the_event(kind: type[Evacuated | TakenOver], fields: dict[str, Any]) -> None:
    assert own.read(line(own.handed_over(kind, fields))) == kind(time=1795496643.0, program="postroad", pid=7, **fields)


def test_the_null_sender_is_known_and_a_sender_that_is_too_long_is_left_out() -> None:
    assert own.read(line(own.handed_over(TakenOver, CAME | {"sender": ""}))).to_dict()["sender"] == ""
    text = own.handed_over(TakenOver, CAME | {"sender": "ü" * 1000})
    assert len(text.encode()) <= own.LONGEST
    event = own.read(line(text))
    assert isinstance(event, TakenOver)
    assert (event.sender, event.from_queue_id) == (None, OLD)


def test_a_damaged_line_is_a_notice() -> None:
    assert isinstance(own.read(line("taken_over {}")), TakenOver)
    assert isinstance(own.read(line('taken_over {"queue_id": 1, "who": 2}')), Notice)


def test_its_deliveries_say_whose_it_is() -> None:
    parser = Parser()
    events: list[Event] = parser.feed(line(own.handed_over(TakenOver, CAME)))
    events += parser.feed(line(DELIVERED, "sendmail"))
    assert [each.kind for each in events] == ["taken_over", "delivered"], "and it is not accepted a second time"
    assert isinstance(events[1], Delivered)
    whose = (events[1].sender, events[1].message_id, events[1].delay)
    assert whose == ("app@sender.example", "<m4@sender.example>", 3600)


def test_addresses_are_hidden() -> None:
    fields = Redactor("domain").fields({"event": "taken_over", "time": "x", **CAME})
    assert fields["sender"] == "***@sender.example"
    assert fields["from_queue_id"] == OLD


def test_the_store_tells_where_it_went_and_counts_it_once(engine: Engine) -> None:
    time = {"time": "2026-11-26T10:00:00Z"}
    recipient = {"recipient": "user@rcpt.example"}
    events: list[dict[str, Any]] = [
        {"event": "accepted", **time, "queue_id": OLD, **ABOUT},
        {"event": "deferred", **time, "queue_id": OLD, **ABOUT, **recipient, "dsn": "4.0.0"},
        {"event": "taken_over", **time, **CAME},
        {"event": "evacuated", **time, **LEFT},
    ]
    writer.write(engine, Batch(tuple(events), Position("journal-1.jsonl", 1)), recorded())
    # after a restart: without the sender
    delivered = {"event": "delivered", **time, "queue_id": NEW, **recipient}
    writer.write(engine, Batch((delivered,), Position("journal-1.jsonl", 2)), recorded())
    stories = {each.queue_id: each for each in queries.trace(engine, "app@sender.example", 9)}
    assert stories[OLD].status == "evacuated"
    assert stories[NEW].status == "delivered"
    assert [each["event"] for each in stories[NEW].events] == ["taken_over", "delivered"]
    (told,) = [_told(each) for each in stories[OLD].events if each["event"] == "evacuated"]
    assert told == f"to postroad-0, where it is {NEW}"
    assert _told(stories[NEW].events[0]) == f"from postroad-2, where it was {OLD}"
    (counted,) = queries.counts(engine, 0.0, "sender-domain")
    assert (counted["accepted"], counted["delivered"], counted["deferred"]) == (1, 1, 1)
