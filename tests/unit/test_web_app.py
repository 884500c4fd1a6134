"""What all answers of the API have in common: keys, refusals, the document."""

from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import Engine

from postroad.errors import PostroadError
from postroad.store import queries
from postroad.web import problems
from postroad.web.openapi import document
from postroad.web.operations import Budget
from postroad.web.services import Services
from tests.unit import api
from tests.unit.api import ALL, READER, SETTINGS, SHOP, bearer, put


def is_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["type"]) == (status, f"urn:postroad:problem:{kind}")
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", SHOP)],
        [("Authorization", f"Basic {ALL}")],
        [("Authorization", f"Bearer {ALL[:-1]}")],
        [("Authorization", f"Bearer {ALL}a")],
        [("Authorization", f"Bearer {ALL} x")],
        [("Authorization", f"Bearer {ALL},Bearer {ALL}")],
        [("Authorization", f"Bearer {ALL}"), ("Authorization", f"Bearer {ALL}")],
        [("Authorization", "Bearer " + "x" * 1000)],
        [("Authorization", b"Bearer \xff\xfe\x80")],
        [("X-Api-Key", ALL)],
    ],
)
def test_nobody_is_served_without_a_key(engine: Engine, headers: list[tuple[str, Any]]) -> None:
    sent = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    answer = api.of(engine).client.get("/v1/stats", headers=sent)
    is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="postroad"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_in_any_case(engine: Engine, scheme: str) -> None:
    client = api.of(engine).client
    assert client.get("/v1/stats", headers={"Authorization": f"{scheme} {ALL}"}).status_code == 200


def test_a_key_is_for_what_it_has_a_right_to(engine: Engine) -> None:
    found = is_problem(api.of(engine).get("/v1/stats", SHOP), 403, "forbidden")
    assert found["detail"] == "The key shop has no right `read`: see web.keys[].rights."


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1", 404, "not-found"),
        ("GET", "/v1/stats/../../etc/passwd", 404, "not-found"),
        ("GET", "/v1/<script>", 404, "not-found"),
        ("POST", "/v1/stats", 405, "method"),
        ("DELETE", "/v1/openapi.json", 405, "method"),
    ],
)
def test_what_is_not_there_is_a_problem_too(engine: Engine, method: str, path: str, status: int, kind: str) -> None:
    answer = api.of(engine).client.request(method, path, headers=bearer(ALL))
    found = is_problem(answer, status, kind)
    assert "script" not in str(found)


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/nothing", "/v1/openapi.json"])
def test_no_answer_is_kept_or_guessed_at(engine: Engine, path: str) -> None:
    headers = api.of(engine).get(path).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_store_that_cannot_be_read_is_a_503(engine: Engine) -> None:
    def fails() -> Engine:
        raise PostroadError("the event store can't be read: it is gone")

    answer = api.of(fails).get("/v1/stats")
    assert is_problem(answer, 503, "unavailable")["detail"] == "the event store can't be read: it is gone"
    assert answer.headers["retry-after"] == "30"


def test_a_bug_says_nothing_of_itself(engine: Engine) -> None:
    def fails() -> Engine:
        raise ValueError("secret")

    answer = api.of(fails).get("/v1/stats")
    is_problem(answer, 500, "bug")
    assert "secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("since=yesterday", "#/since"),
        ("since=", "#/since"),
        ("by=subject", "#/by"),
        ("by=hour&by=class", "by"),
        ("since=1d&sinse=1d", "#/sinse"),
        ("a/b~c=1", "#/a~1b~0c"),
    ],
)
def test_a_parameter_that_is_not_accepted_is_named(engine: Engine, query: str, pointer: str) -> None:
    found = is_problem(api.of(engine).get(f"/v1/stats?{query}"), 422, "invalid")
    assert [fault["pointer"] for fault in found["faults"]] == [pointer]


def test_faults_are_bounded_and_repeat_no_value(engine: Engine) -> None:
    query = "&".join(f"{'x' * 300}{i}=<secret>" for i in range(100))
    answer = api.of(engine).get(f"/v1/stats?{query}")
    found = is_problem(answer, 422, "invalid")
    assert len(found["faults"]) == problems.MOST_FAULTS
    assert max(len(fault["pointer"]) for fault in found["faults"]) == 200
    assert "<secret>" not in answer.text


PROXIES = replace(SETTINGS, proxies=("172.20.0.0/16", "fd00::/64"))


@pytest.mark.parametrize(
    ("client", "served"),
    [
        ("172.20.3.4", True),
        ("::ffff:172.20.3.4", True),
        ("fd00::9", True),
        ("127.0.0.1", True),
        ("172.21.0.1", False),
        ("::ffff:172.21.0.1", False),
        ("fd00:0:0:1::9", False),
        ("", False),
    ],
)
def test_with_proxies_nobody_else_is_answered(engine: Engine, client: str, served: bool) -> None:
    answer = api.of(engine, PROXIES, client=client).get("/v1/stats")
    if served:
        assert answer.status_code == 200
    else:
        is_problem(answer, 403, "not-a-proxy")


def test_what_a_stranger_says_of_itself_makes_it_no_proxy(engine: Engine) -> None:
    client = api.of(engine, PROXIES, client="203.0.113.9").client
    answer = client.get(
        "/v1/stats", headers=bearer(ALL) | {"X-Forwarded-For": "172.20.3.4", "Forwarded": "for=127.0.0.1"}
    )
    is_problem(answer, 403, "not-a-proxy")


def test_bodies_that_are_held_at_once_are_bounded() -> None:
    budget = Budget(10)
    budget.take(6)
    with pytest.raises(problems.Problem, match="Too many large requests"):
        budget.take(5)
    budget.give(6)
    budget.take(10)


def test_the_document_is_openapi_of_all_operations(engine: Engine) -> None:
    found = api.of(engine).client.get("/v1/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    operations = Services(SETTINGS, None).operations()  # type: ignore[arg-type]
    described = {each["operationId"] for path in found["paths"].values() for each in path.values()}
    assert described == {each.name for each in operations}
    for name, schema in found["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description") or schema.get("title"), name


def refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [ref for value in node.values() for ref in refs(value)]
    return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []


def test_every_reference_of_the_document_leads_somewhere() -> None:
    found = document(Services(SETTINGS, None).operations())  # type: ignore[arg-type]
    named = refs(found)
    assert named
    for ref in named:
        node: Any = found
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]


def test_counts_are_those_of_the_command_and_of_the_key_s_domains(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "bounced", sender="b@www.sender.example")
    put(engine, "q3", "accepted", "delivered", sender="a@other.example")
    put(engine, "q4", "accepted", "delivered", sender="a@notsender.example")
    everything = api.of(engine).get("/v1/stats?by=class&since=1h").json()
    assert everything["since"] == "1h"
    assert everything["groups"] == queries.counts(engine, 0.0, "class")
    assert everything["total"]["accepted"] == 4
    own = api.of(engine).get("/v1/stats", READER).json()
    assert {group["sender_domain"] for group in own["groups"]} == {"sender.example", "www.sender.example"}
    assert own["total"] == {
        "accepted": 2, "delivered": 1, "deferred": 0, "bounced": 1, "rejected": 0, "bounce_rate": 0.5,
        "late": 0, "complained": 0, "complaint_rate": 0.0,
    }  # fmt: skip


def test_old_events_are_not_counted(engine: Engine) -> None:
    put(engine, "q1", "accepted", ago=7200)
    assert api.of(engine).get("/v1/stats?since=1h").json()["total"]["accepted"] == 0
    assert api.of(engine).get("/v1/stats?since=3h").json()["total"]["accepted"] == 1
