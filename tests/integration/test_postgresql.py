"""PostgreSQL as the event store: what holds for SQLite holds here, and the server's absence is no matter for mail."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from postroad.store import database
from postroad.store.schema import EVENTS
from postroad.testing import PostroadContainer
from tests.integration import test_pipeline, test_trace
from tests.integration.conftest import RELAYS, Relays, letter, send, wait_until
from tests.integration.inside import inside
from tests.integration.test_http import get
from tests.integration.test_trace import gaps, messages, refused, status
from tests.internet.host import Postgres
from tests.internet.internet import Internet
from tests.unit import test_store

wait_for = partial(wait_until, timeout=60)

# the same tests as SQLite's, with the fixtures below
SQLITE_ONLY = (
    "test_a_store_that_takes_nothing_loses_nothing",
    "test_sqlite_is_opened_for_readers_beside_a_writer",
    "test_the_write_ahead_log_stays_small",
)
"""They speak SQLite's own language."""
globals().update(
    {name: each for name, each in vars(test_store).items() if name.startswith("test_") and name not in SQLITE_ONLY}
)
for same in (
    test_pipeline.test_twenty_thousand_events_are_all_kept,
    test_trace.test_a_dead_mailbox_is_suppressed_and_a_new_container_knows,
    test_trace.test_a_kill_loses_no_event_and_is_told,
):
    globals()[same.__name__] = same


@dataclass(frozen=True)
class Store:
    """A database of its own, with its owner's password."""

    name: str
    password: str

    def url(self, **parameters: str) -> str:
        given = {"sslmode": "verify-full", "sslrootcert": "/etc/postroad/ca.pem", **parameters}
        return f"postgresql://{self.name}@db.store.example/{self.name}?" + "&".join(map("=".join, given.items()))


@pytest.fixture
def store(postgres: Postgres) -> Store:
    made = Store(f"relay_{secrets.token_hex(4)}", secrets.token_urlsafe(12))
    postgres.add_database(made.name, made.password)
    return made


@pytest.fixture
def engine(postgres: Postgres, store: Store) -> Iterator[Engine]:
    made = database.connect_server(f"postgresql://{store.name}@{postgres.address}/{store.name}", store.password)
    assert not database.is_current(made)
    database.upgrade(made)
    assert database.is_current(made)
    yield made
    made.dispose()


class PostgresRelays(Relays):
    """Relays that keep their events in one database."""

    def __init__(self, image: str, internet: Internet, store: Store, folder: Path) -> None:
        super().__init__(image, internet)
        self.store = store
        self.files = {"ca.pem": internet.ca_certificate(), "password": store.password.encode()}
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o644)
        self.mounts = {str(folder / name): f"/etc/postroad/{name}" for name in self.files}

    def __call__(self, *, publish: bool = True, recording: bool = True, **config: Any) -> PostroadContainer:
        """Start one, and wait until its tables are there if ``recording``."""
        kept = {"store": self.store.url(), "store_password_file": "/etc/postroad/password"}
        config["events"] = kept | config.get("events", {})
        relay = super().__call__(publish=publish, mounts=self.mounts, **config)
        if recording:
            wait_for(lambda: get(relay, "/metrics")[0] == 200)
        return relay


