"""The console's queue: what it shows of messages and attempts, and that nothing is done without a confirmation."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.commands import queue as commands
from postroad.commands import running
from postroad.runtime import acceptance, attempts, handover, log, plan, slowed
from postroad.runtime.attempts import Attempt
from postroad.web import console_queue
from postroad.web.sessions import Role
from tests.unit import api, supervision
from tests.unit.console import HOSTILE, WITH, Browser, Page
from tests.unit.test_shaper_waiting import write

GROUP = "r0-slow"


class World:
    """A queue, attempts, and what was done to them."""

    def __init__(self, top: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue = top / "mqueue"
        (self.queue / GROUP).mkdir(parents=True)
        self.runs: list[list[str]] = []
        self.said: list[str] = []
        self.attempts: list[Attempt] = []
        self.aborted: list[str] = []
        self.engine = engine
        self.hold = threading.Event()
        (top / plan.FILE).write_text(handover.dumps(supervision.plan(supervision.process("sendmail"))))
        (top / "health").write_text(f"ready {os.getpid()}\n")
        (top / "log").write_text("")
        for where, name, value in (
            (commands, "QUEUE", self.queue),
            (commands, "CURRENT", top),
            (commands, "HEALTH", top / "health"),
            (commands, "LOG_SOCKET", top / "log"),
            (acceptance, "accepting", lambda: True),
            (attempts, "under_way", lambda: self.attempts),
            (attempts, "abort", self._abort),
            (log, "tell", self._tell),
            (system, "spawn", self._spawn),
        ):
            monkeypatch.setattr(where, name, value)
        monkeypatch.setattr("postroad.web.console_queue.LOOK", 0.01)
        monkeypatch.setattr("postroad.commands.attempts.tell", self._tell)

    def _tell(self, _: str, text: str, *__: Any, **___: Any) -> bool:
        self.said.append(text)
        return True

    def _abort(self, attempt: Attempt) -> bool:
        self.aborted.append(attempt.queue_id)
        return True

    def _spawn(self, argv: list[str], *_: Any, **__: Any) -> int:
        self.runs.append([word for word in argv if word.startswith("-q")])
        return os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})

    def put(self, number: int, *to: str, **fields: Any) -> str:
        return write(self.queue, number, *to, **fields).name[2:]

    def ids(self) -> set[str]:
        return {path.name[2:] for path in self.queue.rglob("qf*")}

    def browser(self, role: Role = Role.OPERATOR) -> Browser:
        settings = replace(WITH, waiting_reasons={GROUP: "waits for its turn: slow.example, queue group r0-slow"})
        return Browser(api.of(self.engine, settings), role)


@pytest.fixture
def world(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, engine, monkeypatch)
    yield made
    for thread in threading.enumerate():
        if thread.name == "flush":
            thread.join(10)


def attempt(queue_id: str, host: str) -> Attempt:
    return Attempt(41, queue_id, host, "192.0.2.25", 25, 1.0, 512, "DATA status")


def form(found: Page, act: str) -> dict[str, Any]:
    """The hidden fields of the form that does it."""
    assert found.having("form", method="post", action=f"/queue/{act}")
    fields: dict[str, Any] = {}
    for each in found.having("input", type="hidden"):
        if each["name"] != "form":
            fields.setdefault(str(each["name"]), []).append(each["value"])
    return fields


def test_what_waits_is_shown_with_its_reason(world: World) -> None:
    queue_id = world.put(1, "u@rcpt.example", attempts=2, last=5, reason="Deferred: 451 4.7.1 Greylisted")
    write(world.queue / GROUP, 2)
    found = world.browser().get("/queue")
    assert f"{queue_id} u@rcpt.example app@sender.example" in found.words
    assert "tries: 2 Deferred: 451 4.7.1 Greylisted" in found.words
    assert "waits for its turn: slow.example" in found.words
    assert found.having("a", href=f"/messages/{queue_id}")


def test_receivers_that_get_less_are_told(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (console_queue, commands):
        monkeypatch.setattr(module, "RECEIVERS", tmp_path / "receivers.json")
    until = time.time() + 600
    slow = ("slowed", 0.0, 0.0, "speeding", "450 <i>slow</i>", 3, 0.5, 1.0, 0, 7, ("a.example",))
    paused = ("paused", 0.0, until, "blocked", "421 blocked", 1, None, 0.0, 1, 0, ("b.example",))
    slowed.write(
        tmp_path / "receivers.json",
        [slowed.SlowedReceiver("a", "mx.a", *slow), slowed.SlowedReceiver("b", "mx.b", *paused)],
    )
    world.put(1, "u@a.example")
    found = world.browser().get("/queue")
    said = "a : connections at once: 3, messages a minute: 30 waiting for their turn: 7 speeding: 450 <i>slow</i>"
    assert said in found.words
    assert "b : paused; one message tries in" in found.words
    assert "waits for its turn: a is slowed" in found.words


def test_it_is_narrowed_by_domain_and_sender(world: World) -> None:
    ids = [world.put(1, "u@a.example"), world.put(2, "u@b.example")]
    browser = world.browser()
    shown = browser.get("/queue?domain=a.example").text
    assert (ids[0] in shown, ids[1] in shown) == (True, False)
    assert "Try all for a.example now" in shown
    assert "No such message waits." in browser.get("/queue?sender=nobody@x.example").text


def test_an_empty_queue_is_told(world: World) -> None:
    assert "No such message waits." in world.browser().get("/queue").text


def test_a_queue_that_can_t_be_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "is_running", lambda: True)
    world.queue.rename(world.queue.with_name("gone"))
    assert "can't be read" in world.browser().get("/queue", 503).text


def test_only_so_many_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.web.console_queue.ROWS", 2)
    for number in range(5):
        world.put(number)
    assert "and 3 more" in world.browser().get("/queue").text


def test_attempts_are_shown_by_receiver_the_most_first(world: World) -> None:
    world.attempts = [attempt("q1", "mx.b.example"), attempt("q2", "mx.a.example"), attempt("q3", "mx.b.example")]
    found = world.browser().get("/queue")
    assert found.words.index("mx.b.example : 2") < found.words.index("mx.a.example : 1")
    assert "waits for the answer to end of data" in found.text


def test_a_drain_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a drain is under way" not in world.browser().get("/queue").text
    monkeypatch.setattr(acceptance, "accepting", lambda: False)
    assert "a drain is under way" in world.browser().get("/queue").text


# --- what is done


def test_a_message_is_deleted_after_the_page_said_what_happens(world: World) -> None:
    first, second = world.put(1, "u@rcpt.example"), world.put(2)
    browser = world.browser()
    found = browser.get(f"/queue/confirm?do=delete&id={first}")
    assert "Messages that are deleted for good: 1. Nobody gets them, and their senders are not told." in found.text
    assert f"{first} from <app@sender.example> to u@rcpt.example" in found.text
    assert world.ids() == {first, second}, "nothing is done before"
    found = browser.sent("/queue/delete", **form(found, "delete"))
    assert world.ids() == {second}
    assert "1 deleted, 0 kept" in found.text
    assert "1 deleted, 0 kept" not in browser.get("/queue").text, "it is said once"
    assert f"queue: deleted {first} from <app@sender.example> to u@rcpt.example" in world.said
    assert (
        f'console {{"by": "operator", "client_address": "127.0.0.1", "action": "queue_delete", "message": "{first}"}}'
        in world.said
    )


def test_what_is_in_delivery_stays(world: World) -> None:
    queue_id = world.put(1)
    browser = world.browser()
    with (world.queue / f"qf{queue_id}").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "0 deleted, 1 kept" in browser.sent("/queue/delete", id=queue_id).text
    assert world.ids() == {queue_id}


def test_a_log_that_is_full_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "tell", lambda *_, **__: False)
    assert "not every deletion is logged" in world.browser().sent("/queue/delete", id=world.put(1)).text


@pytest.mark.parametrize(
    ("query", "run"),
    [
        ("", ["-qf"]),
        ("&domain=rcpt.example", ["-qf", "-qR@rcpt.example"]),
        ("&id=6AOALKBA000001", ["-qf", "-qI6AOALKBA000001"]),
    ],
)
def test_messages_are_tried_after_the_page_said_what_happens(world: World, query: str, run: list[str]) -> None:
    world.put(1, "u@rcpt.example")
    browser = world.browser()
    found = browser.get(f"/queue/confirm?do=flush{query}")
    assert "Messages that are tried at once, whatever their next try: 1" in found.text
    assert world.runs == []
    assert "Messages that are tried now: 1." in browser.sent("/queue/flush", **form(found, "flush")).text
    assert world.runs == [run]
    assert '"action": "queue_flush"' in world.said[-1]


def test_one_run_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(1)
    ended = threading.Event()
    monkeypatch.setattr(commands.QueueRun, "ended", lambda _: ended.is_set())
    browser = world.browser()
    assert "A run over the queue is under way: 0 of 1" in browser.sent("/queue/flush").text
    assert "wait for its end" in browser.sent("/queue/flush").text
    assert len(world.runs) == 1
    ended.set()


def test_where_nothing_waits_nothing_is_tried(world: World) -> None:
    assert "No such message waits." in world.browser().sent("/queue/flush").text
    assert world.runs == []


@pytest.mark.parametrize(("query", "ended"), [("host=mx.b.example", ["q1", "q3"]), ("id=q2", ["q2"])])
def test_attempts_end_after_the_page_said_what_happens(world: World, query: str, ended: list[str]) -> None:
    world.attempts = [attempt("q1", "mx.b.example"), attempt("q2", "mx.a.example"), attempt("q3", "mx.b.example")]
    browser = world.browser()
    found = browser.get(f"/queue/confirm?do=abort&{query}")
    assert f"Attempts that end now: {len(ended)}. Their messages stay in the queue" in found.text
    assert world.aborted == []
    assert f"Attempts that were ended: {len(ended)}" in browser.sent("/queue/abort", **form(found, "abort")).text
    assert world.aborted == ended
    assert '"action": "queue_abort"' in world.said[-1]


@pytest.mark.parametrize("query", ["do=drop", "", "do=abort"])
def test_there_is_no_other_act(world: World, query: str) -> None:
    world.browser().get(f"/queue/confirm?{query}", 404)


@pytest.mark.parametrize("act", ["flush", "delete", "abort"])
def test_what_is_gone_meanwhile_is_told(world: World, act: str) -> None:
    assert "nothing left to do" in world.browser().get(f"/queue/confirm?do={act}&id=6AOALKBA000009").text


# --- who may


@pytest.mark.parametrize("act", ["flush", "delete", "abort"])
def test_a_viewer_does_nothing_and_sees_no_address(world: World, act: str) -> None:
    queue_id = world.put(1, "u@rcpt.example", attempts=1, reason="Deferred: 450 <u@rcpt.example> try u later")
    world.attempts = [attempt(queue_id, "mx.rcpt.example")]
    viewer = world.browser(Role.VIEWER)
    found = viewer.get("/queue")
    assert "***@rcpt.example" in found.text
    assert "u@" not in found.text
    assert "app@" not in found.text
    assert "try u later" not in found.text
    assert not [each for each in found.having("a") if "confirm" in str(each["href"])]
    assert viewer.get(f"/queue/confirm?do={act}&id={queue_id}", 403)
    assert viewer.send(f"/queue/{act}", id=queue_id).status_code == 403
    assert (world.ids(), world.runs, world.aborted) == ({queue_id}, [], [])


@pytest.mark.parametrize("act", ["flush", "delete", "abort"])
@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, {"Origin": "http://api.test"}),
        ("x" * 43, {"Origin": "http://api.test"}),
        ("own", {"Origin": "http://evil.example"}),
        ("own", {"Sec-Fetch-Site": "cross-site"}),
        ("own", {}),
    ],
)
def test_a_form_of_another_site_does_nothing(
    world: World, act: str, token: str | None, headers: dict[str, str]
) -> None:
    queue_id = world.put(1)
    world.attempts = [attempt(queue_id, "mx.rcpt.example")]
    browser = world.browser()
    data = {"id": queue_id} | ({"form": browser.session.form if token == "own" else token} if token else {})
    answer = browser.client.post(f"/queue/{act}", data=data, headers=headers, follow_redirects=False)
    assert answer.status_code == 403
    assert (world.ids(), world.runs, world.aborted) == ({queue_id}, [], [])
    assert browser.client.get(f"/queue/{act}", follow_redirects=False).status_code == 405


@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_wrote_is_text(world: World, value: str) -> None:
    browser = world.browser()
    line = value.replace("\n", " ").replace("\r", " ").encode("utf-8", "replace").decode()
    pages = []
    for said in ("plain", line):
        queue_id = world.put(1, f"{said}@rcpt.example", attempts=1, reason=said)
        world.attempts = [replace(attempt(queue_id, said), address=said, command=said)]
        paths = ("/queue", f"/queue/confirm?do=delete&id={queue_id}", f"/queue/confirm?do=abort&id={queue_id}")
        pages.append([browser.get(path).structure for path in paths])
    assert pages[0] == pages[1]
    for name in ("domain", "sender", "host", "id", "do"):
        for path in ("/queue", "/queue/confirm?do=abort", "/queue/confirm?do=flush", "/queue/confirm?do=delete"):
            found = browser.client.get(path.partition("?")[0], params={"do": path.rpartition("=")[2], name: value})
            assert "<img" not in found.text
