"""The OpenAPI document: the one that is kept is the one that is answered, and every answer is what it says."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import Engine

from dev import openapi
from tests.documents import ROOT
from tests.unit import api
from tests.unit.api import ALL, SHOP, put
from tests.unit.listener import Listener
from tests.unit.test_web_compose import BASE
from tests.unit.test_web_hooks import given_up, hooks
from tests.unit.test_web_sending import raw
from tests.unit.test_web_suppressing import maps

__all__ = ["hooks", "maps"]
KEPT = ROOT / "docs" / "openapi.json"
DOCUMENT = json.loads(KEPT.read_text())


def test_the_kept_document_is_the_one_that_is_answered(engine: Engine) -> None:
    assert openapi.text() == KEPT.read_text(), "run make generate"
    assert api.of(engine).client.get("/v1/openapi.json").json() == DOCUMENT


def operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The path of the document that a request's is of, and its operation; the one with fewest parameters."""
    wanted = path.partition("?")[0].split("/")
    for template, found in sorted(DOCUMENT["paths"].items(), key=lambda item: item[0].count("{")):
        parts = template.split("/")
        if len(parts) == len(wanted) and all(a == b or a.startswith("{") for a, b in zip(parts, wanted, strict=True)):
            return template, found[method.lower()]
    raise AssertionError(path)


def check(schema: dict[str, Any], value: Any) -> None:
    whole = {"$ref": schema["$ref"], "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(value)


@pytest.fixture
def stored(calls: api.Api, engine: Engine, maps: Any) -> api.Api:
    put(engine, "q1", "accepted", "deferred", "bounced")
    put(engine, "q2", "accepted", "delivered")
    return calls


REQUESTS: list[tuple[str, str, Any, str, int]] = [
    ("POST", "/v1/messages", BASE | {"tags": ["a"], "idempotency_key": "k"}, SHOP, 202),
    ("POST", "/v1/messages", raw(), SHOP, 202),
    ("POST", "/v1/messages", BASE | {"to": ["x@there.example", "dead@there.example", "slow@there.example"]}, SHOP, 202),
    ("POST", "/v1/messages", BASE | {"to": ["dead@there.example"]}, SHOP, 422),
    ("POST", "/v1/messages", BASE | {"to": ["slow@there.example"]}, SHOP, 503),
    ("POST", "/v1/messages", BASE | {"to": ["nobody"]}, SHOP, 422),
    ("GET", "/v1/messages", None, ALL, 200),
    ("GET", "/v1/messages?limit=1", None, ALL, 200),
    ("GET", "/v1/messages/q1", None, ALL, 200),
    ("GET", "/v1/messages/none", None, ALL, 404),
    ("GET", "/v1/events", None, ALL, 200),
    ("GET", "/v1/stats?by=provider", None, ALL, 200),
    ("GET", "/v1/stats?by=x", None, ALL, 422),
    ("GET", "/v1/stats", None, SHOP, 403),
    ("GET", "/v1/stats", None, "unknown", 401),
    ("POST", "/v1/suppressions", {"addresses": ["gone@there.example"], "days": 1}, ALL, 200),
    ("GET", "/v1/suppressions", None, ALL, 200),
    ("DELETE", "/v1/suppressions/none@there.example", None, ALL, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "key", "status"), REQUESTS)
def test_an_answer_is_what_the_document_says(
    stored: api.Api, listener: Listener, method: str, path: str, body: Any, key: str, status: int
) -> None:
    replies = {
        "dead@there.example": "550 5.7.1 this address is suppressed (x)",
        "slow@there.example": "451 4.7.1 later",
    }
    listener.rcpt = lambda address: replies.get(address, "250 ok")
    _, described = operation(method, path)
    if body is not None and status != 422:
        check(described["requestBody"]["content"]["application/json"]["schema"], body)
    answer = stored.client.request(method, path, json=body, headers=api.bearer(key))
    assert answer.status_code == status, answer.text
    ((kind, told),) = described["responses"][str(status)]["content"].items()
    assert answer.headers["content-type"] == kind
    check(told["schema"], answer.json())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/webhooks", None),
        ("GET", "/v1/webhooks/dead", None),
        ("POST", "/v1/webhooks/replay", {"all": True}),
    ],
)
def test_an_answer_about_webhooks_is_too(engine: Engine, hooks: api.Api, method: str, path: str, body: Any) -> None:
    given_up(engine)
    answer = hooks.client.request(method, path, json=body, headers=api.bearer(ALL))
    assert answer.status_code == 200
    _, described = operation(method, path)
    check(described["responses"]["200"]["content"]["application/json"]["schema"], answer.json())


def test_every_operation_is_asked() -> None:
    asked = {(method, operation(method, path)[0]) for method, path, *_ in REQUESTS}
    asked |= {("GET", "/v1/webhooks"), ("GET", "/v1/webhooks/dead"), ("POST", "/v1/webhooks/replay")}
    asked |= {("POST", "/v1/webhooks/test")}  # tests/unit/test_web_hooks.py
    assert asked == {(method.upper(), path) for path, found in DOCUMENT["paths"].items() for method in found}


def test_each_refused_recipient_has_its_own_problem(calls: api.Api, listener: Listener) -> None:
    replies = {"dead@there.example": "550 5.1.1 no", "slow@there.example": "451 4.7.1 later"}
    listener.rcpt = lambda address: replies.get(address, "250 ok")
    everybody = ["x@there.example", *replies]
    found = calls.post("/v1/messages", BASE | {"to": everybody}).json()["recipients"]
    alone = {address: calls.post("/v1/messages", BASE | {"to": [address]}).json() for address in replies}
    for each in found:
        problem = each.get("problem")
        wanted = alone.get(each["address"])
        assert problem == (wanted and {name: wanted[name] for name in ("type", "title", "status", "detail")})
