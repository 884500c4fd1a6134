import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from postroad.errors import PostroadError
from postroad.feedback import suppression
from postroad.journal.reader import Batch, Position, read
from postroad.recorder import aside, writer
from postroad.runtime import handover, plan
from postroad.store import database, queries
from postroad.store.schema import COUNTERS, EVENTS, METADATA, SUPPRESSIONS
from tests.unit import supervision
from tests.unit.handed import SUPPRESSION, recorded

SETTINGS = recorded(suppression=replace(SUPPRESSION, keep=3600.0))


def test_a_new_database_is_not_current_until_it_is_upgraded(tmp_path: Path) -> None:
    made = database.connect(tmp_path / "new.db")
    assert not database.is_current(made)
    database.upgrade(made)
    assert database.is_current(made)


def story(queue_id: str, *kinds: str, **fields: Any) -> list[dict[str, Any]]:
    about = {"queue_id": queue_id, "message_id": f"<{queue_id}@x>", "sender": "App@Sender.example"}
    whole = {"accepted", "signed"}
    return [
        {
            "event": kind,
            "time": f"2026-11-24T10:00:0{i}Z",
            **about,
            **({} if kind in whole else {"recipient": "U@rcpt.example"}),
            **fields,
        }
        for i, kind in enumerate(kinds)
    ]


def put(engine: Engine, events: list[dict[str, Any]], offset: int = 1) -> None:
    writer.write(engine, Batch(tuple(events), Position("journal-1.jsonl", offset)), SETTINGS)


def number(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(EVENTS)).scalar_one())


def test_the_write_ahead_log_stays_small(tmp_path: Path) -> None:
    made = database.connect(tmp_path / "new.db")
    database.upgrade(made)
    for offset in range(60):  # some hundred pages in all
        put(made, story(f"q{offset}", "accepted", "signed", "delivered"), offset)
    assert (tmp_path / "new.db-wal").stat().st_size < 1.5 * database.CHECKPOINT * 4096


def test_the_migrations_make_the_tables_of_the_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        assert not compare_metadata(MigrationContext.configure(connection), METADATA)


@pytest.mark.parametrize("what", ["U@RCPT.example", "app@sender.example", "<q1@x>", "q1@x", "q1"])
def test_a_story_is_found_by_all_that_names_it(engine: Engine, what: str) -> None:
    put(
        engine, [*story("q1", "accepted", "signed", "deferred", "delivered"), *story("q2", "accepted", recipient="x@y")]
    )
    (found, *_) = queries.trace(engine, what, 10)
    assert (found.queue_id, found.status, found.attempts) == ("q1", "delivered", 2)
    assert [event["event"] for event in found.events] == ["accepted", "signed", "deferred", "delivered"]


def test_each_recipient_has_a_story_and_an_address_shows_its_own(engine: Engine) -> None:
    put(engine, [*story("q1", "accepted", "delivered"), *story("q1", "bounced", recipient="other@rcpt.example")])
    assert [(each.recipient, each.status) for each in queries.trace(engine, "q1", 10)] == [
        ("U@rcpt.example", "delivered"),
        ("other@rcpt.example", "bounced"),
    ]
    assert [each.recipient for each in queries.trace(engine, "other@rcpt.example", 10)] == ["other@rcpt.example"]


def test_a_restarted_server_s_events_get_what_it_forgot(engine: Engine) -> None:
    put(engine, story("q1", "accepted", "deferred"))
    put(
        engine,
        [{"event": "delivered", "time": "2026-11-24T11:00:00Z", "queue_id": "q1", "recipient": "U@rcpt.example"}],
    )
    assert queries.trace(engine, "app@sender.example", 10)[0].status == "delivered"


