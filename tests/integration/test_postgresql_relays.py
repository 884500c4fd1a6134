"""Real relays on one database: what one learns the others know, each webhook comes once, one may be killed."""

import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from postroad.store import database
from postroad.testing import PostroadContainer
from tests.integration.conftest import letter, send, wait_until
from tests.integration.test_postgresql import PostgresRelays, Store, start_relay, store
from tests.integration.test_shaping import PACED, Sink, narrow, sink
from tests.integration.test_trace import refused
from tests.integration.test_webhooks import folder, hook, hooks
from tests.internet.host import Hooks, Postgres

__all__ = ["folder", "hooks", "sink", "start_relay", "store"]
pytestmark = pytest.mark.filterwarnings("default:measured: ")
PROMISED = 2.0
"""Seconds in which a relay knows what another has put into the database."""
wait_for = partial(wait_until, timeout=60)


@pytest.fixture
def opened(postgres: Postgres, store: Store) -> Iterator[Engine]:
    made = database.connect_server(f"postgresql://{store.name}@{postgres.address}/{store.name}", store.password)
    yield made
    made.dispose()


def measured(what: str) -> None:
    warnings.warn(f"measured: {what}", stacklevel=2)


def listening(engine: Engine, relays: int) -> None:
    """Wait until so many relays wait for notifications."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND query LIKE 'SELECT subject, number%'")

    def enough() -> bool:
        with engine.connect() as connection:
            return int(connection.execute(query).scalar_one()) >= relays

    wait_for(enough)


def seconds_until_refused(relay: PostroadContainer, recipient: str, since: float, within: float = PROMISED) -> float:
    wait_until(lambda: refused(relay, recipient)[0] == 550, within)
    return time.monotonic() - since


def test_an_address_that_one_suppresses_is_refused_by_all_within_two_seconds(
    start_relay: PostgresRelays, opened: Engine
) -> None:
    first, second = (start_relay(publish=number == 1, kwargs={"hostname": f"relay-{number}"}) for number in (1, 2))
    listening(opened, 2)
    first.command("suppress", "add", "gone@rcpt.example")
    told = seconds_until_refused(second, "gone@rcpt.example", time.monotonic())
    # a bounce, from the moment at which the first refuses it itself
    send(first, letter(To="unknown-1@rcpt.example"))
    wait_for(lambda: refused(first, "unknown-1@rcpt.example")[0] == 550)
    bounced = seconds_until_refused(second, "unknown-1@rcpt.example", time.monotonic())
    second.command("suppress", "remove", "gone@rcpt.example")
    wait_until(lambda: refused(first, "gone@rcpt.example")[0] == 250, PROMISED)
    measured(f"known to the other relay after {told:.2f} s, by a bounce after {bounced:.2f} s")
    message_id = send(second, letter())
    shown = "app@sender.example → user@rcpt.example  at relay-2"
    wait_for(lambda: shown in first.shell(f"postroad trace '{message_id}'")[1])
    table = first.command("stats")
    assert {"relay-1", "relay-2", "all", "total"} <= {*table.split()}


def test_what_was_suppressed_while_the_server_was_away_is_known_when_it_is_back(
    start_relay: PostgresRelays, postgres: Postgres, opened: Engine
) -> None:
    first, second = (start_relay(publish=number == 1) for number in (1, 2))
    first.command("suppress", "add", "gone@rcpt.example")
    wait_until(lambda: refused(second, "gone@rcpt.example")[0] == 550, 10)
    listening(opened, 2)
    postgres.stop()
    try:
        assert refused(second, "gone@rcpt.example")[0] == 550  # as it is known
        send(second, letter())
        second.wait_for(send(second, letter()), "delivered")
    finally:
        postgres.start()
    began = time.monotonic()
    wait_for(lambda: first.shell("postroad suppress add late@rcpt.example")[0] == 0)
    measured(f"known {seconds_until_refused(second, 'late@rcpt.example', began, 15):.2f} s after the server was back")
    listening(opened, 2)
    first.command("suppress", "add", "later@rcpt.example")
    seconds_until_refused(second, "later@rcpt.example", time.monotonic())


def holder(engine: Engine, relays: list[PostroadContainer]) -> PostroadContainer | None:
    """Which relay has the webhook's lease."""
    with engine.connect() as connection:
        number = connection.execute(text("SELECT holder FROM leases")).scalar()
    found = [each for each in relays if each.shell("cat /var/lib/postroad/events/journal-id")[1].strip() == str(number)]
    return found[0] if found else None


