"""The HTTP API of relays that share a PostgreSQL database: a request is made once, and tags are everybody's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad.store import database, tags
from postroad.store.tags import Tagged
from tests.integration.test_postgresql import Store, engine, store
from tests.internet.host import Postgres
from tests.unit import api
from tests.unit.conftest import listener
from tests.unit.listener import Listener
from tests.unit.test_web_compose import BASE
from tests.unit.test_web_reading import ids

__all__ = ["engine", "listener", "store"]


@pytest.fixture
def two(
    engine: Engine, store: Store, postgres: Postgres, listener: Listener, tmp_path: Path
) -> Iterator[list[api.Api]]:
    """The APIs of two relays, each with connections of its own, before one listener."""
    other = database.connect_server(f"postgresql://{store.name}@{postgres.address}/{store.name}", store.password)
    settings = replace(api.SETTINGS, submission=listener.port)
    made = [api.of(each, settings, tmp_path / "gen-1") for each in (engine, other)]
    yield made
    for each in made:
        each.close()
    other.dispose()


def test_a_request_is_made_once_whichever_relay_it_comes_to(two: list[api.Api], listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    first, second = (each.post("/v1/messages", given) for each in two)
    assert (first.status_code, first.json()) == (202, second.json())
    assert two[1].post("/v1/messages", given | {"subject": "other"}).json()["type"].endswith(":idempotency-key")
    assert len(listener.taken) == 1


def test_of_many_at_once_one_is_made(two: list[api.Api], listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-2"}
    with two[0].client, two[1].client, ThreadPoolExecutor(16) as pool:  # one event loop each, as a server has
        answers = list(pool.map(lambda number: two[number % 2].post("/v1/messages", given), range(32)))
    assert {each.status_code for each in answers} <= {202, 409}
    assert len({each.json()["id"] for each in answers if each.status_code == 202}) == 1
    assert len(listener.taken) == 1


def test_a_request_that_one_relay_could_not_make_is_made_by_the_other(two: list[api.Api], listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-3"}
    listener.rcpt = lambda _: "451 4.7.1 later"
    assert two[0].post("/v1/messages", given).status_code == 503
    listener.rcpt = lambda _: "250 ok"
    assert two[1].post("/v1/messages", given).status_code == 202
    assert len(listener.taken) == 1


def test_tags_of_one_relay_s_messages_are_found_at_the_other(two: list[api.Api], engine: Engine) -> None:
    sent = two[0].post("/v1/messages", BASE | {"tags": ["ü spring", "b"]}).json()
    api.put(engine, "q1", "accepted", "delivered", message_id=sent["message_id"])
    api.put(engine, "q2", "accepted", "delivered")
    (found,) = two[1].get("/v1/messages", params={"tag": "ü spring"}).json()["messages"]
    assert (found["queue_id"], found["tags"]) == ("q1", ["b", "ü spring"])
    assert ids(two[1].get("/v1/messages?tag=none")) == []
    groups = two[1].get("/v1/stats?by=tag").json()["groups"]
    assert sorted((each["tag"], each["accepted"]) for each in groups) == [("b", 1), ("ü spring", 1)]
    tags.put(engine, [Tagged(sent["message_id"], "a@sender.example", ["c"])])
    assert two[1].get("/v1/messages/q1").json()["messages"][0]["tags"] == ["c"]
