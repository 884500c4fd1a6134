"""Tags of messages: kept before a message is handed over, told with what became of it, forgotten with its events."""

import json
from dataclasses import replace
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, select, update

from postroad.errors import PostroadError
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime import log
from postroad.store import database, tags
from postroad.store.schema import TAGS
from postroad.store.tags import Tagged
from postroad.webhooks import outbox
from tests.unit import api, vendors
from tests.unit.api import READER, SHOP, put
from tests.unit.commands import run
from tests.unit.handed import HOOK, recorded
from tests.unit.listener import Listener
from tests.unit.test_web_compose import BASE
from tests.unit.test_web_reading import ids
from tests.unit.test_web_sending import raw
from tests.unit.vendors import Relay


def kept(engine: Engine) -> set[tuple[str, str]]:
    with engine.connect() as connection:
        return {(row.message_id, row.tag) for row in connection.execute(select(TAGS))}


def test_a_message_s_tags_are_told_with_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "existing", lambda: engine)
    tags.put(
        engine,
        [Tagged("<q1@x>", "App@Sender.example", ["spring", "a", "spring"]), Tagged("<q2@x>", "a@sender.example", [])],
    )
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "delivered")
    calls = api.of(engine)
    one, other = (calls.get(f"/v1/messages/{name}").json()["messages"][0] for name in ("q1", "q2"))
    assert one["tags"] == ["a", "spring"]
    assert "tags" not in other
    assert json.loads(run("trace", "q1", "--json").out)["messages"][0]["tags"] == ["a", "spring"]
    events = calls.get("/v1/events").json()["events"]
    assert [each["data"].get("tags") for each in events] == [["a", "spring"]] * 2 + [None] * 2


def test_messages_are_found_and_counted_by_tag(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "existing", lambda: engine)
    for name, of in (("q1", ["a", "b"]), ("q2", ["b"]), ("q3", [])):
        tags.put(engine, [Tagged(f"<{name}@x>", "app@sender.example", of)])
        put(engine, name, "accepted", "bounced" if name == "q2" else "delivered")
    calls = api.of(engine)
    assert ids(calls.get("/v1/messages?tag=b")) == ["q2", "q1"]
    assert ids(calls.get("/v1/messages?tag=a", READER)) == ["q1"]
    assert ids(calls.get("/v1/messages?tag=c")) == []
    groups = calls.get("/v1/stats?by=tag").json()["groups"]
    assert [(each["tag"], each["accepted"], each["delivered"], each["bounced"]) for each in groups] == [
        ("b", 2, 1, 1),
        ("a", 1, 1, 0),
    ]
    assert json.loads(run("stats", "--by", "tag", "--json").out)["groups"] == groups


def test_a_message_id_that_is_repeated_takes_nobody_s_tags(engine: Engine) -> None:
    tags.put(engine, [Tagged("<q1@x>", "a@sender.example", ["mine"])])
    put(engine, "q1", "accepted", sender="b@other.example")
    tags.put(engine, [Tagged("<q1@x>", "b@other.example", ["theirs"])])
    put(engine, "q2", "accepted", message_id="<q1@x>")
    found = {each["queue_id"]: each["tags"] for each in api.of(engine).get("/v1/messages").json()["messages"]}
    assert found == {"q1": ["theirs"], "q2": ["mine"]}
    tags.put(engine, [Tagged("<q1@x>", "c@sender.example", ["again"])])
    assert kept(engine) == {("<q1@x>", "again"), ("<q1@x>", "theirs")}


def test_webhooks_have_them(engine: Engine) -> None:
    tags.put(engine, [Tagged("<q1@x>", "a@sender.example", ["a"])])
    about = {"time": "2026-11-24T10:00:00Z", "queue_id": "q1", "message_id": "<q1@x>", "sender": "a@sender.example"}
    events = ({"event": "delivered", **about, "recipient": "x@y.z"},)
    writer.write(
        engine, Batch(events, Position("journal-1.jsonl", 1)), recorded(webhooks=(replace(HOOK, types=("delivered",)),))
    )
    (found,) = outbox.due(engine, "app", 10)
    assert found.event["tags"] == ["a"]


