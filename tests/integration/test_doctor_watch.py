"""The doctor while the server runs: what begins to fail is told once, and so is that it fails no longer."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.internet import Internet

DOMAIN = "watched.example"
POLICY = f"_dmarc.{DOMAIN}"
LOOK = "stat -c %Y.%i /var/lib/postroad/doctor.json 2>/dev/null"
EVERY = 10
"""Seconds, the fewest there may be."""


@pytest.fixture(scope="module")
def relay(volumes: Callable[[str], str], relays: Relays, zones: Internet) -> PostroadContainer:
    zones.add_zone(DOMAIN)
    made = relays(
        publish=False,
        hostname=f"mail.{DOMAIN}",
        domains=[DOMAIN],
        public_ip=["203.0.113.30"],
        dns={"servers": [zones.dns.address]},
        doctor={"every": f"{EVERY}s", "receivers": [], "dnsbls": [], "ntp": []},
        http={"listen": "0.0.0.0:8025"},
        state=volumes("state"),
    )
    zones.publish(POLICY, "TXT", "v=DMARC1; p=none")
    for name, value in made.dkim_records().items():
        zones.publish(name, "TXT", value)
    return made


def told(relay: PostroadContainer, check: str) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["event"] == "doctor" and event["check"] == check]


def await_event(relay: PostroadContainer, check: str, number: int) -> dict[str, Any]:
    """The event of this number about a check, once it is there; looks and their confirmation take their time."""
    deadline = time.monotonic() + 90
    while len(told(relay, check)) < number:
        assert time.monotonic() < deadline, relay.log()[-3000:]
        time.sleep(0.2)
    return told(relay, check)[number - 1]


def await_looks(relay: PostroadContainer, number: int) -> None:
    """Wait until so many looks more have ended."""
    for _ in range(number):
        before, deadline = relay.shell(LOOK)[1], time.monotonic() + 90
        while relay.shell(LOOK)[1] in {before, ""}:
            assert time.monotonic() < deadline, relay.log()[-3000:]
            time.sleep(0.2)


def metrics(relay: PostroadContainer) -> dict[str, float]:
    url = f"http://{relay.address}:8025/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


@pytest.mark.long
def test_red_and_green_again_while_it_runs_and_over_a_restart(relay: PostroadContainer, zones: Internet) -> None:
    await_looks(relay, 2)
    assert not told(relay, "dmarc")
    assert metrics(relay)['postroad_doctor_findings{check="dmarc",level="error"}'] == 0
    zones.unpublish(POLICY, "TXT")
    bad = await_event(relay, "dmarc", 1)
    assert (bad["level"], bad["message"]) == ("error", f"{DOMAIN} has no DMARC record")
    assert bad["record"].startswith(f"{POLICY} TXT v=DMARC1; p=none")
    await_looks(relay, 1)
    values = metrics(relay)
    assert values['postroad_doctor_findings{check="dmarc",level="error"}'] == 1
    assert abs(values["postroad_doctor_last_look_timestamp_seconds"] - time.time()) < 90
    assert len(told(relay, "dmarc")) == 1, "the same is not told at each look"
    relay.get_wrapped_container().restart(timeout=20)
    await_looks(relay, 1)
    assert len(told(relay, "dmarc")) == 1, "nor after a restart"
    zones.publish(POLICY, "TXT", "v=DMARC1; p=none")
    good = await_event(relay, "dmarc", 2)
    assert (good["level"], good["message"]) == ("ok", f"DMARC covers {DOMAIN}")
    assert good["failed_for"] >= EVERY / 2
    await_looks(relay, 1)
    assert metrics(relay)['postroad_doctor_findings{check="dmarc",level="error"}'] == 0
    kinds = [event.get("state", event["event"]) for event in relay.events()]
    assert kinds.index("ready") < kinds.index("doctor"), "it does not look before the server is ready"


def test_what_can_not_be_looked_up_turns_nothing_red(start_relay: Relays, zones: Internet) -> None:
    relay = start_relay(
        publish=False,
        public_ip=["203.0.113.30"],
        dns={"servers": ["192.0.2.53"]},
        doctor={"every": f"{EVERY}s", "receivers": [], "dnsbls": [], "ntp": []},
    )
    await_event(relay, "resolver", 1)
    await_looks(relay, 1)
    found = {event["check"] for event in relay.events() if event["event"] == "doctor"}
    assert not {"spf", "dkim", "dmarc", "mx", "hostname", "reverse-dns", "senders"} & found, found


def test_it_is_not_counted_and_leaves_nothing_in_the_log(relay: PostroadContainer) -> None:
    await_looks(relay, 1)
    before = len(relay.events())
    await_looks(relay, 2)
    assert relay.events()[before:] == []
    assert json.loads(relay.shell("postroad stats --json")[1])["groups"] == []


def test_switched_off(start_relay: Relays) -> None:
    relay = start_relay(publish=False, doctor={"every": "10s"})
    relay.shell("echo '{}' >/var/lib/postroad/doctor.json")
    off = start_relay(publish=False, doctor={"every": None})
    assert 'look_every": 0.0' in off.shell("cat /run/postroad/current/plan.json")[1]
    assert off.shell("ls /var/lib/postroad")[1].count("doctor.json") == 0


def lines(relay: PostroadContainer, *words: str) -> Generator[str]:
    """What a command prints, line by line; it is interrupted, as by Ctrl-C, when no more is wanted."""
    name = relay.get_wrapped_container().name
    script = "echo $$ >/tmp/watching; exec postroad doctor --watch --every 1 " + " ".join(words)
    with subprocess.Popen(["docker", "exec", str(name), "sh", "-c", script], stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout
        try:
            yield from done.stdout
        finally:
            relay.shell("kill -INT $(cat /tmp/watching)")
            done.wait(20)


def test_watch(relay: PostroadContainer, zones: Internet) -> None:
    zones.publish(POLICY, "TXT", "v=DMARC1; p=none")
    printed = lines(relay, "--only dmarc")
    assert any("DMARC covers" in line for line in printed)
    assert "1 ok, 0 info, 0 warning, 0 error" in next(line for line in printed if line.strip())
    zones.unpublish(POLICY, "TXT")
    assert any("no longer: ok dmarc: DMARC covers" in line for line in printed)
    assert any(f"{DOMAIN} has no DMARC record" in line for line in printed)
    zones.publish(POLICY, "TXT", "v=DMARC1; p=none")
    assert any("no longer: error dmarc" in line for line in printed)
    printed.close()


def test_watch_as_json(relay: PostroadContainer) -> None:
    printed = lines(relay, "--only helo --json")
    looks = [json.loads(next(printed)) for _ in range(2)]
    printed.close()
    assert looks[0]["time"] < looks[1]["time"]
    assert [each["checks"][0]["id"] for each in looks] == ["helo", "helo"]
