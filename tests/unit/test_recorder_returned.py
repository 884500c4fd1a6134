"""What came back becomes part of the story of its message, and a stranger's word counts for no more than it may."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from postroad.feedback import brake, suppression
from postroad.journal.reader import Batch, Position
from postroad.recorder import returned, writer
from postroad.runtime.recording import BrakeRules, Settings
from postroad.store import queries
from postroad.store.schema import EVENTS
from tests.unit.handed import SUPPRESSION, recorded

Event = dict[str, Any]
SETTINGS = recorded(suppression=replace(SUPPRESSION, keep=3600.0))
GONE = "550 5.1.1 <u@y.example>: Recipient address rejected: User unknown"


def put(engine: Engine, *events: Event, settings: Settings = SETTINGS) -> None:
    writer.write(engine, Batch(events, Position("journal-1.jsonl", 1)), settings)


def message(queue_id: str, *recipients: str, sender: str = "App@X.example") -> list[Event]:
    about = {"queue_id": queue_id, "message_id": f"<{queue_id}@x>", "sender": sender}
    return [
        {"event": "accepted", **about, "recipients": len(recipients)},
        *({"event": "delivered", **about, "recipient": each, "relay_host": "mx.y.example"} for each in recipients),
    ]


def late(queue_id: str, recipient: str | None = "u@y.example", reply: str = GONE, **fields: Any) -> Event:
    named = {"recipient": recipient} if recipient else {}
    return {"event": "bounced", "queue_id": queue_id, **named, "dsn": "5.1.1", "reply": reply, "late": True, **fields}


def complaint(queue_id: str | None, recipient: str | None = "u@y.example", **fields: Any) -> Event:
    named = {name: value for name, value in (("queue_id", queue_id), ("recipient", recipient)) if value}
    return {"event": "complained", **named, "feedback": "abuse", "reporter": "fbl.y.example", **fields}


def kinds(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(EVENTS.c.kind).order_by(EVENTS.c.id)))


def suppressed(engine: Engine) -> list[tuple[str, str, bool]]:
    with engine.connect() as connection:
        return sorted((each.recipient, each.reason, each.expires is None) for each in suppression.entries(connection))


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_a_late_bounce_is_the_end_of_its_story(engine: Engine, together: bool) -> None:
    batches = (
        [[*message("q1", "U@y.example"), late("q1")]] if together else [message("q1", "U@y.example"), [late("q1")]]
    )
    for batch in batches:
        put(engine, *batch)
    (story,) = queries.trace(engine, "<q1@x>", 10)
    assert [event["event"] for event in story.events] == ["accepted", "delivered", "bounced"]
    assert (story.status, story.reason, story.hard, story.sender) == ("bounced", "userunknown", True, "App@X.example")
    last = story.events[-1]
    assert (last["recipient"], last["message_id"], last["late"]) == ("U@y.example", "<q1@x>", True)
    assert suppressed(engine) == [("u@y.example", "userunknown", False)]


@pytest.mark.parametrize(
    ("event", "becomes"),
    [
        (late("q1", "victim@z.example"), "returned"),
        (late("q2"), "returned"),
        (late("q1", None), "returned"),
        (complaint("q1", "victim@z.example"), "returned"),
        (complaint("q2"), "returned"),
        (complaint(None, message_id="<none@x>"), "returned"),
        (complaint(None), "returned"),
        (complaint("q1", None), "complained"),
    ],
)
def test_whoever_was_no_recipient_is_left_alone(engine: Engine, event: Event, becomes: str) -> None:
    put(engine, *message("q1", "u@y.example", "v@y.example"))
    put(engine, event)
    assert kinds(engine)[-1] == becomes
    assert suppressed(engine) == []
    for named in ("u@y.example", "v@y.example"):
        assert [each.status for each in queries.trace(engine, named, 10)] == ["delivered"]
    assert queries.trace(engine, "victim@z.example", 10) == [], "a message that he never got has no story of his"


def test_what_a_stranger_says_is_told_in_words(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example", "v@y.example"), late("q1", "victim@z.example"))
    last = queries.trace(engine, "q1", 10)[0].events[-1]
    assert last["status"] == "bounced: of a recipient that the message does not have: victim@z.example"


def test_the_only_recipient_is_meant_whatever_name_a_forwarder_gives_him(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), late("q1", "u@inner.example", GONE))
    (story,) = queries.trace(engine, "u@y.example", 10)
    assert story.status == "bounced"
    assert suppressed(engine) == [], "the words are about another mailbox"


def test_a_bounce_without_a_name_is_the_only_recipient_s(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), late("q1", None, "550 5.1.1 User unknown"))
    assert suppressed(engine) == [("u@y.example", "userunknown", False)]


def test_where_mail_goes_elsewhere_the_bounce_names_that_address(engine: Engine) -> None:
    redirected = {
        "event": "redirected", "queue_id": "q1", "recipient": "u@old.example", "redirected_to": "u@y.example",
    }  # fmt: skip
    put(engine, redirected, *message("q1", "u@old.example", "v@old.example"), late("q1", "U@y.example"))
    assert [each.status for each in queries.trace(engine, "u@old.example", 10)] == ["bounced"]
    assert [each.status for each in queries.trace(engine, "v@old.example", 10)] == ["delivered"]


@pytest.mark.parametrize("event", [late("q1"), complaint("q1")], ids=["bounce", "complaint"])
def test_each_counts_once(engine: Engine, event: Event) -> None:
    put(engine, *message("q1", "u@y.example"), dict(event), dict(event))
    put(engine, dict(event), dict(event, recipient="U@Y.example"))
    assert kinds(engine)[2:] == [event["event"], "returned", "returned", "returned"]


def test_a_complaint_is_found_by_its_message_id_and_suppresses_for_good(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"))
    put(engine, complaint(None, None, message_id="<q1@x>"))
    (story,) = queries.trace(engine, "q1", 10)
    assert [event["event"] for event in story.events] == ["accepted", "delivered", "complained"]
    assert story.status == "delivered", "it was, after all"
    assert suppressed(engine) == [("u@y.example", "complaint", True)]


def test_a_complaint_that_is_taken_back_suppresses_nobody(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), complaint("q1", feedback="not-spam"))
    assert suppressed(engine) == []
    (row,) = queries.counts(engine, 0, "sender-domain")
    assert row["complained"] == 0


def test_a_bounce_does_not_take_a_complaint_s_place(engine: Engine) -> None:
    """Time lifts a bounce's entry."""
    put(engine, *message("q1", "u@y.example"), complaint("q1"))
    put(engine, late("q1"))
    assert suppressed(engine) == [("u@y.example", "complaint", True)]