def test_a_batch_that_fails_leaves_nothing_and_is_read_again(engine: Engine, tmp_path: Path) -> None:
    events = story("q1", "accepted", "delivered")
    (tmp_path / "journal-1.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (batch,) = read(tmp_path, Position(), 10)
    with pytest.raises(ValueError, match="Invalid isoformat"):
        put(engine, [*events, {"event": "notice", "time": "never"}])
    assert number(engine) == 0
    writer.write(engine, batch, SETTINGS)
    with engine.connect() as connection:
        assert list(read(tmp_path, writer.position(connection), 10)) == []
    assert number(engine) == 2


def test_a_segment_that_was_cut_short_is_a_gap_once(engine: Engine, tmp_path: Path) -> None:
    event = json.dumps(story("q1", "accepted")[0])
    (tmp_path / "journal-1.jsonl").write_text(f"{event}\n{event[:20]}")
    (tmp_path / "journal-2.jsonl").write_text(f'{event}\n{{"event": "journal_end"}}\n')
    (tmp_path / "journal-3.jsonl").write_text(f"{event}\n{event[:9]}")
    for _ in range(2):
        with engine.connect() as connection:
            position = writer.position(connection)
        for batch in read(tmp_path, position, 1):
            writer.write(engine, batch, SETTINGS)
    assert number(engine) == 4
    (gap,) = queries.gaps(engine, 0)
    assert gap.lost is None
    with (tmp_path / "journal-3.jsonl").open("a") as file:  # the line is whole now
        file.write(event[9:] + "\n")
    with engine.connect() as connection:
        (batch,) = read(tmp_path, writer.position(connection), 10)
    assert len(batch.events) == 1


BAD = [
    b"torn",
    b"[" * 100_000,
    b"\0" * 4096,
    b'{"event": "gap", "since": "once"}',
    b'{"event": "notice", "time": "never"}',
    b'{"event": "bounced", "queue_id": ["q"], "reply": 5}',
    b'{"event": "delivered", "queue_id": {"a": 1}}',
    b'{"event": "stopped", "program": ["recorder"]}',
    b'{"event": "delivered", "delay": 1%s}' % (b"0" * 30),
]


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_a_line_that_can_t_be_kept_is_set_aside_and_counted(engine: Engine, tmp_path: Path, line: bytes) -> None:
    good = [json.dumps(event).encode() for event in story("q1", "accepted", "deferred", "delivered")]
    (tmp_path / "journal-1.jsonl").write_bytes(b"\n".join([*good[:2], line, good[2]]) + b"\n")
    position, set_aside = Position(), 0
    for batch in read(tmp_path, position, 1000):
        result = aside.write(engine, tmp_path, position, batch, SETTINGS)
        position, set_aside = batch.position, set_aside + result.aside
    assert set_aside == 1
    assert [event["event"] for event in queries.trace(engine, "q1", 10)[0].events] == [
        "accepted",
        "deferred",
        "delivered",
    ]
    assert [gap.lost for gap in queries.gaps(engine, 0)] == [1]
    (kept,) = (tmp_path / aside.FILE).read_bytes().splitlines()
    assert kept == line or json.loads(kept) == json.loads(line)
    with engine.connect() as connection:
        assert list(read(tmp_path, writer.position(connection), 1000)) == []
        grown = {row.name: row.value for row in connection.execute(select(COUNTERS)) if not row.labels}
    assert (grown["accepted"], grown["events_lost"], grown["event_gaps"]) == (1, 1, 1)


def test_a_store_that_takes_nothing_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    events = [*story("q1", "accepted"), {"event": "notice", "time": "never"}]
    (tmp_path / "journal-1.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (batch,) = read(tmp_path, Position(), 1000)
    with engine.begin() as connection:  # as where a right is missing: the events are not at fault
        connection.execute(text("CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no right'); END"))
    with pytest.raises(IntegrityError, match="no right"):
        aside.write(engine, tmp_path, Position(), batch, SETTINGS)
    with engine.begin() as connection:
        assert writer.position(connection) == Position()
        connection.execute(text("DROP TRIGGER no"))
    assert aside.write(engine, tmp_path, Position(), batch, SETTINGS).aside == 1
    assert number(engine) == 2


def test_what_is_set_aside_has_its_bound(tmp_path: Path) -> None:
    for _ in range(3):
        aside.keep(tmp_path, [b"x" * (aside.MOST // 2)] * 2)
    assert (tmp_path / aside.FILE).stat().st_size < aside.MOST
    aside.keep(tmp_path / "nowhere", [b"x"])


def test_what_is_too_old_and_too_much_goes(engine: Engine) -> None:
    now = time.time()
    old, new = ({"event": "notice", "time": stamp, "message": "x" * 1000} for stamp in ("2020-01-01T00:00:00Z", None))
    put(engine, [old] * 10)
    put(engine, [new] * 3000)
    assert writer.forget(engine, 3600, 2**30) == 10
    assert writer.forget(engine, 3600, 2**20) > 1500
    assert 0 < number(engine) < 1500
    assert now


def test_what_other_tables_hold_costs_no_event(engine: Engine) -> None:
    put(engine, story("q1", "accepted", "delivered"))
    entries = [suppression.SuppressedAddress(f"u{i}@x.example", "manual", 1.0, None, "x" * 200) for i in range(9000)]
    with database.writing(engine) as connection:
        suppression.add(connection, entries)
    assert writer.forget(engine, 1e10, 2**20) == 0
    assert number(engine) == 2


def test_the_size_is_what_the_events_take(engine: Engine) -> None:
    put(engine, [{"event": "notice", "message": "x" * 1000}] * 3000)
    with engine.connect() as connection:
        assert 3.0e6 < database.size(connection) < 4.5e6
    writer.forget(engine, 1e10, 2**20)
    with engine.connect() as connection:
        assert database.size(connection) <= 2**20
    assert number(engine) > 600  # no more than had to


def test_sqlite_is_opened_for_readers_beside_a_writer(engine: Engine) -> None:
    with engine.connect() as connection:
        said = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
    assert said == ["wal", 1]


@pytest.mark.parametrize("what", ["app@sender.example", "App@Sender.example"])
def test_a_sender_s_story_goes_on_after_a_bounce_to_it(engine: Engine, what: str) -> None:
    put(engine, [*story("q1", "accepted", "bounced"), *story("q2", "accepted", "delivered")])
    bounce = {"event": "delivered", "time": "2026-11-24T10:01:00Z", "queue_id": "q3", "sender": ""}
    put(engine, [bounce | {"recipient": "App@Sender.example"}])
    put(engine, [*story("q4", "accepted", "delivered", sender="other@sender.example", recipient="App@sender.example")])
    found = [(each.queue_id, each.recipient) for each in queries.trace(engine, what, 10)]
    assert found == [
        ("q1", "U@rcpt.example"), ("q2", "U@rcpt.example"), ("q3", "App@Sender.example"), ("q4", "App@sender.example"),
    ]  # fmt: skip


def test_of_a_message_to_many_an_address_that_did_not_send_it_shows_its_own(engine: Engine) -> None:
    put(engine, [*story("q1", "accepted", "delivered"), *story("q1", "bounced", recipient="app@sender.example")])
    put(engine, [*story("q2", "delivered"), *story("q2", "delivered", recipient="other@rcpt.example")])
    assert [each.recipient for each in queries.trace(engine, "app@sender.example", 10)] == [
        "U@rcpt.example", "app@sender.example", "U@rcpt.example", "other@rcpt.example",
    ]  # fmt: skip
    found = [(each.queue_id, each.recipient) for each in queries.trace(engine, "other@rcpt.example", 10)]
    assert found == [("q2", "other@rcpt.example")]


def test_counts_and_the_rate_of_bounces(engine: Engine) -> None:
    for i in range(19):
        put(engine, story(f"d{i}", "accepted", "delivered"))
    put(engine, story("b", "accepted", "deferred", "bounced"))
    (row,) = queries.counts(engine, 0, "sender-domain")
    assert row == {
        "sender_domain": "sender.example", "accepted": 20, "delivered": 19, "deferred": 1, "bounced": 1, "rejected": 0,
        "bounce_rate": 0.05, "late": 0, "complained": 0, "complaint_rate": 0.0,
    }  # fmt: skip
    (hour,) = queries.counts(engine, 0, "hour")
    assert hour["hour"] == 1795514400


def test_an_hour_ends_with_its_last_second(engine: Engine) -> None:
    put(engine, [event | {"time": "2026-11-24T10:59:59.900Z"} for event in story("q1", "accepted")])
    assert queries.counts(engine, 0, "hour")[0]["hour"] == 1795514400


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("u@x.example", True),
        ("nul\0@x.example", False),
        ("\udc80@x.example", False),
        ("\u20ac" * 5000 + "@x.example", False),
    ],
)
def test_whatever_the_world_sends_is_kept(engine: Engine, address: str, plain: bool) -> None:
    events = story("q1", "accepted", "bounced", recipient=address, sender=address, message_id=address, dsn="5.1.1")
    put(engine, [event | {"reply": f"550 5.1.1 {address}: no such user"} for event in events])
    assert number(engine) == 2
    (found,) = queries.trace(engine, "q1", 10)
    assert found.status == "bounced"
    with engine.connect() as connection:
        assert [row.recipient for row in connection.execute(select(SUPPRESSIONS))] == [address] * plain


def test_an_address_is_on_the_list_once_and_as_last_said(engine: Engine) -> None:
    addresses = [f"u{number}@x.example" for number in range(1200)]
    for reason, fresh in (("userunknown", 1200), ("manual", 0)):
        with database.writing(engine) as connection:
            entries = [suppression.SuppressedAddress(address, reason, 1.0, 2.0, None) for address in addresses]
            assert suppression.add(connection, entries) == fresh
    with database.writing(engine) as connection:
        assert suppression.remove(connection, ["U1@x.example", "nobody@x.example"]) == 1
        assert suppression.entries(connection) == []  # they have expired
    assert suppression.forget(engine) == 1199


def test_the_recorder_and_a_command_may_write_at_once(engine: Engine) -> None:
    def add(reason: str) -> None:
        entries = [
            suppression.SuppressedAddress(f"u{number}@x.example", reason, 1.0, None, None) for number in range(50)
        ]
        for _ in range(10):
            with database.writing(engine) as connection:
                suppression.add(connection, entries)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, ("one", "two")))  # raises what they raised
    with engine.connect() as connection:
        assert len(suppression.entries(connection)) == 50


def test_counters_grow_with_their_events(engine: Engine) -> None:
    for number in range(3):
        put(engine, story(f"q{number}", "accepted", "delivered", delay=number, relay_host="mx.google.com"))
    with engine.connect() as connection:
        kept = {(row.name, row.labels): row.value for row in connection.execute(select(COUNTERS))}
    assert kept["accepted", ""] == 3
    assert kept["deliveries", "delivered,,google"] == 3
    assert kept["delay_sum", ""] == 3


def test_two_journals_have_a_position_each(engine: Engine) -> None:
    for journal, segment in ((2, "journal-9.jsonl"), (3, "journal-1.jsonl")):
        writer.write(engine, Batch((), Position(segment, journal)), SETTINGS, journal)
    with engine.connect() as connection:
        assert writer.position(connection, 2) == Position("journal-9.jsonl", 2)
        assert writer.position(connection, 3) == Position("journal-1.jsonl", 3)
        assert writer.position(connection, 4) == Position()


def test_a_newer_postroad_s_tables_are_left_alone(engine: Engine) -> None:
    put(engine, story("q1", "accepted"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        database.NewerDatabaseError, match=r"newer Postroad \(its tables are 9999, these are \d{4}\): run"
    ):
        database.is_current(engine)
    assert number(engine) == 1


def test_a_command_waits_for_the_file_of_a_server_that_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(database, "CURRENT", tmp_path)
    monkeypatch.setattr(database, "DATABASE", tmp_path / "events.db")
    monkeypatch.setattr(database, "connect", partial(database.connect, tmp_path / "events.db"))
    with pytest.raises(PostroadError, match="no events are kept"):
        database.existing()  # at once: no server runs
    (tmp_path / plan.FILE).write_text(handover.dumps(replace(supervision.plan(), journal=True)))
    made = threading.Timer(0.2, database.upgrade, [database.connect()])
    made.start()
    assert database.is_current(database.existing())
    made.join()


def test_a_command_waits_for_the_tables_of_a_server_that_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "CURRENT", tmp_path)
    monkeypatch.setattr(database, "DATABASE", tmp_path / "events.db")
    monkeypatch.setattr(database, "connect", partial(database.connect, tmp_path / "events.db"))
    (tmp_path / "events.db").touch()
    monkeypatch.setattr(database, "MADE", 0.0)
    with pytest.raises(PostroadError, match="are not those of this version yet"):
        database.existing()
    monkeypatch.setattr(database, "MADE", 60.0)
    made = threading.Timer(0.2, database.upgrade, [database.connect()])
    made.start()
    assert database.is_current(database.existing())
    made.join()
