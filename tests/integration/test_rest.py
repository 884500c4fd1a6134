"""The recorder while nothing happens: it holds little, and misses neither an event nor a visitor."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet

until = partial(wait_until, timeout=60)
# its process id, what it is doing, and the memory that is its own in KiB
LOOK = (
    "exec 2>/dev/null; for each in /proc/[0-9]*; do case $(tr '\\0' ' ' < $each/cmdline) in */python3' -m postroad.recorder.rest '*) echo ${each#/proc/} rest;;"
    " */python3' -m postroad.recorder '*) echo ${each#/proc/} awake;; *) continue;; esac; grep Private_Dirty $each/smaps_rollup; done"
)


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    relay = relays()
    until(lambda: look(relay)[1] == "rest")
    return relay


def look(relay: PostroadContainer) -> tuple[int, str, int]:
    match relay.shell(LOOK)[1].split():
        case [pid, state, _, memory, _]:
            return int(pid), state, int(memory)
    return 0, "", 0  # it began or ended while it was looked for


def ask(relay: PostroadContainer, path: str) -> str:
    with urllib.request.urlopen(f"http://{relay.address}:8025{path}", timeout=30) as answer:
        return str(answer.read().decode())


def test_it_holds_little_and_a_visitor_and_an_event_wake_it(relay: PostroadContainer, internet: Internet) -> None:
    pid, _, memory = look(relay)
    assert memory < 16 * 1024  # with SQLAlchemy twice that
    assert "postroad_" in ask(relay, "/metrics")
    assert look(relay)[:2] == (pid, "awake")
    # not the day: with the settings in force anew it has not been visited
    relay.shell(f"kill -HUP {pid}")
    until(lambda: look(relay)[1] == "rest")
    message_id = send(relay, letter())
    internet.wait_for_message(message_id)
    found = until(
        lambda: json.loads(relay.shell(f"exec postroad trace --json '{message_id}'")[1] or "{}").get("messages")
    )
    assert found[0]["message_id"] == message_id
    assert look(relay)[:2] == (pid, "awake")
    assert not [event for event in relay.events() if event["event"] == "stopped"]


def test_a_reload_finds_it_at_rest(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    until(lambda: look(relay)[1] == "rest")
    with ThreadPoolExecutor(1) as pool:
        reload = pool.submit(relay.command, "reload")
        asked = 0
        while asked < 20 or not reload.done():  # before, during, after: each is answered
            assert json.loads(ask(relay, "/readyz"))["status"] == "ready"
            asked += 1
        reload.result()
    pid = look(relay)[0]
    for _ in range(3):  # awake, too
        relay.shell(f"kill -HUP {pid}")
        assert json.loads(ask(relay, "/readyz"))["status"] == "ready"
    relay.shell(f"kill -HUP {pid}")  # one that nobody has visited
    until(lambda: look(relay)[1] == "rest")
    relay.shell(f"kill -HUP {pid}")
    assert json.loads(ask(relay, "/readyz"))["status"] == "ready"
    assert relay.shell("exec postroad stats")[0] == 0
    assert "recorder" not in [event["program"] for event in relay.events() if event["event"] == "stopped"]