def test_never_and_the_scope_hold_for_complaints_too(engine: Engine) -> None:
    never = replace(SETTINGS, suppression=replace(SETTINGS.suppression, never=("y.example",)))
    put(engine, *message("q1", "u@y.example"), complaint("q1"), settings=never)
    assert suppressed(engine) == []
    by_domain = replace(SETTINGS, suppression=replace(SETTINGS.suppression, scope="sender_domain"))
    put(engine, *message("q2", "u@y.example"), complaint("q2"), settings=by_domain)
    with engine.connect() as connection:
        assert [each.sender_domain for each in suppression.entries(connection)] == ["x.example"]


def test_rates_count_a_recipient_once(engine: Engine) -> None:
    for i in range(20):
        put(engine, *message(f"q{i}", f"u{i}@y.example"))
    put(engine, late("q0", "u0@y.example"), late("q1", "u1@y.example"), complaint("q2", "u2@y.example"))
    (row,) = queries.counts(engine, 0, "sender-domain")
    assert (row["delivered"], row["bounced"], row["late"], row["complained"]) == (20, 2, 2, 1)
    assert (row["bounce_rate"], row["complaint_rate"]) == (0.1, 0.05)
    total = queries.total([row, row])
    assert (total["late"], total["bounce_rate"], total["complaint_rate"]) == (4, 0.1, 0.05)
    rules = BrakeRules(brake=0.1, warn=None, window=3600.0, minimum=20)
    with engine.begin() as connection:
        (bounces,) = brake.update_states(connection, brake.BOUNCES, rules, _now(engine))
        (complaints,) = brake.update_states(connection, brake.COMPLAINTS, replace(rules, brake=0.05), _now(engine))
    assert (bounces.state, bounces.number, bounces.total) == ("braked", 2, 20)
    assert (complaints.state, complaints.number, complaints.total) == ("braked", 1, 20)