def test_each_event_is_posted_once_and_in_order_whoever_is_killed_or_stops(
    start_relay: PostgresRelays, opened: Engine, hooks: Hooks, folder: Path
) -> None:
    mounts = {str(folder): "/secrets"}
    start_relay.mounts |= mounts
    types = ["accepted", "delivered"]
    config: dict[str, Any] = {"events": {"webhooks": [hook("once", types=types)]}}
    relays = [start_relay(publish=number == 1, **config) for number in (1, 2, 3)]
    listening(opened, 3)
    sent: list[str] = []

    def come(queue_of: str) -> list[str]:
        return [each["type"] for each in events() if each["data"].get("message_id") == queue_of]

    def events() -> list[dict[str, Any]]:
        return [json.loads(each["body"]) for each in hooks.requests("/once")]

    def settled() -> bool:
        return all(len(come(message_id)) >= len(types) for message_id in sent)

    sent += [send(relay, letter()) for relay in relays * 4]
    wait_for(settled)
    for deed, patience in (("kill", 120), ("stop", 30)):
        ours = wait_for(lambda: holder(opened, relays))
        assert ours is not None
        container = ours.get_wrapped_container()
        relays.remove(ours)
        began = time.monotonic()
        if deed == "kill":
            container.kill()
        else:
            container.stop(timeout=20)
        sent += [send(relay, letter()) for relay in relays * 3]
        wait_until(settled, patience)
        measured(f"{deed}: another relay posts {time.monotonic() - began:.1f} s later")
    assert all(come(message_id) == [f"postroad.message.{kind}.v1" for kind in types] for message_id in sent)
    twice = {uid: number for uid, number in Counter(each["id"] for each in events()).items() if number > 1}
    assert not twice


LIMITED: dict[str, Any] = {
    "delivery": {
        "routes": [narrow("narrow.example", most=2), PACED],
        "queue": {"retry": "1h"},
    }
}


def parts_agreed(engine: Engine, relays: int) -> None:
    """Wait until so many relays have parts of each limit."""
    query = text("SELECT min(n) FROM (SELECT count(*) AS n FROM parts GROUP BY name) AS each")

    def all_have() -> bool:
        with engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0) >= relays

    wait_for(all_have)


@pytest.mark.long
@pytest.mark.timeout(400)  # two minutes of it are the limits' own
def test_limits_of_routes_hold_for_all_together(
    start_relay: PostgresRelays, postgres: Postgres, opened: Engine, sink: Sink
) -> None:
    relays = [start_relay(publish=number == 1, **LIMITED) for number in (1, 2)]
    parts_agreed(opened, 2)
    for number in range(12):
        for which, relay in enumerate(relays):
            send(relay, letter(To=f"u{which}-{number}@narrow.example"))
            send(relay, letter(To=f"u{which}-{number}@paced.example"))
    wait_for(lambda: len(sink.taken("narrow.example")) >= 24)
    assert max(line["open"] for line in sink.seen("narrow.example")) <= 2
    assert {line["rcpt"][:2] for line in sink.seen("narrow.example")} == {"u0", "u1"}
    wait_until(lambda: len(sink.taken("paced.example")) >= 12, 150)
    taken = sorted(sink.taken("paced.example"))
    # the seventh comes a minute after the first, whichever relay sent it; the receiver's clock is read as data comes
    assert all(taken[i + 6] - taken[i] > 59.5 for i in range(len(taken) - 6))
    postgres.stop()
    try:
        for relay in relays:
            send(relay, letter(To="away@narrow.example"))
        wait_for(lambda: len([one for one in sink.seen("narrow.example") if one["rcpt"].startswith("away")]) == 2)
        said = "the limits of routes can't be agreed on with the relays that share the database (events.store)"
        wait_until(lambda: all(f"{said}: this relay keeps to its part" in relay.log() for relay in relays), 120)
    finally:
        postgres.start()
