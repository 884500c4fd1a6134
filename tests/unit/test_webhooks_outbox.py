"""The outbox: what is put in, tried again, given up, replayed, and what there is no room for."""

import time
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, delete, inspect, text

from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.store import database
from postroad.store.schema import EVENTS
from postroad.webhooks import outbox

HOOK = {"name": "app", "types": ["delivered", "bounced"], "senders": [], "recipients": []}
DAY = 86400.0


def put(engine: Engine, *kinds: str, hooks: Any = (HOOK,)) -> writer.Written:
    events = [
        {"event": kind, "time": "2026-11-24T10:00:00Z", "queue_id": f"q{i}", "sender": "a@b.c", "recipient": "x@y.z"}
        for i, kind in enumerate(kinds)
    ]
    settings = {"suppress": None, "never": [], "webhooks": hooks}
    return writer.write(engine, Batch(tuple(events), Position("journal-1.jsonl", 1)), settings)


def counters(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT labels, value FROM counters WHERE name = 'webhook_events'"))
        return {row[0]: row[1] for row in rows}


def test_what_is_wanted_waits_and_what_is_delivered_is_gone(engine: Engine) -> None:
    put(engine, "accepted", "delivered", "bounced", hooks=[HOOK, HOOK | {"name": "other", "types": ["bounced"]}])
    first, second = outbox.due(engine, "app", 10)
    assert [first.event["event"], second.event["event"]] == ["delivered", "bounced"]
    assert second.event["class"]
    (other,) = outbox.due(engine, "other", 10)
    assert other.uid == second.uid != first.uid
    assert [each.id for each in outbox.due(engine, "app", 1)] == [first.id]
    outbox.delivered(engine, first)
    assert [each.id for each in outbox.due(engine, "app", 10)] == [second.id]
    assert counters(engine) == {"app,delivered": 1}


def test_it_is_the_same_event_in_the_database(engine: Engine) -> None:
    for _ in range(3):
        put(engine, *["delivered", "accepted", "bounced"] * 700)
    found = outbox.due(engine, "app", 10_000)
    assert len(found) == 4200
    assert len({each.uid for each in found}) == 4200
    assert [each.event["event"] for each in found[:4]] == ["delivered", "bounced"] * 2


def test_a_batch_that_is_not_stored_is_not_posted(engine: Engine) -> None:
    with pytest.raises(ValueError, match="Invalid isoformat"):
        writer.write(
            engine,
            Batch(({"event": "delivered", "time": "never"},), Position()),
            {"suppress": None, "never": [], "webhooks": [HOOK]},
        )
    assert outbox.due(engine, "app", 10) == []


def test_what_fails_is_due_later_then_dead_then_replayed(engine: Engine) -> None:
    put(engine, "delivered", "delivered")
    first, _ = outbox.due(engine, "app", 10)
    before = time.time()
    assert not outbox.failed(engine, first, "answered 500" + "x" * 1000, DAY, 600)
    assert len(outbox.due(engine, "app", 10)) == 1
    assert 0 < outbox.until_due(engine, "app", 5.0) <= 5
    assert outbox.failed(engine, first, "answered 500", 0, None)
    (letter,) = outbox.dead(engine, None, 10)
    assert (letter.uid, letter.error, letter.event["event"]) == (first.uid, "answered 500", "delivered")
    assert letter.failed is not None
    assert letter.failed >= before
    assert outbox.dead(engine, "other", 10) == []
    with engine.begin() as connection:
        assert outbox.states(connection)["app"] | {"oldest": 0, "failed": 0} == {
            "pending": 1, "dead": 1, "oldest": 0, "error": "answered 500", "failed": 0,
        }  # fmt: skip
        assert outbox.replay(connection, ["no such"], None) == 0
        assert outbox.replay(connection, None, "other") == 0
        assert outbox.replay(connection, [first.uid], "app") == 1
    again = {each.uid: each for each in outbox.due(engine, "app", 10)}[first.uid]
    assert again.attempts == 0
    assert again.added >= before
    assert counters(engine) == {"app,dead": 1}


def test_a_last_attempt_is_made_at_the_end(engine: Engine) -> None:
    put(engine, "delivered")
    (entry,) = outbox.due(engine, "app", 1)
    assert not outbox.failed(engine, entry, "no", time.time() - entry.added + 0.3, 3600)
    assert outbox.until_due(engine, "app", 5.0) == 1.0  # not in an hour


def test_what_waits_too_long_without_an_attempt_is_dead(engine: Engine) -> None:
    put(engine, "delivered", "delivered")
    assert outbox.give_up(engine, "app", 60, "down") == 0
    assert outbox.give_up(engine, "other", -1, "down") == 0
    assert outbox.give_up(engine, "app", -1, "down") == 2
    assert {each.error for each in outbox.dead(engine, "app", 10)} == {"down"}
    assert outbox.give_up(engine, "app", -1, "down") == 0
    assert counters(engine) == {"app,dead": 2}


def test_delays_grow_with_full_jitter_and_have_bounds() -> None:
    for attempts, most in ((1, 2.0), (2, 4.0), (5, 32.0), (11, 2048.0), (12, 3600.0), (10_000, 3600.0)):
        found = [outbox.delay(attempts) for _ in range(400)]
        assert min(found) >= 1
        assert most * 0.8 < max(found) <= most
        assert min(found) < max(1.1, most * 0.2)  # from nothing on: clients that failed together come back apart
    assert outbox.delay(1, 100) == 100
    assert outbox.delay(1, 10**9) == 3600
    assert outbox.delay(1, -5) >= 1


def test_there_is_room_for_so_many_dead_letters_and_the_oldest_go_first(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST", 3)
    put(engine, *["delivered"] * 3)
    kept = outbox.due(engine, "app", 10)
    outbox.failed(engine, kept[2], "no", 0, None)
    assert put(engine, "bounced", "bounced").lost == {"app": 2}
    assert outbox.dead(engine, None, 10) == []
    assert next(each.uid for each in outbox.due(engine, "app", 10)) == kept[1].uid
    assert counters(engine) == {"app,dead": 1, "app,lost": 2}


def test_what_the_store_forgets_is_not_posted_and_counted(engine: Engine) -> None:
    put(engine, "delivered", "delivered")
    outbox.failed(engine, outbox.due(engine, "app", 1)[0], "no", 0, None)
    with engine.begin() as connection:
        connection.execute(delete(EVENTS))
    assert outbox.due(engine, "app", 10) == outbox.dead(engine, None, 10) == []
    put(engine)
    with engine.begin() as connection:  # the ids come again
        connection.execute(EVENTS.insert(), [{"time": 5.0, "kind": "accepted", "data": "{}"}] * 2)
    assert outbox.due(engine, "app", 10) == outbox.dead(engine, None, 10) == []
    assert outbox.tidy(engine) == {"app": 1}
    assert outbox.tidy(engine) == {}
    assert counters(engine) == {"app,dead": 1, "app,lost": 1}


def test_a_store_of_the_version_before_gets_the_table(tmp_path: Path) -> None:
    engine = database.connect(tmp_path / "events.db")
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO events (time, kind, data) VALUES (1, 'notice', '{}')"))
    assert not database.is_current(engine)
    database.upgrade(engine)
    assert database.is_current(engine)
    assert inspect(engine).has_table("outbox")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM events")).scalar() == 1
    engine.dispose()