@pytest.fixture
def start_relay(
    image: str, internet: Internet, store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[PostgresRelays]:
    relays = PostgresRelays(image, internet, store, tmp_path)
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        yield relays
        assert not [relay for relay in relays.started if store.password in relay.log()]


def test_mail_flows_without_the_server(
    start_relay: PostgresRelays, postgres: Postgres, internet: Internet, store: Store
) -> None:
    postgres.stop()
    try:
        relay = start_relay(recording=False)
        first = send(relay, letter())
        internet.wait_for_message(first)
        where = f"postgresql://{store.name}@db.store.example/{store.name}"
        wait_for(lambda: f"event store at {where} can't be written, events wait in the journal: conn" in relay.log())
        assert get(relay, "/readyz")[0] == 200
        assert get(relay, "/metrics")[0] == 503
        code, text = relay.shell("postroad trace app@sender.example")
        assert code == 1
        assert "the event store can't be read: " in text
        assert "Traceback" not in text
    finally:
        postgres.start()
    wait_for(lambda: "the event store is written again" in relay.log())
    wait_for(lambda: get(relay, "/metrics")[0] == 200)
    wait_for(lambda: status(relay, first) == {"user@rcpt.example": "delivered"})
    postgres.stop()
    try:
        second = send(relay, letter())
        internet.wait_for_message(second)
        wait_for(lambda: relay.log().count("events wait in the journal") == 2)
    finally:
        postgres.start()
    wait_for(lambda: relay.log().count("the event store is written again") == 2)
    assert status(relay, second) == {"user@rcpt.example": "delivered"}
    assert not gaps(relay, first)
    assert not any(event.get("state") == "degraded" for event in relay.events())


FROZEN = """
from dataclasses import replace
from postroad.recorder import loop, patience
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT
loop.LIMIT = patience.LIMIT = 1.0
def again(_):
    raise SystemExit(json.dumps("anew"))
loop.Recorder.begin_anew = again
one = loop.Recorder(replace(recording.load(CURRENT), http=None))
try:
    one.run()
except SystemExit as end:
    return str(end)
"""


def test_a_frozen_server_is_asked_anew_and_told(start_relay: PostgresRelays, postgres: Postgres) -> None:
    relay = start_relay()
    postgres.pause()
    try:
        assert "anew" in inside(relay, FROZEN)
        wait_for(lambda: "wait in the journal: the server has not answered for 1 s, it is asked anew" in relay.log())
    finally:
        postgres.unpause()
    message_id = send(relay, letter())
    wait_for(lambda: status(relay, message_id) == {"user@rcpt.example": "delivered"})


def test_the_password_and_the_driver_are_where_they_have_to_be(start_relay: PostgresRelays, store: Store) -> None:
    relay = start_relay()
    code, text = relay.shell(
        "postroad check; postroad render; cat /run/postroad/current/config.json; ps ax; tr '\\0' '\\n' < /proc/1/environ;"
        " cat /proc/[0-9]*/cmdline"
    )
    assert store.password not in text, code
    readable = relay.shell(
        f"find /run/postroad /var/lib/postroad /tmp -type f -perm /077 -exec grep -l '{store.password}' {{}} +"
    )[1]
    assert readable == ""
    recorder = "for p in /proc/[0-9]*; do grep -qs postroad.recorder $p/cmdline && cat $p/maps; done"
    wait_for(lambda: "libpq.so" in relay.shell(recorder)[1])
    other = Relays(start_relay.image, start_relay.internet)
    with other.stack:
        relay = other(publish=False)
        wait_for(lambda: relay.shell("postroad trace x@y.example")[1] == "nothing is known of x@y.example\n")
        assert "libpq.so" not in relay.shell(recorder)[1]


def test_a_server_that_another_authority_vouches_for_gets_no_password(
    start_relay: PostgresRelays, internet: Internet, store: Store
) -> None:
    relay = start_relay(recording=False, events={"store": store.url(sslrootcert="system")})
    message_id = send(relay, letter())
    internet.wait_for_message(message_id)
    wait_for(lambda: "certificate verify failed" in relay.log())


def test_two_relays_in_one_database(start_relay: PostgresRelays) -> None:
    relays = [start_relay(publish=False)]
    relays[0].command("suppress", "add", "gone@rcpt.example")
    relays.append(start_relay(publish=False))  # its map is made of what is in the database
    wait_for(lambda: refused(relays[1], "gone@rcpt.example")[0] == 550)
    sent = [send(relay, letter(To=f"tempfail-{number}@rcpt.example")) for number, relay in enumerate(relays * 5)]
    for relay in relays:
        wait_for(partial(_knows, relay, sent))
    total = json.loads(relays[0].command("stats", "--json"))["groups"]
    assert [row["accepted"] for row in total if row["sender_domain"] == "sender.example"] == [len(sent)]


def _knows(relay: PostroadContainer, sent: list[str]) -> bool:
    found = messages(relay, "app@sender.example")
    return {message["message_id"] for message in found if message["status"] != "rejected"} == {*sent}


def test_a_relay_that_goes_for_good_takes_no_event_with_it(
    start_relay: PostgresRelays, engine: Engine, internet: Internet
) -> None:
    """It stops as soon as its mail is delivered, when its recorder may not even have begun."""
    relay = start_relay(recording=False)
    message_id = send(relay, letter())
    internet.wait_for_message(message_id)
    relay.get_wrapped_container().stop(timeout=30)
    relay.get_wrapped_container().wait()
    with engine.connect() as connection:
        query = select(EVENTS.c.kind).where(EVENTS.c.message_id == message_id)
        kinds = set(connection.execute(query).scalars())
    assert kinds >= {"accepted", "delivered"}


def test_a_newer_postroad_s_tables(
    start_relay: PostgresRelays, store: Store, engine: Engine, internet: Internet
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    relay = start_relay(recording=False)
    internet.wait_for_message(send(relay, letter()))
    wait_for(lambda: "was made by a newer Postroad" in relay.log())
    assert "recorder" not in {event.get("program") for event in relay.events() if event["event"] == "stopped"}
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{database.REVISION}'")
    wait_for(lambda: "the event store is written again" in relay.log())
    assert status(relay, "app@sender.example") == {"user@rcpt.example": "delivered"}
