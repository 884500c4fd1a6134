"""A DKIM key follows another: nothing is signed with one that is not published, whatever happens meanwhile."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, letter, send, wait_until
from tests.internet.host import Dns
from tests.internet.internet import Internet

LOOKS = 150
"""Seconds: the server looks at what lies beside the keys every 15, and for records after 15, 30 and 60."""


@pytest.fixture(scope="module")
def second(internet: Internet) -> Dns:
    """A name server that learns of records when it is told, and not before."""
    return internet.add_dns()


def keys(relay: PostroadContainer) -> dict[str, dict[str, str]]:
    """The keys by selector."""
    return {key["selector"]: key for key in json.loads(relay.command("dkim", "list", "--json"))["keys"]}


def stages(relay: PostroadContainer) -> dict[str, str]:
    return {selector: key["stage"] for selector, key in keys(relay).items()}


def notices(relay: PostroadContainer, text: str) -> list[str]:
    return [event["message"] for event in relay.events() if text in event.get("message", "")]


def signed(relay: PostroadContainer, internet: Internet) -> str:
    """The selector that a message is signed under; it verifies."""
    received = internet.wait_for_message(send(relay, letter()))
    assert received.verdict("dkim") == "pass"
    field = "".join(str(received.message["DKIM-Signature"]).split())
    return field.partition(";s=")[2].partition(";")[0]


def publish(internet: Internet, relay: PostroadContainer) -> None:
    for key in keys(relay).values():
        if key["value"]:
            internet.publish(key["name"], "TXT", key["value"])


@pytest.mark.timeout(500)
def test_the_next_key_signs_when_its_record_is_seen(
    start_relay: Relays, internet: Internet, second: Dns, volumes: Callable[[str], str]
) -> None:
    """The server is killed while it waits, and goes on."""
    state = volumes("rotation")
    dkim = {"selector": "turn", "resolvers": [internet.dns.address, second.address]}
    relay = start_relay(state=state, dkim=dkim)
    assert signed(relay, internet) == "turn"
    said = relay.command("dkim", "rotate", "--domain", "sender.example")
    assert said.startswith("turn-2._domainkey.sender.example. TXT\n  v=DKIM1; k=rsa; p=")
    assert "sender.example is signed under turn until several resolvers have this record" in said
    assert relay.command("dkim", "rotate") == said, "one that waits is not made anew"
    assert stages(relay) == {"turn": "active", "turn-2": "next"}
    wait_until(lambda: notices(relay, "turn-2, waits for its record: 0 of 3 resolvers have its record"), LOOKS)
    name, value = "turn-2._domainkey.sender.example", keys(relay)["turn-2"]["value"]

    internet.publish(name, "TXT", value)
    wait_until(lambda: notices(relay, f"2 of 3 resolvers have its record; at {second.address} it is missing"), LOOKS)
    assert stages(relay) == {"turn": "active", "turn-2": "next"}
    assert signed(relay, internet) == "turn"
    doctor = json.loads(relay.shell("postroad doctor --only dkim --json")[1])
    finding = next(each for each in doctor["checks"] if "turn-2" in each["message"])
    assert finding["level"] == "warning"
    assert finding["record"] == {"name": name, "type": "TXT", "value": value}
    assert f"{name}. 3600 IN TXT" in relay.shell("postroad dns --format bind")[1]

    relay.get_wrapped_container().kill()
    again = start_relay(state=state, dkim=dkim, publish=False)
    internet.publish_sender(HOSTNAME, again.address)
    assert signed(again, internet) == "turn"
    second.run("zone", "add", "sender.example")
    internet.publish(name, "TXT", value, at=second)
    wait_until(lambda: stages(again) == {"turn-2": "active", "turn": "past"}, LOOKS)
    assert notices(again, "sender.example is signed under turn-2 from now on (3 of 3 resolvers have its record)")
    wait_until(lambda: signed(again, internet) == "turn-2", 60)
    assert "keep the record until" in keys(again)["turn"]["note"]
    internet.unpublish("turn._domainkey.sender.example", "TXT")
    doctor = json.loads(again.shell("postroad doctor --only dkim --json")[1])
    assert [each["level"] for each in doctor["checks"] if "turn._domainkey" in each["message"]] == ["warning"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_relays_share_their_keys(image: str, internet: Internet, tmp_path: Path) -> None:
    """Two start at the same moment on an empty folder; one is told to rotate; both go on with the next key."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "dkim"
    folder.mkdir()
    folder.chmod(0o777)
    relays = Relays(image, internet)
    dkim = {"selector": "shared", "resolvers": [internet.dns.address]}
    with relays.stack:
        starts = [
            threading.Thread(
                target=relays,
                kwargs={
                    "hostname": f"{name}.sender.example",
                    "dkim": dkim,
                    "shared": {str(folder): "/var/lib/postroad/dkim"},
                    "publish": False,
                },
            )
            for name in ("one", "two")
        ]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        one, two = relays.started
        assert keys(one)["shared"]["value"] == keys(two)["shared"]["value"]
        internet.publish_sender("one.sender.example", one.address, two.address)
        publish(internet, one)
        assert [signed(each, internet) for each in (one, two)] == ["shared", "shared"]
        one.command("dkim", "rotate")
        publish(internet, two)
        for each in (one, two):
            wait_until(lambda each=each: signed(each, internet) == "shared-2", LOOKS)  # type: ignore[misc]
        assert keys(one) == keys(two)
        assert len(notices(one, "from now on") + notices(two, "from now on")) == 1, "one of them has switched"


@pytest.mark.long
@pytest.mark.timeout(500)
def test_keys_follow_each_other_by_themselves(start_relay: Relays, internet: Internet) -> None:
    """Two selectors, aliases of names in another zone, take turns; each time with a new key."""
    internet.add_zone("keys.example")
    config: dict[str, Any] = {
        "dkim": {"selector": "auto", "rotate": "4s", "overlap": "3s", "cname": "keys.example", "resolvers": [internet.dns.address]},
        "delivery": {"queue": {"retry": "1s", "warn_after": None, "give_up_after": "3s"}},
    }  # fmt: skip
    relay = start_relay(publish=False, **config)
    internet.publish_sender(HOSTNAME, relay.address)
    planned = json.loads(relay.shell("postroad dns --json 2>/dev/null")[1])["records"]
    aliases = {record["name"]: record["value"] for record in planned if record["type"] == "CNAME"}
    assert aliases == {
        f"{selector}._domainkey.sender.example": f"{selector}._domainkey.sender.example.keys.example"
        for selector in ("auto", "auto-2")
    }
    for name, target in aliases.items():
        internet.publish(name, "CNAME", f"{target}.")
    first = keys(relay)["auto"]["value"]
    seen: list[str] = []

    def turned() -> bool:
        publish(internet, relay)
        seen.append(signed(relay, internet))
        return "auto-2" in seen and seen[-1] == "auto"

    wait_until(turned, 300)
    assert keys(relay)["auto"]["value"] != first
    assert notices(relay, "the next key of sender.example is made and signs when its record is published: auto-2._")
    assert notices(relay, "auto._domainkey.sender.example.keys.example may be revoked")
