"""Several relays' recorders on one PostgreSQL database: what they tell each other, and what only one of them does."""

import contextlib
import statistics
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from postroad.feedback import brake, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.recorder.parts import EVERY
from postroad.runtime.recording import BrakeRules
from postroad.runtime.sharing import Report, Use
from postroad.store import changes, database, queries, relays
from postroad.store.budgets import Budgets
from postroad.store.watch import ChangeWatch
from postroad.webhooks import outbox
from tests.integration.conftest import wait_until
from tests.integration.test_postgresql import Store, engine, store
from tests.internet.host import Postgres
from tests.unit import test_store_budgets, test_store_leases
from tests.unit.handed import HOOK
from tests.unit.test_store import SETTINGS, put, story

__all__ = ["engine", "store"]
pytestmark = pytest.mark.filterwarnings("default:measured: ")
PROMISED = 2.0
"""Seconds in which a relay knows what another has changed."""


class Noted:
    """A watch that notes when it acts on what."""

    def __init__(self, engine: Engine) -> None:
        self.told: list[str] = []
        self.acted: dict[str, int] = dict.fromkeys((changes.SUPPRESSIONS, changes.BRAKES, changes.OUTBOX), 0)
        acts = {subject: lambda subject=subject: self._act(subject) for subject in self.acted}
        self.watch = ChangeWatch(engine, acts, lambda _, text: self.told.append(text))
        self.watch.start()

    def _act(self, subject: str) -> None:
        self.acted[subject] += 1

    def wait(self, subject: str, number: int, timeout: float = PROMISED) -> None:
        wait_until(lambda: self.acted[subject] >= number, timeout)


def suppress(engine: Engine, recipient: str) -> None:
    with database.writing(engine) as connection:
        suppression.add(connection, [SuppressedAddress(recipient, "manual", 1.0, None, None)])


def test_a_change_is_heard_when_it_is_committed_and_no_other(engine: Engine) -> None:
    other = Noted(engine)
    other.wait(changes.SUPPRESSIONS, 1, 10)
    with engine.connect() as connection:
        suppression.add(connection, [SuppressedAddress("a@b.example", "manual", 1.0, None, None)])
        connection.rollback()
    suppress(engine, "gone@rcpt.example")
    other.wait(changes.SUPPRESSIONS, 2)
    with database.writing(engine) as connection:
        suppression.remove(connection, ["gone@rcpt.example"])
    other.wait(changes.SUPPRESSIONS, 3)
    assert other.acted == {"suppressions": 3, "brakes": 1, "outbox": 1}
    assert other.told == []


def test_a_brake_of_one_relay_is_heard_by_all(engine: Engine) -> None:
    other = Noted(engine)
    other.wait(changes.BRAKES, 1, 10)
    put(engine, [event for i in range(20) for event in story(f"q{i}", "bounced", dsn="5.1.1", reply="550 5.1.1 no")])
    rules = BrakeRules(brake=0.1, warn=None, window=10.0**9, minimum=20)
    with database.writing(engine) as connection:
        (changed,) = brake.update_states(connection, brake.BOUNCES, rules, time.time())
    other.wait(changes.BRAKES, 2)
    with database.writing(engine) as connection:
        assert brake.update_states(connection, brake.BOUNCES, rules, time.time()) == []  # decided once
        assert brake.release(connection, [changed.sender_domain])
    other.wait(changes.BRAKES, 3)


def test_all_is_read_when_the_connection_was_lost(engine: Engine, postgres: Postgres) -> None:
    other = Noted(engine)
    other.wait(changes.SUPPRESSIONS, 1, 10)
    with postgres._connect() as root:
        root.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'changes|LISTEN' AND datname = %s",
            [engine.url.database],
        )
    other.wait(changes.SUPPRESSIONS, 2, 10)
    suppress(engine, "gone@rcpt.example")
    other.wait(changes.SUPPRESSIONS, 3)


