"""Who is being delivered to: attempts under way, by receiving host, and the end of one by hand."""

import json
import re
import time
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.integration.test_http import get
from tests.internet.internet import Internet

HOLDS, DRIPS = "mx.holds.example", "mx.greets.example"


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet) -> PostroadContainer:
    internet.add_watch(HOLDS, behaviour="holds")
    internet.add_watch(DRIPS, behaviour="drips")
    for host in (HOLDS, DRIPS):
        internet.publish(host.partition(".")[2], "MX", f"10 {host}.")
    return relays(publish=False, delivery={"queue": {"retry": "4h"}})


def active(relay: PostroadContainer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(relay.command("queue", "list", "--active", "--json"))["attempts"]
    return found


def under_way(relay: PostroadContainer, host: str, number: int) -> list[dict[str, Any]]:
    """Wait until the host has so many attempts, and return them."""

    def those() -> list[dict[str, Any]]:
        found = [each for each in active(relay) if each["host"] == host]
        return found if len(found) == number else []

    return wait_until(those)


def queue_id(relay: PostroadContainer, message_id: str) -> str:
    return str(relay.wait_for(message_id, "accepted")["queue_id"])


def test_an_attempt_is_shown_and_ended_by_hand_and_the_message_stays(relay: PostroadContainer) -> None:
    before = int(time.time())
    one, other, third = (
        queue_id(relay, send(relay, letter(), to_addrs=[to]))
        for to in ("a@holds.example", "b@greets.example", "c@greets.example")
    )
    (held,) = under_way(relay, HOLDS, 1)
    greeted = under_way(relay, DRIPS, 2)
    wait_until(lambda: under_way(relay, HOLDS, 1)[0]["command"] == "end of data")
    assert held["queue_id"] == one
    assert {each["queue_id"] for each in greeted} == {other, third}
    assert {each["command"] for each in greeted} == {"greeting"}
    for each in (held, *greeted):
        assert 0 <= each["seconds"] < 60
        assert each["since"] >= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before))
    table = relay.command("queue", "list", "--active")
    assert re.search(rf"^{re.escape(DRIPS)} +2 +\S+ +\d+s +greeting", table, re.MULTILINE), table
    assert re.search(rf"^{re.escape(HOLDS)} +1 +{one} +\d+s +end of data", table, re.MULTILINE), table
    metrics = get(relay, "/metrics")[1]
    assert 'postroad_attempts_active{provider="other"} 3.0' in metrics
    assert re.search(r"^postroad_attempts_oldest_seconds [1-9]", metrics, re.MULTILINE)

    assert "1 ended" in relay.command("queue", "abort", other)
    assert [each["queue_id"] for each in under_way(relay, DRIPS, 1)] == [third]
    deferred = relay.wait_for(other, "deferred")
    assert "Software caused connection abort" in json.dumps(deferred), deferred
    assert under_way(relay, HOLDS, 1)

    assert "1 ended" in relay.command("queue", "abort", "--host", HOLDS)
    relay.wait_for(one, "deferred")
    assert len(active(relay)) == 1
    waiting = {each["queue_id"]: each for each in json.loads(relay.command("queue", "list", "--json"))["messages"]}
    assert waiting.keys() == {one, other, third}
    assert not waiting[one]["active"]
    assert any(f"attempt for {one} with {HOLDS} ended by hand" in event.get("message", "") for event in relay.events())


def test_what_is_not_under_way_can_not_be_ended(relay: PostroadContainer) -> None:
    code, text = relay.shell("exec postroad queue abort 6AAAAAAAAAAAAA")
    assert code == 1
    assert "queue list --active" in text
    assert relay.shell("exec postroad queue abort")[0] == 2


def test_with_none_under_way(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    assert "no attempt is under way" in relay.command("queue", "list", "--active")
    send(relay, letter())
    wait_until(lambda: any(event["event"] == "delivered" for event in relay.events()))
    assert active(relay) == []
    assert 'postroad_attempts_active{provider="google"} 0.0' in wait_until(lambda: get(relay, "/metrics")[1])


def test_no_more_are_under_way_than_delivery_concurrency(start_relay: Relays, internet: Internet) -> None:
    most, domains = 8, [f"held-{number}.example" for number in range(6)]
    internet.add_watch("mx.held.example", behaviour="holds")
    internet.add_zone(*domains)
    internet.publish_all("MX", {domain: ["10 mx.held.example."] for domain in domains})
    relay = start_relay(publish=False, delivery={"queue": {"retry": "4h"}, "concurrency": most})
    for number in range(5):
        for domain in domains:
            send(relay, letter(), to_addrs=[f"user-{number}@{domain}"])
    # those that have no room become runs of the queue, for which a domain of which nothing is known has 20 seconds
    seen = [len(active(relay)) for _ in range(20)]
    assert 2 <= max(seen) <= most, seen
    assert active(relay), "they end before they are counted"
    waiting = json.loads(relay.command("queue", "list", "--json"))["messages"]
    assert len(waiting) == 5 * len(domains)
    sent = send(relay, letter())
    relay.wait_for(sent, "delivered", timeout=120)  # behind domains that are given 20 seconds each to show themselves