def test_they_are_forgotten_with_the_events(engine: Engine) -> None:
    for name, ago in (("q1", 9000.0), ("q2", 60.0)):
        tags.put(engine, [Tagged(f"<{name}@x>", "app@sender.example", ["a"])])
        put(engine, name, "accepted", ago=ago)
    with engine.begin() as connection:
        connection.execute(update(TAGS).where(TAGS.c.message_id == "<q1@x>").values(time=TAGS.c.time - 9000))
    writer.forget(engine, 10_000, 2**30)
    assert len(kept(engine)) == 2
    writer.forget(engine, 3600, 2**30)
    assert kept(engine) == {("<q2@x>", "a")}


@pytest.mark.parametrize("tag", ["ü" * 300, "😀", "' OR 1=1 --", "a,b", " ", "%"])
def test_any_line_may_be_a_tag(calls: api.Api, engine: Engine, tag: str) -> None:
    answer = calls.post("/v1/messages", BASE | {"tags": [tag]}).json()
    assert kept(engine) == {(answer["message_id"], tag)}
    put(engine, "q1", "accepted", message_id=answer["message_id"])
    assert ids(calls.client.get("/v1/messages", params={"tag": tag}, headers=api.bearer(api.ALL))) == ["q1"]


@pytest.mark.parametrize("given", [["a"] * 31, ["x" * 301], [""], ["a\nb"], "a", [1]])
def test_other_tags_are_refused(calls: api.Api, listener: Listener, given: Any) -> None:
    assert calls.post("/v1/messages", BASE | {"tags": given}).status_code == 422
    assert not listener.commands


def test_a_raw_message_with_tags_has_a_message_id(calls: api.Api, engine: Engine, listener: Listener) -> None:
    first = calls.post("/v1/messages", raw(b"From: a@sender.example\n\nhi\n", tags=["a"])).json()
    second = calls.post("/v1/messages", raw(tags=["b"])).json()
    assert kept(engine) == {(first["message_id"], "a"), (second["message_id"], "b")}
    assert (
        listener.taken[0].data == f"Message-ID: {first['message_id']}\r\nFrom: a@sender.example\r\n\r\nhi\r\n".encode()
    )
    assert second["message_id"] == "<raw@x>"


def test_receivers_do_not_see_them(calls: api.Api, listener: Listener) -> None:
    calls.post("/v1/messages", BASE | {"tags": ["internal-word"]})
    assert b"internal-word" not in listener.taken[0].data


def test_without_the_store_a_message_leaves_without_them(
    listener: Listener, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text: said.append(text))

    def fails() -> Engine:
        raise PostroadError("the event store is gone")

    calls = api.of(fails, replace(api.SETTINGS, submission=listener.port), tmp_path / "gen-1")
    assert calls.post("/v1/messages", BASE | {"tags": ["a"]}, SHOP).status_code == 202
    calls.close()
    assert said == ["web: the tags of 1 messages could not be kept: the event store is gone"]


def test_what_vendors_call_otherwise_is_a_tag(relay: Relay) -> None:
    bearer = {"Authorization": f"Bearer {vendors.SHOP}"}
    mail = {
        "personalizations": [{"to": [{"email": f"u{n}@there.example"}], "custom_args": {"n": f"{n}"}} for n in range(2)],
        "from": {"email": "shop@sender.example"}, "subject": "x", "content": [{"type": "text/plain", "value": "x"}],
        "categories": ["grid"],
    }  # fmt: skip
    assert requests.post(f"{relay.url}/v3/mail/send", json=mail, headers=bearer, timeout=60).status_code == 202
    email = {
        "From": "shop@sender.example",
        "To": "x@there.example",
        "TextBody": "x",
        "Tag": "mark",
        "Metadata": {"a": "1"},
    }
    token = {"X-Postmark-Server-Token": vendors.SHOP}
    assert requests.post(f"{relay.url}/email", json=email, headers=token, timeout=60).status_code == 200
    form = {"from": "shop@sender.example", "to": "x@there.example", "text": "x", "o:tag": ["gun", "b"], "v:id": "7"}
    answer = requests.post(f"{relay.url}/v3/sender.example/messages", data=form, auth=("api", vendors.SHOP), timeout=60)
    assert answer.status_code == 200
    by_message: dict[str, list[str]] = {}
    for message_id, tag in sorted(kept(relay.engine)):
        by_message.setdefault(message_id, []).append(tag)
    assert set(by_message) == {each["Message-ID"] for each in relay.messages}
    assert sorted(by_message.values()) == [["a=1", "mark"], ["b", "gun", "id=7"], ["grid", "n=0"], ["grid", "n=1"]]
