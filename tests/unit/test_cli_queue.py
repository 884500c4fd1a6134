"""`postroad queue` on a queue of the test's own: what is listed, tried again, deleted, and when a drain is over."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.cli import queue as module
from postroad.cli import running
from postroad.commands import queue as queue_commands
from postroad.commands import running as commands_running
from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.runtime import acceptance, flushing, handover, log, plan, slowed
from postroad.sendmail import outbound
from postroad.store import database
from tests.unit import supervision
from tests.unit.commands import run
from tests.unit.test_cli_store import put
from tests.unit.test_shaper_waiting import write

CONFIG = """
hostname: mail.example.com
domains: [sender.example]
delivery:
  routes: [{domains: [slow.example], smarthost: null, rate: 10/hour}]
"""


class World:
    """A queue, a server that runs in it as far as files tell, and sendmail's runs, which deliver what they are told to."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.queue = tmp_path, tmp_path / "mqueue"
        self.queue.mkdir()
        self.runs: list[list[str]] = []
        self.said: list[str] = []
        self.accepting = [True]
        self.delivers = True
        self.code = 0
        self.serves = True
        (tmp_path / "config.yaml").write_text(CONFIG)
        config = load(tmp_path / "config.yaml", environ={}, secrets_dir=tmp_path / "none")
        (self.group,) = [shape.group for shape in outbound.shaped(config.delivery)]
        (self.queue / self.group).mkdir()
        (tmp_path / plan.FILE).write_text(handover.dumps(supervision.plan(supervision.process("sendmail"))))
        (tmp_path / "health").write_text(f"ready {os.getpid()}\n")
        (tmp_path / "log").write_text("")
        for where, name, value in (
            (module, "QUEUE", self.queue),
            (module, "CURRENT", tmp_path),
            (queue_commands, "QUEUE", self.queue),
            (queue_commands, "CURRENT", tmp_path),
            (queue_commands, "HEALTH", tmp_path / "health"),
            (queue_commands, "SHAPER", tmp_path / "shaper"),
            (queue_commands, "LOG_SOCKET", tmp_path / "log"),
            (module, "load", lambda: config),
            (running, "is_running", lambda: self.serves),
            (commands_running, "is_running", lambda: self.serves),
            (module, "SETTLE", 0.05),
            (module, "FIRST_PAUSE", 0.05),
            (log, "tell", self.tell),
            (acceptance, "accepting", lambda: self.accepting[-1]),
            (acceptance, "set_accepting", self.accepting.append),
            (system, "spawn", self.spawn),
        ):
            monkeypatch.setattr(where, name, value)

    def tell(self, _: str, text: str, **__: Any) -> bool:
        self.said.append(text)
        return True

    def spawn(self, argv: list[str], *_: Any, **__: Any) -> int:
        words = [word for word in argv if word.startswith("-q")]
        self.runs.append(words)
        if self.delivers:
            for path in self.queue.glob("?f*"):
                path.unlink()
        return os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {self.code}"], {})

    def put(self, number: int, *to: str, group: bool = False, **fields: Any) -> str:
        return write(self.queue / self.group if group else self.queue, number, *to, **fields).name[2:]

    def ids(self) -> set[str]:
        return {path.name[2:] for path in self.queue.rglob("qf*")}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def shaper(world: World) -> Iterator[list[frozenset[str] | None]]:
    """A shaper that takes each request for done; what it was asked."""
    asked: list[frozenset[str] | None] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(world.top / "shaper"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(flushing.read(connection.makefile("rb").read()))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


# --- list


def test_what_waits_is_listed_with_its_reason_and_its_next_try(world: World) -> None:
    assert run("queue", "list").out == "the queue is empty\n"
    first = world.put(1, "u@a.example", attempts=2, last=int(time.time()) - 10, reason="Deferred: Connection refused")
    slow = world.put(2, "u@slow.example", group=True)
    out = run("queue", "list").out
    assert "Deferred: Connection refused" in out
    assert "waits for its turn: delivery.routes[0] (10/hour), queue group route-" in out
    found = {each["queue_id"]: each for each in json.loads(run("queue", "list", "--json").out)["messages"]}
    assert found.keys() == {first, slow}
    assert (found[first]["attempts"], found[first]["recipients"]) == (2, ["u@a.example"])
    assert found[first]["next_try"] is not None
    assert found[slow]["next_try"] is None, "when its limits allow it"
    assert 99 <= found[slow]["age"] < 3600
    assert json.loads(run("queue", "list", "--json", "--domain", "@A.example.").out)["messages"][0]["queue_id"] == first
    assert run("queue", "list", "--domain", "b.example").out == "no such message waits\n"


STALE = "<x@mail.example.com>... no mailboxes here"


def test_a_message_tried_once_has_the_reason_of_that_attempt(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what was refused before in the session that brought it."""
    first, again = (
        world.put(1, "u@a.example", attempts=1, reason=STALE),
        world.put(2, "u@b.example", attempts=2, reason="Deferred: Connection refused"),
    )
    new = world.put(3, "u@slow.example", group=True, reason=STALE)
    for queue_id in (first, again):
        put(engine, queue_id, "deferred", reply="421 4.4.1 no address")
    monkeypatch.setattr(database, "existing", lambda **_: engine)
    listed = json.loads(run("queue", "list", "--json").out)["messages"]
    found = {each["queue_id"]: each["reason"] for each in listed}
    assert found[first] == "Deferred: 421 4.4.1 no address"
    assert found[again] == "Deferred: Connection refused"
    assert found[new].startswith("waits for its turn")
    assert "421 4.4.1 no address" in run("queue", "list").out


def test_without_a_store_the_reason_is_sendmail_s(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def existing(**_: object) -> Engine:
        asked.append(1)
        raise PostroadError("the event store can't be read")

    monkeypatch.setattr(database, "existing", existing)
    monkeypatch.setattr(queue_commands, "TOGETHER", 1)
    for number in range(3):
        world.put(number, "u@a.example", attempts=1, reason="Deferred: Connection refused")
    assert run("queue", "list").out.count("Deferred: Connection refused") == 3
    assert asked == [1], "once, however many wait"


def test_a_receiver_that_gets_less_is_told_with_the_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.top / "receivers.json"
    for each in (module, queue_commands):
        monkeypatch.setattr(each, "RECEIVERS", path)
    slow = ("slowed", 0.0, 0.0, "speeding", "450 slow down", 3, 0.5, 1.0, 0, 7, ("a.example",))
    paused = ("paused", 0.0, 2000.0, "blocked", "421 blocked", 1, None, 0.0, 1, 1, ("b.example",))
    idle = ("slowed", 0.0, 0.0, "systemerror", "451 later", None, 1.0, 0.0, 0, 0, ("c.example",))
    slowed.write(
        path,
        [
            slowed.SlowedReceiver(name, f"mx.{name}", *each)
            for name, each in zip("abc", (slow, paused, idle), strict=True)
        ],
    )
    first, second = world.put(1, "u@a.example"), world.put(2, "u@b.example")
    soon = world.put(4, "u@c.example", attempts=1, last=int(time.time()) - 10, reason="Deferred: 451 later")
    tried = world.put(3, "u@a.example", attempts=2, last=int(time.time()) - 10, reason="Deferred: 450 slow down")
    out = " ".join(run("queue", "list").out.split())
    assert (
        "a is slowed since 1970-01-01T00:00:00Z: 3 connections at once, 30 messages a minute, 7 messages waiting" in out
    )
    assert "speeding: 450 slow down" in out
    assert "b is paused since 1970-01-01T00:00:00Z: one message tries at 1970-01-01T00:33:20Z" in out
    data = json.loads(run("queue", "list", "--json").out)
    assert [(each["receiver"], each["until"]) for each in data["receivers"]] == [
        ("a", None),
        ("b", "1970-01-01T00:33:20Z"),
        ("c", None),
    ]
    reasons = {each["queue_id"]: (each["reason"], each["next_try"]) for each in data["messages"]}
    assert reasons.pop(soon)[1] is not None, "nothing else waits for that receiver"
    assert reasons == {
        first: ("waits for its turn: a is slowed (3 connections at once, 30 messages a minute)", None),
        second: ("waits for its turn: b is paused, one message tries at 1970-01-01T00:33:20Z", None),
        tried: ("Deferred: 450 slow down", None),
    }


def test_senders_are_told_apart_without_regard_to_case(world: World) -> None:
    world.put(1)
    bounce = write(world.queue, 2)
    bounce.write_text(bounce.read_text().replace("S<app@sender.example>", "S<>"))
    for sender, number in (("App@Sender.Example", 1), ("<app@sender.example>", 1), ("<>", 1), ("pp@sender.example", 0)):
        assert len(json.loads(run("queue", "list", "--json", "--sender", sender).out)["messages"]) == number, sender


def test_a_drain_is_told_with_the_list(world: World) -> None:
    world.accepting.append(False)
    assert "draining: no new messages are taken" in run("queue", "list").out
    assert json.loads(run("queue", "list", "--json").out)["draining"] is True


def test_a_queue_that_can_t_be_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_commands, "QUEUE", world.top / "none")
    assert "can't be read by uid" in run("queue", "list").error


# --- flush


@pytest.mark.parametrize("words", [(), ("--all", "--domain", "x.example"), ("--id", "x", "--all")])
def test_flush_is_of_one_kind(words: tuple[str, ...], world: World) -> None:
    world.put(1)
    assert run("queue", "flush", *words).code == 2
    assert world.runs == []


def test_flush_says_what_still_waits_and_why(world: World) -> None:
    world.put(1, "u@a.example")
    code, out, _ = run("queue", "flush", "--all")
    assert (code, world.runs) == (0, [["-qf"]])
    assert "1 message left the queue" in out
    world.put(2, "u@a.example", reason="Deferred: Connection refused")
    world.delivers = False
    code, out, _ = run("queue", "flush", "--domain", "@A.example")
    assert (code, world.runs[1:]) == (3, [["-qf", "-qR@a.example"]])
    assert "Deferred: Connection refused" in out
    queue_id = world.put(3)
    assert run("queue", "flush", "--id", queue_id).code == 3
    assert world.runs[-1] == ["-qf", f"-qI{queue_id}"]


def test_flush_of_what_is_not_there(world: World) -> None:
    assert run("queue", "flush", "--all") == (0, "the queue is empty\n", "")
    assert run("queue", "flush", "--domain", "x.example") == (0, "no such message waits\n", "")
    assert "no message 6AAA is waiting" in run("queue", "flush", "--id", "6AAA").error
    assert world.runs == []


def test_flush_asks_the_shaper_for_its_own(world: World, shaper: list[frozenset[str] | None]) -> None:
    slow = world.put(1, "u@slow.example", group=True)
    assert run("queue", "flush", "--all").code == 3
    assert (world.runs, shaper) == ([], [frozenset({slow})])
    world.put(2, "u@a.example")
    assert run("queue", "flush", "--all").code == 3
    assert world.runs == [["-qf"]]


def test_a_shaper_that_does_not_answer_is_told(world: World) -> None:
    world.put(1, "u@slow.example", group=True)
    assert "the shaper does not answer" in run("queue", "flush", "--all").error


def test_a_run_that_fails_is_told(world: World) -> None:
    world.put(1)
    world.delivers, world.code = False, 70
    assert "sendmail's queue run failed (exit 70)" in run("queue", "flush", "--all").error


def test_without_a_server_nothing_is_tried(world: World) -> None:
    world.put(1)
    (world.top / "health").unlink()
    for words in (("flush", "--all"), ("drain",)):
        assert run("queue", *words).error.startswith("no server runs here")
    world.serves = False
    assert "no server runs here: this is what the volume holds" in run("queue", "list").out
    assert world.accepting == [True]


# --- delete


def test_what_is_chosen_is_deleted_and_the_log_is_told(world: World) -> None:
    first, other = world.put(1, "u@a.example"), world.put(2, "u@b.example")
    code, out, _ = run("queue", "delete", "--domain", "a.example", "--yes")
    assert (code, world.ids()) == (0, {other}), out
    assert world.said == [f"queue: deleted {first} from <app@sender.example> to u@a.example"]
    assert not list(world.queue.glob(f"df{first}"))
    assert run("queue", "delete", "--id", other, "--yes").code == 0
    assert world.ids() == set()


def test_a_domain_is_that_of_all_recipients(world: World) -> None:
    both = world.put(1, "u@a.example", "u@b.example")
    run("queue", "delete", "--domain", "a.example", "--yes")
    assert world.ids() == {both}


def test_what_somebody_works_on_stays(world: World) -> None:
    queue_id = world.put(1)
    with (world.queue / f"qf{queue_id}").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, out, _ = run("queue", "delete", "--all", "--yes")
    assert (code, world.ids()) == (3, {queue_id}), out
    assert "0 deleted, 1 kept" in out
    assert world.said == []


def test_without_a_yes_nothing_is_deleted(world: World) -> None:
    queue_id = world.put(1)
    assert run("queue", "delete").code == 2
    assert world.ids() == {queue_id}


def test_a_log_that_takes_no_lines_is_told_of_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(1)
    world.put(2)
    monkeypatch.setattr(log, "tell", lambda *_, **__: False)
    code, _, error = run("queue", "delete", "--all", "--yes")
    assert (code, world.ids()) == (0, set())
    assert error.count("the log takes no lines now") == 1


# --- drain


def test_a_drain_takes_no_new_messages_and_ends_when_the_queue_stays_empty(world: World) -> None:
    world.put(1)
    code, out, _ = run("queue", "drain", "--timeout", "30s")
    assert code == 0
    assert "the queue is empty" in out
    assert (world.accepting, len(world.runs)) == ([True, False], 1)
    assert run("queue", "drain", "--undo").out == "new messages are taken again\n"
    assert world.accepting[-1] is True


def test_a_drain_that_is_not_through_says_what_is_left(world: World) -> None:
    world.put(1, reason="Deferred: Connection refused")
    world.delivers = False
    code, out, _ = run("queue", "drain", "--timeout", "1s")
    assert code == 3
    assert "1 message left after 1s" in out
    assert "Connection refused" in out
    assert "new messages are still refused" in out
    assert len(world.runs) > 1, "it tries again"
