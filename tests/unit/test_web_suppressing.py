"""``/v1/suppressions``: the list as the command has it, changed for sendmail's rules; a key changes its own domains' alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.feedback import suppression
from postroad.runtime import log
from postroad.runtime.web import ApiKey
from postroad.secrets.api_keys import digest
from postroad.store import database
from tests.unit import api
from tests.unit.api import ALL, KEYS, READER, SENDER, SETTINGS, bearer
from tests.unit.commands import run
from tests.unit.test_web_app import is_problem

OWN = "own-" + "o" * 40
PATH = "/v1/suppressions"
SAID: list[str] = []


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> list[dict[bytes, bytes]]:
    found: list[dict[bytes, bytes]] = []
    monkeypatch.setattr(suppression, "SUPPRESSED", tmp_path / "suppressed")
    monkeypatch.setattr(system, "write_database", lambda _, records: found.append(records))
    monkeypatch.setattr(database, "existing", lambda: engine)
    monkeypatch.setattr(log, "tell", lambda _, text: SAID.append(text))
    SAID.clear()
    return found


def calls_of(engine: Engine) -> api.Api:
    own = ApiKey("own", digest(OWN), ("suppressions",), SENDER, "", "")
    return api.of(engine, replace(SETTINGS, keys=(*KEYS, own)))


def delete(calls: api.Api, address: str, key: str = ALL, query: str = "") -> Any:
    return calls.client.delete(f"{PATH}/{quote(address, safe='')}{query}", headers=bearer(key))


def listed(calls: api.Api, key: str = ALL, query: str = "") -> list[str]:
    answer = calls.get(f"{PATH}{query}", key)
    assert answer.status_code == 200, answer.text
    return [f"{each['recipient']}/{each['sender_domain']}" for each in answer.json()["suppressions"]]


def test_addresses_are_added_and_removed_for_sendmail_s_rules(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    calls = calls_of(engine)
    answer = calls.post(PATH, {"addresses": ["Gone@There.example", "b@there.example"], "reason": "asked to"}, ALL)
    assert answer.json() == {"changed": 2, "total": 2}
    assert maps[-1] == {b"gone@there.example": b"askedto", b"b@there.example": b"askedto"}
    assert calls.post(PATH, {"addresses": ["b@there.example"]}, ALL).json() == {"changed": 0, "total": 2}
    assert delete(calls, "GONE@there.example").json() == {"changed": 1, "total": 1}
    assert maps[-1] == {b"b@there.example": b"manual"}
    is_problem(delete(calls, "gone@there.example"), 404, "not-found")
    assert SAID == [
        "web: the key all suppressed 2 addresses",
        "web: the key all suppressed 1 addresses",
        "web: the key all removed 1 suppressions",
    ]


def test_the_list_is_that_of_the_command(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    calls = calls_of(engine)
    calls.post(PATH, {"addresses": ["a@there.example"], "days": 30, "sender_domain": "Sender.example"}, ALL)
    (found,) = calls.get(PATH).json()["suppressions"]
    (printed,) = json.loads(run("suppress", "list", "--json").out)["suppressions"]
    assert found == {name: value for name, value in printed.items() if value is not None}
    assert maps[-1] == {b"a@there.example/sender.example": b"manual"}


def test_the_list_comes_in_parts_and_by_address(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    calls = calls_of(engine)
    calls.post(PATH, {"addresses": [f"u{number}@there.example" for number in range(5)]}, ALL)
    whole = listed(calls)
    assert len(whole) == 5
    assert listed(calls, query="?limit=2") + listed(calls, query="?offset=2&limit=3") == whole
    assert listed(calls, query="?address=U3@there.example") == ["u3@there.example/"]
    assert listed(calls, query="?sender_domain=sender.example") == []
    assert calls.get(f"{PATH}?limit=1").json()["total"] == 5
    assert maps


def test_a_key_of_some_domains_changes_theirs_alone(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    calls = calls_of(engine)
    calls.post(PATH, {"addresses": ["all@there.example"]}, ALL)
    calls.post(PATH, {"addresses": ["theirs@there.example"], "sender_domain": "other.example"}, ALL)
    before = len(maps)
    for domain in (None, "", "other.example", "notsender.example"):
        given: dict[str, Any] = {"addresses": ["a@there.example"]} | (
            {} if domain is None else {"sender_domain": domain}
        )
        is_problem(calls.post(PATH, given, OWN), 403, "forbidden")
        query = "" if domain is None else f"?sender_domain={domain}"
        is_problem(delete(calls, "all@there.example", OWN, query), 403, "forbidden")
    assert len(maps) == before
    given = {"addresses": ["a@there.example"], "sender_domain": "www.sender.example"}
    assert calls.post(PATH, given, OWN).json()["changed"] == 1
    assert listed(calls, OWN) == ["a@there.example/www.sender.example", "all@there.example/"]
    is_problem(delete(calls, "theirs@there.example", OWN, "?sender_domain=sender.example"), 404, "not-found")
    assert delete(calls, "a@there.example", OWN, "?sender_domain=www.sender.example").json()["changed"] == 1


def test_what_a_receiver_said_to_another_is_not_told(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    entries = [
        suppression.SuppressedAddress("a@there.example", "userunknown", 1e9, None, "550 about a bill", domain)
        for domain in ("", "sender.example", "other.example")
    ]
    with engine.begin() as connection:
        suppression.add(connection, entries)
    calls = calls_of(engine)
    told = {each["sender_domain"]: each.get("detail") for each in calls.get(PATH, OWN).json()["suppressions"]}
    assert told == {"": None, "sender.example": "550 about a bill"}
    assert all(each["detail"] for each in calls.get(PATH).json()["suppressions"])
    assert maps == []


@pytest.mark.parametrize(
    "address",
    ["", " ", "x", "@there.example", "x@", "x y@there.example", "x@there.example\r\n", "x\0@there.example", "ü@there.example", "a" * 321],
)  # fmt: skip
def test_what_is_no_address_is_not_added(engine: Engine, maps: list[dict[bytes, bytes]], address: str) -> None:
    calls = calls_of(engine)
    answer = calls.post(PATH, {"addresses": ["a@there.example", address]}, ALL)
    if address.strip() == "x@there.example":  # the command takes it with white space around, too
        assert maps[-1].keys() == {b"a@there.example", b"x@there.example"}
        return
    found = is_problem(answer, 422, "invalid")
    assert [fault["pointer"] for fault in found["faults"]] == ["#/addresses/1"]
    assert maps == []
    assert listed(calls) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"addresses": []},
        {"addresses": [f"u{number}@there.example" for number in range(1001)]},
        {"addresses": "a@there.example"},
        {"days": 0},
        {"days": 10**9},
        {"days": "x"},
        {"sender_domain": "a b"},
        {"sender_domain": "*"},
        {"sender_domain": "a/b"},
        {"reason": "x" * 101},
        {"recipient": "a@there.example"},
    ],
)
def test_other_values_are_refused(engine: Engine, maps: list[dict[bytes, bytes]], changes: dict[str, Any]) -> None:
    is_problem(calls_of(engine).post(PATH, {"addresses": ["a@there.example"]} | changes, ALL), 422, "invalid")
    assert maps == []


def test_a_key_without_the_right_changes_nothing(engine: Engine, maps: list[dict[bytes, bytes]]) -> None:
    calls = calls_of(engine)
    is_problem(calls.get(PATH, READER), 403, "forbidden")
    is_problem(calls.post(PATH, {"addresses": ["a@there.example"]}, READER), 403, "forbidden")
    is_problem(delete(calls, "a@there.example", READER), 403, "forbidden")
    assert maps == []
