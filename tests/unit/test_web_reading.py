"""``GET /v1/messages``, ``/v1/messages/{id}``, ``/v1/events``: what commands print, in pages, and of the key's domains alone."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, text

from postroad.store import database, pages
from postroad.store.schema import EVENTS
from tests.unit import api
from tests.unit.api import ALL, READER, put
from tests.unit.commands import run
from tests.unit.test_web_app import is_problem


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each.get("queue_id", "-") for each in answer.json()["messages"]]


def pages_of(calls: api.Api, query: str, key: str = ALL) -> list[str]:
    found: list[str] = []
    cursor = ""
    for _ in range(50):
        answer = calls.get(f"/v1/messages?{query}{cursor}", key)
        found += ids(answer)
        if "next" not in answer.json():
            return found
        cursor = f"&cursor={answer.json()['next']}"
    raise AssertionError("it does not end")


def test_a_message_is_told_as_the_command_tells_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "existing", lambda: engine)
    put(engine, "q1", "accepted", "deferred", "bounced")
    (found,) = api.of(engine).get("/v1/messages/q1").json()["messages"]
    (printed,) = json.loads(run("trace", "q1", "--json").out)["messages"]
    assert found == {name: value for name, value in printed.items() if value is not None}
    assert (found["status"], found["class"], found["attempts"]) == ("bounced", "userunknown", 2)


@pytest.mark.parametrize("name", ["q1", "q1@x", "<q1@x>"])
def test_a_message_has_its_queue_id_and_its_message_id(engine: Engine, name: str) -> None:
    put(engine, "q1", "accepted", "delivered")
    assert ids(api.of(engine).get(f"/v1/messages/{quote(name, safe='')}")) == ["q1"]


@pytest.mark.parametrize(
    "name",
    [
        "app@sender.example", "u@rcpt.example", "", "/", "..", "q1%00", "%", "' OR 1=1 --", "\u202eq1", "😀", "q" * 3000, "-1",
        "1", "None", "<script>alert(1)</script>",
    ],
)  # fmt: skip
def test_what_is_no_id_finds_nothing(engine: Engine, name: str) -> None:
    put(engine, "q1", "accepted", "delivered")
    answer = api.of(engine).get(f"/v1/messages/{quote(name, safe='%')}")
    if answer.status_code == 200:  # with nothing behind the slash it is a list, or nothing
        assert name in {"", "/", ".."}
    else:
        is_problem(answer, 404, "not-found")
        assert "script" not in answer.text


def test_a_key_sees_messages_of_its_domains_alone(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "delivered", sender="b@www.sender.example")
    put(engine, "q3", "accepted", "delivered", sender="c@other.example")
    put(engine, "q4", "accepted", "delivered", sender="d@sender.example.other.example")
    put(engine, "q5", "accepted", "delivered", sender="")
    put(engine, "q6", "accepted", "delivered", sender="e@notsender.example")
    calls = api.of(engine)
    assert ids(calls.get("/v1/messages", READER)) == ["q2", "q1"]
    assert ids(calls.get("/v1/messages?address=u@rcpt.example", READER)) == ["q2", "q1"]
    assert len(ids(calls.get("/v1/messages"))) == 6
    for queue_id in ("q3", "q4", "q5", "q6"):
        is_problem(calls.get(f"/v1/messages/{queue_id}", READER), 404, "not-found")
    assert {each["data"]["queue_id"] for each in calls.get("/v1/events", READER).json()["events"]} == {"q1", "q2"}


def test_messages_come_in_pages_the_newest_first_and_each_once(engine: Engine) -> None:
    for number in range(25):
        put(engine, f"q{number}", "accepted", "deferred", "delivered")
    newest = [f"q{number}" for number in reversed(range(25))]
    calls = api.of(engine)
    for limit in (1, 7, 25, 100):
        assert pages_of(calls, f"limit={limit}") == newest
    put(engine, "q0", "bounced")  # what happens to an old one makes it no new one
    assert pages_of(calls, "limit=10") == newest


def test_messages_are_chosen(engine: Engine) -> None:
    put(engine, "old", "accepted", "delivered", ago=7200)
    put(engine, "gone", "accepted", "bounced", ago=1000)
    put(engine, "late", "accepted", "deferred", ago=500)
    put(engine, "fine", "accepted", "delivered", sender="Other@Sender.example", recipient="X@There.example", ago=100)
    calls = api.of(engine)
    chosen = {
        "status=delivered": ["fine", "old"],
        "status=bounced": ["gone"],
        "class=userunknown": ["gone"],
        "address=x@there.example": ["fine"],
        "address=OTHER@sender.example": ["fine"],
        "address=u@rcpt.example&status=deferred": ["late"],
        "address=nobody@there.example": [],
        f"since={stamp(engine, 'late')}": ["fine", "late"],
        f"until={stamp(engine, 'late')}": ["gone", "old"],
        "relay=mail-0": [],
    }
    assert {query: ids(calls.get(f"/v1/messages?{query}")) for query in chosen} == chosen
    assert pages_of(calls, "status=delivered&limit=1") == ["fine", "old"]


def stamp(engine: Engine, queue_id: str) -> str:
    with engine.connect() as connection:
        row = connection.execute(EVENTS.select().where(EVENTS.c.queue_id == queue_id)).first()
    assert row
    return str(json.loads(row.data)["time"])


def test_a_search_for_what_is_rare_ends_and_says_where_to_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROUNDS", 2)
    put(engine, "rare", "accepted", "bounced")
    for number in range(10):
        put(engine, f"q{number}", "accepted", "delivered")
    answer = api.of(engine).get("/v1/messages?status=bounced&limit=2").json()
    assert answer["messages"] == []
    assert answer["next"]
    assert pages_of(api.of(engine), "status=bounced&limit=2") == ["rare"]


def test_recipients_who_were_refused_are_messages_too(engine: Engine) -> None:
    put(engine, "q1", "rejected", recipient="a@there.example", reply="550 5.7.1 no")
    put(engine, "q1", "accepted", "delivered", recipient="b@there.example")
    put(engine, "q2", "rejected", queue_id=None, message_id=None, recipient="c@there.example", reply="550 5.7.1 no")
    found = api.of(engine).get("/v1/messages").json()["messages"]
    assert {(each.get("queue_id"), each["recipient"], each["status"]) for each in found} == {
        ("q1", "a@there.example", "rejected"),
        ("q1", "b@there.example", "delivered"),
        (None, "c@there.example", "rejected"),
    }


def test_two_relays_messages_with_one_queue_id_are_two(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO relays (id, name) VALUES (2, 'mail-0'), (3, 'mail-1')"))
        connection.execute(text("UPDATE events SET relay = 2"))
    put(engine, "q1", "accepted", "bounced")
    with engine.begin() as connection:
        connection.execute(text("UPDATE events SET relay = 3 WHERE relay IS NULL"))
    calls = api.of(engine)
    found = calls.get("/v1/messages").json()["messages"]
    assert [(each["relay"], each["status"]) for each in found] == [("mail-1", "bounced"), ("mail-0", "delivered")]
    assert [each["relay"] for each in calls.get("/v1/messages?relay=mail-0").json()["messages"]] == ["mail-0"]


HOSTILE = ("<script>alert(1)</script>", '"><img src=x>', "\u202egnp.exe", "a\r\nb: c", "' OR 1=1", "\\u0000", "{{7*7}}")


@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_wrote_is_text(engine: Engine, value: str) -> None:
    put(engine, "q1", "accepted", "bounced", reply=value, relay_host=value, recipient=value, message_id=value)
    calls = api.of(engine)
    for path in ("/v1/messages", "/v1/messages/q1", "/v1/events"):
        answer = calls.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert value in texts(answer.json())


def texts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [found for each in value for found in texts(each)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "#/limit"),
        ("limit=101", "#/limit"),
        ("limit=1e9", "#/limit"),
        ("cursor=x", "#/cursor"),
        ("cursor=-1", "#/cursor"),
        ("cursor=" + "9" * 19, "#/cursor"),
        ("cursor=%D9%A3", "#/cursor"),
        ("status=lost", "#/status"),
        ("since=yesterday", "#/since"),
        ("since=99999-01-01", "#/since"),
        ("since=" + "1" * 5000, "#/since"),
        ("address=", "#/address"),
        ("address=" + "a" * 321, "#/address"),
        ("class_=x", "#/class_"),
        ("senders=x", "#/senders"),
    ],
)
def test_parameters_that_are_not_accepted_are_named(engine: Engine, query: str, pointer: str) -> None:
    found = is_problem(api.of(engine).get(f"/v1/messages?{query}"), 422, "invalid")
    assert [fault["pointer"] for fault in found["faults"]] == [pointer]


def test_a_value_that_no_database_holds_is_no_bug(engine: Engine) -> None:
    calls = api.of(engine)
    for query in ("address=%00", "class=%00%ff", "relay=%00", "cursor=" + "9" * 18, "since=0001-01-01T00:00:00Z"):
        assert calls.get(f"/v1/messages?{query}").status_code == 200, query


# --- events


def read(calls: api.Api, query: str = "") -> tuple[list[str], str]:
    answer = calls.get(f"/v1/events?{query}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [f"{each['data']['queue_id']} {each['data']['event']}" for each in found["events"]], found["next"]


def test_events_are_read_on_where_they_were_left(engine: Engine) -> None:
    put(engine, "q1", "accepted", "deferred", "delivered")
    calls = api.of(engine)
    first, cursor = read(calls, "limit=2")
    assert first == ["q1 accepted", "q1 deferred"]
    second, cursor = read(calls, f"limit=2&after={cursor}")
    assert second == ["q1 delivered"]
    assert read(calls, f"after={cursor}") == ([], cursor)
    put(engine, "q2", "accepted")
    assert read(calls, f"after={cursor}")[0] == ["q2 accepted"]


def test_events_from_now_on(engine: Engine) -> None:
    calls = api.of(engine)
    assert read(calls, "after=now") == ([], "0")
    put(engine, "q1", "accepted")
    none, cursor = read(calls, "after=now")
    assert none == []
    put(engine, "q2", "accepted")
    assert read(calls, f"after={cursor}")[0] == ["q2 accepted"]


def test_events_of_some_kinds_go_past_the_others(engine: Engine) -> None:
    for number in range(5):
        put(engine, f"q{number}", "accepted", "delivered")
    calls = api.of(engine)
    found, cursor = read(calls, "types=delivered&limit=3")
    assert found == ["q0 delivered", "q1 delivered", "q2 delivered"]
    found, cursor = read(calls, f"types=delivered,bounced&limit=3&after={cursor}")
    assert found == ["q3 delivered", "q4 delivered"]
    assert cursor == read(calls, "after=now")[1]


def test_a_store_that_was_emptied_is_read_from_its_beginning(engine: Engine) -> None:
    for number in range(5):
        put(engine, f"q{number}", "accepted")
    calls = api.of(engine)
    _, cursor = read(calls)
    with engine.begin() as connection:
        connection.execute(EVENTS.delete())
    put(engine, "new", "accepted")
    assert read(calls, f"after={cursor}") == (["new accepted"], "1")


@pytest.mark.parametrize(
    "query", ["types=", "types=a,,b", "types=A", "types=" + "a," * 40 + "a", "after=then", "after=-1", "limit=1001"]
)
def test_event_parameters_that_are_not_accepted_are_refused(engine: Engine, query: str) -> None:
    is_problem(api.of(engine).get(f"/v1/events?{query}"), 422, "invalid")