def test_a_complaint_that_is_taken_back_brakes_nobody(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), complaint("q1", "u@y.example", feedback="not-spam"))
    rules = BrakeRules(brake=0.01, warn=None, window=3600.0, minimum=1)
    with engine.begin() as connection:
        assert brake.update_states(connection, brake.COMPLAINTS, rules, _now(engine)) == []


def test_late_bounces_of_what_was_delivered_long_ago_are_no_more_than_all(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"))
    put(engine, late("q1", time="2030-01-01T00:00:00Z"))
    with engine.connect() as connection:
        assert brake._counted(connection, brake.BOUNCES, 1_890_000_000.0) == {"x.example": (1, 1)}
    (row,) = queries.counts(engine, 1_890_000_000.0, "sender-domain")
    assert row["bounce_rate"] == 1.0


def test_words_cannot_pass_for_the_mark_of_a_late_bounce(engine: Engine) -> None:
    events: Sequence[Event] = message("q1", "u@y.example")
    put(engine, *events)
    put(engine, {**late("q1", reply='550 5.1.1 {"late": true} User unknown'), "late": None})
    (row,) = queries.counts(engine, 0, "sender-domain")
    assert (row["bounced"], row["late"]) == (1, 0)


def test_what_else_came_back_is_in_the_story_and_changes_nothing(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), {"event": "returned", "queue_id": "q1", "what": "automatic"})
    (story,) = queries.trace(engine, "q1", 10)
    assert (story.status, story.events[-1]["message_id"]) == ("delivered", "<q1@x>")


def test_who_unsubscribes_gets_no_more_mail_from_that_domain(engine: Engine) -> None:
    put(engine, {"event": "unsubscribed", "recipient": "U@y.example", "sender_domain": "News.x.example"})
    put(engine, {"event": "unsubscribed", "recipient": "bad address@y.example", "sender_domain": "x.example"})
    with engine.connect() as connection:
        found = suppression.entries(connection)
    assert [(each.recipient, each.reason, each.sender_domain, each.expires) for each in found] == [
        ("u@y.example", "unsubscribed", "news.x.example", None)
    ]
    by_domain = replace(SETTINGS, suppression=replace(SETTINGS.suppression, scope="sender_domain"))
    put(engine, *message("q1", "u@y.example", sender="a@news.x.example"), late("q1"), settings=by_domain)
    assert suppressed(engine) == [("u@y.example", "unsubscribed", True)], "a bounce does not take its place"


def test_where_relays_share_the_store_it_is_the_message_of_whoever_sent_it(engine: Engine) -> None:
    put(engine, *message("q1", "u@y.example"), *message("q2", "u@y.example", sender="a@z.example"))
    put(engine, *message("q2", "v@y.example"))
    with engine.begin() as connection:
        connection.execute(update(EVENTS).values(relay=1))
        ours = connection.execute(select(func.max(EVENTS.c.id))).scalar_one() - 1
        connection.execute(
            update(EVENTS).where(EVENTS.c.id >= ours).values(relay=2)
        )  # the last message, of the same id
        first, second, third = returned.attributed(
            connection, [late("q1"), late("q2", "v@y.example"), complaint(None, message_id="<q1@x>")], 2
        )
    assert (first["event"], first["sender"], first[returned.RELAY]) == ("bounced", "App@X.example", 1)
    assert (second["event"], second["recipient"], returned.RELAY in second) == ("bounced", "v@y.example", False)
    assert (third["event"], third["queue_id"], third[returned.RELAY]) == ("complained", "q1", 1)
    row = writer._row(first, 2)
    assert row.stored["relay"] == 1
    assert returned.RELAY not in row.event


def _now(engine: Engine) -> float:
    with engine.connect() as connection:
        return float(connection.scalars(select(EVENTS.c.time).order_by(EVENTS.c.time.desc())).first() or 0)