def test_through_a_pooler_in_transaction_mode_the_numbers_are_looked_at(
    engine: Engine, store: Store, postgres: Postgres
) -> None:
    port = postgres.start_pooler()
    address = postgres.address.partition(":")[0]
    pooled = database.connect_server(f"postgresql://{store.name}@{address}:{port}/{store.name}", store.password)
    other = Noted(pooled)
    other.wait(changes.SUPPRESSIONS, 1, 10)
    suppress(engine, "gone@rcpt.example")
    other.wait(changes.SUPPRESSIONS, 2)
    suppress(pooled, "gone2@rcpt.example")
    other.wait(changes.SUPPRESSIONS, 3)
    (told,) = other.told
    assert "passes on no notifications (a pooler in transaction mode passes none)" in told
    put(pooled, [event for i in range(200) for event in story(f"q{i}", "accepted", "delivered")])
    threads = [threading.Thread(target=put, args=(pooled, story(f"r{i}", "accepted"))) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pooled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM events")).scalar() == 420
    pooled.dispose()


def put_at(engine: Engine, relay: int, events: list[dict[str, Any]]) -> None:
    writer.write(engine, Batch(tuple(events), Position("journal-1.jsonl", 1)), SETTINGS, relay)


def test_the_same_queue_id_at_two_relays_is_two_messages(engine: Engine) -> None:
    for number, name in ((2, "first"), (3, "old"), (3, "second")):
        relays.register(engine, number, name)
    put(engine, story("q0", "accepted"))  # by an older Postroad
    with database.writing(engine) as connection:
        connection.execute(text("UPDATE events SET relay = NULL"))
    put_at(
        engine,
        2,
        [*story("q0", "delivered"), *story("q1", "accepted", "delivered", message_id="<a@x>", sender="a@x.y")],
    )
    put_at(engine, 3, story("q1", "accepted", message_id="<b@x>", sender="b@x.y"))
    put_at(
        engine,
        3,
        [{"event": "bounced", "time": "2026-11-24T11:00:00Z", "queue_id": "q1", "recipient": "U@rcpt.example"}],
    )
    found = {
        (each.relay, each.message_id, each.sender): (each.status, len(each.events))
        for each in queries.trace(engine, "q1", 10)
    }
    assert found == {("first", "<a@x>", "a@x.y"): ("delivered", 2), ("second", "<b@x>", "b@x.y"): ("bounced", 2)}
    (one,) = queries.trace(engine, "b@x.y", 10)
    assert (one.relay, one.message_id) == ("second", "<b@x>")
    (old,) = queries.trace(engine, "q0", 10)
    assert (old.relay, old.status) == ("first", "delivered")
    domains = {row["sender_domain"]: row for row in queries.counts(engine, 0, "sender-domain")}
    assert {each["relay"]: (each["accepted"], each["delivered"]) for each in domains["x.y"]["relays"]} == {
        "first": (1, 1),
        "second": (1, 0),
    }
    assert (domains["x.y"]["accepted"], domains["x.y"]["bounce_rate"]) == (2, 0.5)
    by_relay = queries.counts(engine, 0, "relay")
    assert {row["relay"]: row["bounced"] for row in by_relay} == {"first": 0, "second": 1, None: 0}
    assert queries.total(by_relay) == queries.total(domains.values())
    assert queries.total(by_relay)["accepted"] == 3


def test_events_of_a_message_keep_their_order_beside_another_relay_s(engine: Engine) -> None:
    settings = replace(SETTINGS, webhooks=(HOOK,))
    for relay in (2, 3):
        events = story("q1", "delivered", "bounced", recipient=f"u{relay}@rcpt.example")
        writer.write(engine, Batch(tuple(events), Position("journal-1.jsonl", 1)), settings, relay)
    due = outbox.due(engine, HOOK.name, 10)
    assert [(each.event["event"], each.event["recipient"]) for each in due] == [
        ("delivered", "u2@rcpt.example"),
        ("delivered", "u3@rcpt.example"),
    ]


def test_what_is_too_old_goes_by_one_relay_at_a_time_and_not_again_at_once(engine: Engine) -> None:
    with database.alone(engine, database.RETENTION) as first, database.alone(engine, database.RETENTION) as second:
        assert (first, second) == (True, False)
        assert changes.is_due(engine, changes.RETENTION, 600)
        assert not changes.is_due(engine, changes.RETENTION, 600)
    with database.alone(engine, database.RETENTION) as again:
        assert again
        assert not changes.is_due(engine, changes.RETENTION, 600)
        assert changes.is_due(engine, changes.RETENTION, 0)


def test_a_writer_whose_host_is_gone_holds_up_the_others_for_a_while_only(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "IDLE", 1.0)
    with contextlib.suppress(SQLAlchemyError), database.writing(engine) as silent:
        began = time.monotonic()
        suppress(engine, "gone@rcpt.example")
        assert time.monotonic() - began < 10
        with pytest.raises(OperationalError):
            silent.execute(text("SELECT 1"))


def test_relays_agree_on_limits_all_at_once(engine: Engine) -> None:
    most, together = 10, 6
    budgets = [Budgets(engine, 2 + i) for i in range(together)]
    parts = dict.fromkeys(range(together), 0)
    sums: list[int] = []

    def take_part(i: int) -> None:
        for turn in range(20):
            wants = most if (turn + i) % 3 else 0
            used = parts[i] if turn % 2 else 0
            use = Use("route-1 connections", most, parts[i], 0, used, wants, 1, 0.0)
            (part,) = budgets[i].agree(Report((use,)))
            parts[i] = part.amount
            with engine.connect() as connection:
                sums.append(int(connection.execute(text("SELECT sum(amount) FROM parts")).scalar_one()))

    with ThreadPoolExecutor(together) as pool:
        list(pool.map(take_part, range(together)))
    assert len(sums) == 20 * together
    assert max(sums) == most


@pytest.mark.parametrize("together", [20, 50])
def test_what_many_relays_cost_the_database(engine: Engine, together: int) -> None:
    budgets = [Budgets(engine, 2 + i) for i in range(together)]
    names = ("connections", "rate 60", "day 20000")
    report = Report(tuple(Use(f"route-1 {name}", 1000, 0, 0, 0, 5, 1, 0.0) for name in names))
    took = []
    for each in budgets * 4:
        began = time.perf_counter()
        each.agree(report)
        took.append(time.perf_counter() - began)
    median = statistics.median(took)
    warnings.warn(f"measured: {together} relays, {len(names)} limits: {median * 1000:.1f} ms a round", stacklevel=1)
    assert median * together < EVERY  # they go one after the other


globals().update(
    {
        name: each
        for name, each in vars(test_store_budgets).items()
        if name.startswith("test_") and not hasattr(each, "hypothesis")  # they make stores of their own
    }
)
world = test_store_budgets.world
globals().update(
    {name: each for name, each in vars(test_store_leases).items() if name.startswith("test_") and "sqlite" not in name}
)
clock = test_store_leases.clock
