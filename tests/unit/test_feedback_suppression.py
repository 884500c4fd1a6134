"""Which failures put whom on the suppression list, and for whose mail."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError

from postroad import system
from postroad.feedback import suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime.recording import SuppressionRules
from postroad.store import database
from tests.unit.handed import recorded
from tests.unit.stores import made_by

BEGIN = time.time() - 1000
DAY = 86400.0
SETTINGS = SuppressionRules(keep=90 * DAY, scope="all", never=("vip@rcpt.example",), soft_count=3, soft_within=7 * DAY)
FULL, SUSPENDED, GONE = "452 4.2.2 Mailbox full", "550 5.2.1 account disabled", "550 5.1.1 User unknown"


def fail(
    engine: Engine,
    queue_id: str,
    reply: str = FULL,
    *,
    at: float = 0,
    to: str = "U@rcpt.example",
    sender: str = "app@one.example",
    **settings: Any,
) -> bool:
    kind = "delivered" if reply[0] == "2" else "bounced" if reply[0] == "5" else "deferred"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN + at))
    event = {
        "event": kind, "time": stamp, "queue_id": queue_id, "sender": sender, "recipient": to,
        "dsn": reply[4:9], "reply": reply,
    }  # fmt: skip
    return writer.write(
        engine, Batch((event,), Position("j", 1)), recorded(suppression=replace(SETTINGS, **settings))
    ).suppressed


def listed(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        found = suppression.entries(connection)
    return sorted((entry.recipient, entry.sender_domain, entry.reason) for entry in found)


def test_as_many_messages_as_said_that_find_it_full(engine: Engine) -> None:
    assert [fail(engine, "q1"), fail(engine, "q2"), fail(engine, "q2", at=1), fail(engine, "q1", at=2)] == [False] * 4
    assert fail(engine, "q3", SUSPENDED, at=3)
    assert listed(engine) == [("u@rcpt.example", "", "suspend")]


def test_a_delivery_lets_the_count_begin_anew(engine: Engine) -> None:
    fail(engine, "q1")
    fail(engine, "q2")
    fail(engine, "q1", "250 2.0.0 ok", at=10)
    assert not fail(engine, "q3", at=20)
    assert not fail(engine, "q4", at=21)
    assert fail(engine, "q5", at=22)


def test_what_is_too_long_ago_does_not_count(engine: Engine) -> None:
    fail(engine, "q1", at=-8 * DAY)
    fail(engine, "q2")
    assert not fail(engine, "q3")
    assert fail(engine, "q4")


@pytest.mark.parametrize(
    "reply",
    [
        "421 4.7.0 too many connections",
        "451 4.7.1 greylisted, try again later",
        "550 5.7.1 blocked by policy",
        "554 5.7.1 Spam message rejected",
        "421 4.4.2 connection timed out",
        "452 4.3.1 Insufficient system storage",
        "552 5.3.4 Message too big",
    ],
)
def test_what_speaks_of_us_or_the_way_never_counts(engine: Engine, reply: str) -> None:
    assert not any(fail(engine, f"q{i}", reply) for i in range(10))


def test_a_bounce_is_one_entry() -> None:
    rows = [
        {
            "recipient": f"u{i}@rcpt.example", "recipient_domain": "rcpt.example", "sender_domain": "one.example",
            "reason": "userunknown", "time": 1.0 * i, "detail": f"said {i}",
        }
        for i in range(3)
    ]  # fmt: skip
    found = suppression.of_bounces(rows, SETTINGS)
    assert [(entry.recipient, entry.detail) for entry in found] == [
        (f"u{i}@rcpt.example", f"said {i}") for i in range(3)
    ]


@pytest.mark.parametrize(("never", "kept"), [("rcpt.example", 0), ("ample", 1), ("example", 1), ("u@rcpt.example", 0)])
def test_a_domain_that_is_never_suppressed(engine: Engine, never: str, kept: int) -> None:
    fail(engine, "q1", GONE, never=[never])
    assert len(listed(engine)) == kept


def test_an_entry_that_has_expired_leaves_the_map(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[bytes, bytes]] = []
    monkeypatch.setattr(suppression, "SUPPRESSED", tmp_path / "suppressed")
    monkeypatch.setattr(system, "write_database", lambda _path, records: written.append(records))
    now = time.time()
    with engine.begin() as connection:
        suppression.add(
            connection,
            [
                SuppressedAddress("gone@x.example", "userunknown", now - 10, now - 1, None),
                SuppressedAddress("dead@x.example", "userunknown", now - 10, now + 99, None),
                SuppressedAddress("one@x.example", "manual", now, None, None, "one.example"),
            ],
        )
    assert suppression.publish(engine) == 2
    assert written == [{b"dead@x.example": b"userunknown", b"one@x.example/one.example": b"manual"}]


def test_off_is_off_and_never_is_never(engine: Engine) -> None:
    off: Any = {"soft_count": None}
    assert not any(fail(engine, f"q{i}", **off) for i in range(10))
    assert not any(fail(engine, f"q{i}", to="vip@rcpt.example") for i in range(10))


def test_an_entry_for_one_sender_domain(engine: Engine) -> None:
    scope: Any = {"scope": "sender_domain"}
    assert fail(engine, "q1", GONE, to="gone@rcpt.example", **scope)
    assert not fail(engine, "q2", GONE, to="gone@rcpt.example", sender="", **scope)
    fail(engine, "q3", **scope)
    fail(engine, "q4", **scope)
    assert not fail(engine, "q5", sender="app@two.example", **scope)
    assert listed(engine) == [("gone@rcpt.example", "one.example", "userunknown")]
    fail(engine, "q6", **scope)
    assert listed(engine)[1] == ("u@rcpt.example", "one.example", "mailboxfull")


def test_an_address_has_an_entry_a_domain(engine: Engine) -> None:
    every = [
        SuppressedAddress("a@x.example", "manual", 1.0, None, None, domain)
        for domain in ("", "one.example", "two.example")
    ]
    with engine.begin() as connection:
        assert suppression.add(connection, every) == 3
        assert suppression.add(connection, every[1:2]) == 0
        assert suppression.remove(connection, ["A@x.example"], "one.example") == 1
        assert suppression.remove(connection, ["A@x.example"], "one.example") == 0
    assert [each[1] for each in listed(engine)] == ["", "two.example"]
    with engine.begin() as connection:
        assert suppression.remove(connection, ["A@x.example"]) == 2


def old(path: Path) -> Engine:
    return made_by(path, "0001", "INSERT INTO suppressions VALUES ('a@x.example', 'userunknown', 1.0, NULL, 'said')")


def test_a_migration_that_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    engine = old(tmp_path / "old.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE suppressions_0001 (stands TEXT)"))
    with pytest.raises(OperationalError):
        database.upgrade(engine)
    assert not inspect(engine).has_table("brakes")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE suppressions_0001"))
    database.upgrade(engine)
    assert database.is_current(engine)


def test_a_list_of_before_holds_for_all(tmp_path: Path) -> None:
    engine = old(tmp_path / "old.db")
    database.upgrade(engine)
    with engine.connect() as connection:
        assert suppression.entries(connection) == [SuppressedAddress("a@x.example", "userunknown", 1.0, None, "said")]
