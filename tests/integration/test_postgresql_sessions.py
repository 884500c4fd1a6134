"""PostgreSQL as others have it: a database in another encoding, a pooler in between."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from postroad.checks import store
from postroad.feedback import suppression
from postroad.runtime import recording
from postroad.store import database, queries, relays
from tests.integration.conftest import wait_until
from tests.internet.host import Postgres
from tests.unit.handed import recorded
from tests.unit.test_store import put, story

OpenStore = Callable[[str], Engine]


@pytest.fixture
def open_store(postgres: Postgres) -> Iterator[OpenStore]:
    """Makes a database in an encoding and opens it, without tables."""
    with ExitStack() as stack:

        def made(encoding: str) -> Engine:
            name, password = f"relay_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
            postgres.add_database(name, password, encoding)
            engine = database.connect_server(f"postgresql://{name}@{postgres.address}/{name}", password)
            stack.callback(engine.dispose)
            return engine

        yield made


@pytest.mark.parametrize(
    ("encoding", "kept"),
    [
        ("UTF8", "jürgen€@b.example"),
        ("SQL_ASCII", "jürgen€@b.example"),
        ("LATIN1", r"j\xfcrgen\u20ac@b.example"),
        ("EUC_JP", r"j\xfcrgen\u20ac@b.example"),
    ],
)
def test_a_database_in_any_encoding_keeps_and_finds_any_text(open_store: OpenStore, encoding: str, kept: str) -> None:
    engine = open_store(encoding)
    assert not database.is_current(engine)
    database.upgrade(engine)
    assert database.is_current(engine)
    put(engine, story("q1", "accepted", "bounced", sender="jürgen€@b.example", reply="550 inconnu é ☃"))
    for name in ("jürgen€@b.example", "q1"):
        (found,) = queries.trace(engine, name, 10)
        assert found.sender == "jürgen€@b.example"
        assert found.events[-1]["reply"] == "550 inconnu é ☃"
    assert queries.trace(engine, "☃", 10) == []
    (row,) = queries.counts(engine, 0, "sender-domain")
    assert (row["sender_domain"], row["bounced"]) == ("b.example", 1)
    entry = suppression.SuppressedAddress("u@rcpt.example", "manual", 1.0, None, "said é ☃ \0")
    with database.writing(engine) as connection:
        suppression.add(connection, [entry])
        assert connection.execute(text("SELECT sender FROM events WHERE kind = 'bounced'")).scalar() == kept


def test_an_encoding_that_can_t_be_had_in_utf_8_is_told_in_a_line(open_store: OpenStore) -> None:
    engine = open_store("MULE_INTERNAL")
    with pytest.raises(OperationalError) as refused:
        database.is_current(engine)
    assert "conversion between UTF8 and MULE_INTERNAL is not supported" in database.reason(refused.value)
    url = engine.url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    settings = recorded(store=recording.DatabaseServer(url, engine.url.password))
    found = store.look(settings)
    assert (found.level, found.message) == ("warning", "the event database can't be used")
    assert found.seen.endswith("MULE_INTERNAL is not supported")
    (told,) = database.unreachable(settings)
    assert "can't be used: " in told
    assert "MULE_INTERNAL is not supported" in told
    assert "\n" not in told


def test_the_doctor_says_how_the_database_is_reached(open_store: OpenStore, postgres: Postgres) -> None:
    engine = open_store("LATIN1")
    name, password = str(engine.url.database), engine.url.password

    def look(port: int | None = None) -> tuple[str, str]:
        address = postgres.address if port is None else f"{postgres.address.partition(':')[0]}:{port}"
        url = f"postgresql://{name}@{address}/{name}"
        found = store.look(recorded(store=recording.DatabaseServer(url, password)))
        assert str(password) not in found.seen
        return found.message, found.seen

    assert look()[0] == "the event database has not got our tables yet"
    database.upgrade(engine)
    for number, relay in enumerate(("mail-1", "mail-0"), 2):
        relays.register(engine, number, relay)
    message, seen = look()
    assert message == "the event database answers"
    assert seen.endswith("encoding LATIN1; relays: mail-0, mail-1; changes by others are seen at once")
    port = postgres.start_pooler()
    wait_until(lambda: look(port)[0] == message)
    assert "seen within 1 s, as notifications do not pass" in look(port)[1]
