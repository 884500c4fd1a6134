"""``/v1/webhooks``: what the command prints and does, for keys of all domains alone."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.cli import webhook
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime import handover, log, recording
from postroad.runtime.web import ApiKey
from postroad.secrets.api_keys import digest
from postroad.store import database
from postroad.webhooks import outbox
from tests.unit import api
from tests.unit.api import ALL, KEYS, SENDER, SETTINGS, SHOP
from tests.unit.commands import run
from tests.unit.handed import HOOK, recorded
from tests.unit.test_web_app import is_problem

OWN = "own-" + "o" * 40
SAID: list[str] = []


@pytest.fixture
def hooks(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> api.Api:
    told(tmp_path)
    monkeypatch.setattr(webhook, "CURRENT", tmp_path)
    monkeypatch.setattr(database, "existing", lambda: engine)
    monkeypatch.setattr(log, "tell", lambda _, text: SAID.append(text))
    SAID.clear()
    own = ApiKey("own", digest(OWN), ("webhooks",), SENDER, "", "")
    return api.of(engine, replace(SETTINGS, keys=(*KEYS, own)), tmp_path)


def told(generation: Path, *more: recording.Hook) -> None:
    (generation / recording.FILE).write_text(handover.dumps(recorded(webhooks=(HOOK, *more))))


def given_up(engine: Engine) -> list[outbox.OutboxEvent]:
    events = tuple(
        {
            "event": "bounced",
            "time": "2026-11-24T10:00:00Z",
            "queue_id": f"q{n}",
            "sender": "a@b.c",
            "recipient": "x@y.z",
        }
        for n in range(3)
    )
    writer.write(engine, Batch(events, Position("journal-1.jsonl", 1)), recorded(webhooks=(HOOK,)))
    found = outbox.due(engine, "app", 10)
    for each in found[:2]:
        assert outbox.failed(engine, each, "answered 500", -1.0, None)
    return found


def test_webhooks_are_told_as_the_command_tells_them(hooks: api.Api, engine: Engine) -> None:
    first, second, _ = given_up(engine)
    (found,) = hooks.get("/v1/webhooks").json()["webhooks"]
    (printed,) = json.loads(run("webhook", "list", "--json").out)["webhooks"]
    assert found == {name: value for name, value in printed.items() if value is not None}
    assert (found["name"], found["pending"], found["dead"], found["error"]) == ("app", 1, 2, "answered 500")
    dead = hooks.get("/v1/webhooks/dead").json()
    assert dead == json.loads(run("webhook", "dead", "--json").out)
    assert [each["id"] for each in dead["dead"]] == [second.uid, first.uid]
    assert [each["id"] for each in hooks.get("/v1/webhooks/dead?limit=1").json()["dead"]] == [second.uid]
    assert hooks.get("/v1/webhooks/dead?webhook=other").json() == {"dead": []}


def test_dead_letters_are_posted_again(hooks: api.Api, engine: Engine) -> None:
    first, second, _ = given_up(engine)
    path = "/v1/webhooks/replay"
    assert hooks.post(path, {"ids": [first.uid, "unknown"]}, ALL).json() == {"replayed": 1}
    assert [each["id"] for each in hooks.get("/v1/webhooks/dead").json()["dead"]] == [second.uid]
    assert hooks.post(path, {"all": True, "webhook": "other"}, ALL).json() == {"replayed": 0}
    assert hooks.post(path, {"all": True, "webhook": "app"}, ALL).json() == {"replayed": 1}
    assert len(outbox.due(engine, "app", 10)) == 3
    assert [f"web: the key all has {n} dead letters posted again" for n in (1, 0, 1)] == SAID


@pytest.mark.parametrize(
    "body", [{}, {"all": False}, {"all": True, "ids": ["x"]}, {"ids": []}, {"ids": ["x" * 37]}, []]
)
def test_a_replay_says_of_what(hooks: api.Api, engine: Engine, body: Any) -> None:
    given_up(engine)
    is_problem(hooks.post("/v1/webhooks/replay", body, ALL), 422, "invalid")
    assert len(hooks.get("/v1/webhooks/dead").json()["dead"]) == 2


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    got: list[Any] = []
    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.got = got  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(20)


def test_a_test_event_is_posted(hooks: api.Api, tmp_path: Path, receiver: Any) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/x"
    told(
        tmp_path,
        replace(HOOK, name="here", url=url, allow_private=True),
        replace(HOOK, name="closed", url=url.replace("http:", "https:")),
    )
    found = hooks.post("/v1/webhooks/test", {"webhook": "here"}, ALL).json()
    assert (found["name"], found["status"], "error" in found) == ("here", 204, False)
    assert [(each["type"], each["id"]) for each in receiver.got] == [("postroad.ping.v1", found["id"])]
    found = hooks.post("/v1/webhooks/test", {"webhook": "closed"}, ALL).json()
    assert found["error"].startswith("not posted")
    is_problem(hooks.post("/v1/webhooks/test", {"webhook": "other"}, ALL), 404, "not-found")
    is_problem(hooks.post("/v1/webhooks/test", {"webhook": ""}, ALL), 422, "invalid")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("key", [SHOP, OWN])
def test_a_key_of_some_domains_or_without_the_right_sees_none(hooks: api.Api, engine: Engine, key: str) -> None:
    given_up(engine)
    for path in ("/v1/webhooks", "/v1/webhooks/dead"):
        is_problem(hooks.get(path, key), 403, "forbidden")
    is_problem(hooks.post("/v1/webhooks/replay", {"all": True}, key), 403, "forbidden")
    is_problem(hooks.post("/v1/webhooks/test", {"webhook": "app"}, key), 403, "forbidden")
    assert len(hooks.get("/v1/webhooks/dead").json()["dead"]) == 2
