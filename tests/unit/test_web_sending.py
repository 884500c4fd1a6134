"""``POST /v1/messages``: what reaches the listener, what is answered, and that a request is made once."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from postroad.runtime import log
from postroad.secrets.api_keys import digest
from postroad.store import requests
from postroad.store.schema import REQUESTS
from postroad.web import operations
from tests.unit import api
from tests.unit.api import KEYS, READER, SETTINGS, bearer
from tests.unit.listener import Listener
from tests.unit.test_web_app import is_problem
from tests.unit.test_web_compose import BASE

RAW = b"From: a@sender.example\r\nMessage-ID: <raw@x>\r\nSubject: hi\r\n\r\n.\r\nHello \xff\r\n"
ID = "4AQ00000000001"


def raw(message: bytes = RAW, **more: Any) -> dict[str, Any]:
    given = {
        "raw": base64.b64encode(message).decode(),
        "return_path": "a@sender.example",
        "recipients": ["x@there.example"],
    }
    return given | more


def test_a_message_is_accepted_as_the_key_s_user(calls: api.Api, listener: Listener) -> None:
    answer = calls.post("/v1/messages", BASE | {"cc": ["y@there.example"], "bcc": ["z@there.example"]})
    assert answer.status_code == 202
    found = answer.json()
    assert found["id"] == ID
    assert [each["address"] for each in found["recipients"]] == [
        "x@there.example",
        "y@there.example",
        "z@there.example",
    ]
    assert found["recipients"][0] == {
        "address": "x@there.example", "status": "accepted", "id": ID, "code": 250,
        "reply": f"2.0.0 {ID} Message accepted for delivery",
    }  # fmt: skip
    (taken,) = listener.taken
    assert (taken.user, taken.sender) == ("app@mail.sender.example", "a@sender.example")
    assert f"Message-ID: {found['message_id']}\r\n".encode() in taken.data
    assert b"z@there.example" not in taken.data


def test_bounces_go_to_the_return_path(calls: api.Api, listener: Listener) -> None:
    calls.post("/v1/messages", BASE | {"return_path": "bounces@sender.example"})
    assert listener.taken[0].sender == "bounces@sender.example"
    assert b"bounces@" not in listener.taken[0].data


@pytest.mark.parametrize("message", [RAW, RAW.replace(b"\r\n", b"\n")])
def test_a_raw_message_leaves_as_it_is(calls: api.Api, listener: Listener, message: bytes) -> None:
    answer = calls.post("/v1/messages", raw(message))
    assert answer.status_code == 202
    assert answer.json()["message_id"] == "<raw@x>"
    assert listener.taken[0].data == RAW


def test_a_raw_message_without_a_message_id_has_none(calls: api.Api) -> None:
    assert "message_id" not in calls.post("/v1/messages", raw(b"From: a@sender.example\n\nhi\n")).json()


@pytest.mark.parametrize(
    "message",
    [
        b"a: b\r\n\r\nx\ny\r\n",
        b"a: b\n\nx\r\n",
        b"a: b\r\n\r\nx\ry\r\n",
        b"a: b\n\nx\0y\n",
        b"a: b\r\n\r\n.\n.\r\n",
        b"\r",
    ],
)
def test_line_ends_that_could_not_arrive_as_they_are_are_refused(
    calls: api.Api, listener: Listener, message: bytes
) -> None:
    found = is_problem(calls.post("/v1/messages", raw(message)), 422, "invalid")
    assert [fault["pointer"] for fault in found["faults"]] == ["#/raw"]
    assert not listener.commands


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"from": "nobody"}, ["#/from/address"]),
        ({"to": ["x@there.example", "y"]}, ["#/to/1/address"]),
        ({"to": []}, ["#/to"]),
        ({"text": None}, ["#/text"]),
        ({"subject": "a\nb", "html": "\0"}, ["#/subject", "#/html"]),
        ({"headers": {"Bcc": "y@there.example"}}, ["#/headers"]),
        ({"to": [f"u{n}@a.example" for n in range(600)], "cc": [f"u{n}@b.example" for n in range(600)]}, ["#/to"]),
        ({"frm": "x"}, ["#/frm"]),
        ({"raw": "eA=="}, ["#/return_path", "#/recipients", "#/from", "#/to", "#/subject", "#/text"]),
    ],
)
def test_values_that_are_not_accepted_are_named(
    calls: api.Api, listener: Listener, changes: dict[str, Any], pointers: list[str]
) -> None:
    found = is_problem(calls.post("/v1/messages", BASE | changes), 422, "invalid")
    assert [fault["pointer"] for fault in found["faults"]] == pointers
    assert not listener.commands


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_is_no_message(calls: api.Api, body: bytes) -> None:
    headers = bearer(api.SHOP) | {"Content-Type": "application/json"}
    is_problem(calls.client.post("/v1/messages", content=body, headers=headers), 400, "not-json")


@pytest.mark.parametrize("body", [b"null", b"[]", b"3", b'"raw"', b"{}"])
def test_json_of_another_shape_is_no_message(calls: api.Api, body: bytes) -> None:
    headers = bearer(api.SHOP) | {"Content-Type": "application/json; charset=utf-8"}
    is_problem(calls.client.post("/v1/messages", content=body, headers=headers), 422, "invalid")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_form_of_another_site_is_no_request(calls: api.Api, kind: str | None) -> None:
    headers = bearer(api.SHOP) | ({"Content-Type": kind} if kind else {})
    answer = calls.client.post("/v1/messages", content=json.dumps(BASE).encode(), headers=headers)
    is_problem(answer, 415, "media-type")


def test_a_key_without_the_right_sends_nothing(calls: api.Api, listener: Listener) -> None:
    is_problem(calls.post("/v1/messages", BASE, READER), 403, "forbidden")
    assert not listener.commands


def test_a_request_without_a_key_is_refused_before_it_is_read(calls: api.Api) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("it was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/messages", "raw_path": b"/v1/messages", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"10")], "client": ("192.0.2.1", 1),
    }  # fmt: skip
    made: Any = calls.client.app
    asyncio.run(made(scope, receive, send))
    assert sent[0]["status"] == 401


def test_a_message_that_is_too_large_is_refused_here(engine: Engine, listener: Listener, tmp_path: Path) -> None:
    small = api.of(engine, replace(SETTINGS, submission=listener.port, message_size=1000), tmp_path / "gen-1")
    is_problem(small.post("/v1/messages", BASE | {"text": "x" * 1000}), 413, "too-large")
    is_problem(small.post("/v1/messages", BASE | {"text": "x" * 2 * operations.SMALL}), 413, "too-large")

    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    headers = bearer(api.SHOP) | {"Content-Type": "application/json"}
    is_problem(small.client.post("/v1/messages", content=take(endless(), 40), headers=headers), 413, "too-large")
    assert small.post("/v1/messages", BASE).status_code == 202
    small.close()


def take(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    for _ in range(most):
        yield next(chunks)


# --- what the relay refuses


def test_each_recipient_has_its_own_answer(calls: api.Api, listener: Listener) -> None:
    replies = {
        "dead@there.example": "550 5.7.1 this address is suppressed (userunknown)",
        "slow@there.example": "451 4.7.1 later",
    }
    listener.rcpt = lambda address: replies.get(address, "250 ok")
    answer = calls.post("/v1/messages", BASE | {"to": ["dead@there.example", "x@there.example", "slow@there.example"]})
    assert answer.status_code == 202
    found = [(each["status"], each.get("class"), each.get("id")) for each in answer.json()["recipients"]]
    assert found == [("refused", "suppressed", None), ("accepted", None, ID), ("failed", None, None)]


@pytest.mark.parametrize(
    ("replies", "status", "kind", "detail"),
    [
        (["550 5.1.1 no", "550 5.1.1 no"], 422, "refused", "5.1.1 no"),
        (["550 5.1.1 no", "550 5.7.1 neither"], 422, "refused", "No recipient was accepted: recipients tells why."),
        (["550 5.1.1 no", "451 4.7.1 later"], 503, "failed", "No recipient was accepted: recipients tells why."),
    ],
)
def test_where_nobody_gets_it_it_is_a_problem(
    calls: api.Api, listener: Listener, replies: list[str], status: int, kind: str, detail: str
) -> None:
    listener.rcpt = lambda address: replies[int(address[0])]
    answer = calls.post("/v1/messages", BASE | {"to": ["0@there.example", "1@there.example"]})
    found = is_problem(answer, status, kind)
    assert found["detail"] == detail
    assert [f"{each['code']} {each['reply']}" for each in found["recipients"]] == replies
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_sender_of_another_s_domain_is_refused_by_the_relay_s_rules(calls: api.Api, listener: Listener) -> None:
    listener.mail = lambda sender: f"550 5.7.1 user app may not send as {sender.partition('@')[2]}"
    found = is_problem(calls.post("/v1/messages", BASE | {"from": "a@other.example"}), 422, "refused")
    assert found["detail"] == "5.7.1 user app may not send as other.example"


def test_a_relay_that_takes_nothing_is_a_503_that_tells_no_stranger_why(calls: api.Api, listener: Listener) -> None:
    listener.close()
    found = is_problem(calls.post("/v1/messages", BASE), 503, "unavailable")
    assert found["detail"] == "The relay takes no messages just now; its log says why."


def test_what_nobody_answered_is_not_known(calls: api.Api, listener: Listener) -> None:
    listener.end = lambda _: None
    found = is_problem(calls.post("/v1/messages", raw()), 504, "unknown")
    assert found["message_id"] == "<raw@x>"
    assert found["recipients"][0]["status"] == "unknown"


# --- once


def test_a_request_with_a_key_is_made_once(calls: api.Api, listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    first, second = (calls.post("/v1/messages", given) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert len(listener.taken) == 1
    calls.post("/v1/messages", given | {"idempotency_key": "order-2"})
    assert len(listener.taken) == 2


def test_another_body_with_the_same_key_is_a_mistake(calls: api.Api, listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    calls.post("/v1/messages", given)
    is_problem(calls.post("/v1/messages", given | {"to": ["y@there.example"]}), 422, "idempotency-key")
    assert len(listener.taken) == 1


def test_the_keys_of_two_callers_are_two(engine: Engine, listener: Listener, tmp_path: Path) -> None:
    other = "other-" + "o" * 40
    keys = (KEYS[0], replace(KEYS[0], name="other", digest=digest(other)))
    both = api.of(engine, replace(SETTINGS, keys=keys, submission=listener.port), tmp_path / "gen-1")
    for key in (api.SHOP, other):
        assert both.post("/v1/messages", BASE | {"idempotency_key": "order-1"}, key).status_code == 202
    both.close()
    assert len(listener.taken) == 2


def test_of_many_at_once_one_is_made(calls: api.Api, listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    with calls.client, ThreadPoolExecutor(8) as pool:  # one event loop, as a server has
        found = list(pool.map(lambda _: calls.post("/v1/messages", given).status_code, range(16)))
    assert set(found) <= {202, 409}
    assert len(listener.taken) == 1


def test_what_was_refused_may_be_made_again(calls: api.Api, listener: Listener) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    for reply in ("550 5.7.1 this address is suppressed", "451 4.7.1 later"):
        listener.rcpt = lambda _, reply=reply: reply  # type: ignore[misc]
        assert calls.post("/v1/messages", given).status_code in {422, 503}
    listener.rcpt = lambda _: "250 ok"
    assert calls.post("/v1/messages", given).status_code == 202


def test_what_nobody_answered_is_not_made_again(calls: api.Api, listener: Listener) -> None:
    given = raw(idempotency_key="order-1")
    listener.end = lambda _: None
    is_problem(calls.post("/v1/messages", given), 504, "unknown")
    found = is_problem(calls.post("/v1/messages", given), 409, "under-way")
    assert "Its Message-ID is <raw@x>." in found["detail"]
    assert listener.commands.count("DATA") == 1


def test_after_a_day_a_key_is_forgotten(calls: api.Api, listener: Listener, engine: Engine) -> None:
    given = BASE | {"idempotency_key": "order-1"}
    calls.post("/v1/messages", given)
    with engine.begin() as connection:
        connection.execute(update(REQUESTS).values(time=time.time() - requests.KEEP + 60))
    calls.post("/v1/messages", given)
    assert len(listener.taken) == 1
    with engine.begin() as connection:
        connection.execute(update(REQUESTS).values(time=time.time() - requests.KEEP - 1))
    calls.post("/v1/messages", given)
    assert len(listener.taken) == 2
    with engine.connect() as connection:
        assert len(connection.execute(select(REQUESTS)).all()) == 1


def test_without_a_store_only_what_needs_it_is_refused(
    engine: Engine, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "tell", lambda *_: None)
    calls = api.of(engine, replace(SETTINGS, submission=listener.port), tmp_path / "gen-1")
    with engine.begin() as connection:
        REQUESTS.drop(connection)
    is_problem(calls.post("/v1/messages", BASE | {"idempotency_key": "order-1"}), 503, "unavailable")
    assert not listener.taken
    assert calls.post("/v1/messages", BASE).status_code == 202
    calls.close()


def test_a_message_whose_answer_cannot_be_kept_is_accepted_all_the_same(
    calls: api.Api, listener: Listener, engine: Engine
) -> None:
    def end(_: bytes) -> str:
        with engine.begin() as connection:
            REQUESTS.drop(connection)
        return f"250 2.0.0 {ID} Message accepted for delivery"

    listener.end = end
    assert calls.post("/v1/messages", BASE | {"idempotency_key": "order-1"}).json()["id"] == ID
