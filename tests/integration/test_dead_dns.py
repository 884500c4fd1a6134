"""A resolver that never answers: a start, a reload, a check and a client's session ask it nothing, so none waits for it."""

import json
import smtplib
import time

import pytest

from postroad.checks.doctor import LIMIT
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.host import Host
from tests.internet.internet import Internet

SILENT = r"""
import re, socket
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("", 53))
while True:
    asked = silent.recv(512)
    with open("/tmp/asked", "ab") as file:
        file.write(re.sub(rb"[^a-z0-9-]+", b".", asked[12:]) + b"\n")
"""
"""Takes questions, writes their names down, and never answers."""


@pytest.fixture(scope="module")
def silent(internet: Internet) -> Host:
    host = internet.add_app()
    host.run("sh", "-c", 'python3 -c "$1" >/dev/null 2>&1 &', "-", SILENT)
    host.run("sh", "-c", "until grep -q ':0035 ' /proc/net/udp; do sleep 0.05; done")
    return host


@pytest.fixture(scope="module")
def dead(relays: Relays, silent: Host) -> PostroadContainer:
    return relays(publish=False, kwargs={"dns": [silent.address]})


def asked(silent: Host) -> list[str]:
    return silent.run("sh", "-c", "cat /tmp/asked || true").decode().split()


def test_the_resolver_notes_what_it_is_asked(dead: PostroadContainer, silent: Host) -> None:
    before = len(asked(silent))
    dead.shell("timeout 1 getent hosts noted.example")
    assert any("noted.example" in name for name in asked(silent)[before:])


def test_a_start_asks_nothing(relays: Relays, silent: Host) -> None:
    before = asked(silent)
    relay = relays(publish=False, kwargs={"dns": [silent.address]})
    assert asked(silent) == before
    assert relay.shell("cat /run/postroad/health")[1].startswith("ready")


@pytest.mark.parametrize("command", ["reload", "check"])
def test_nor_does_a_command(command: str, dead: PostroadContainer, silent: Host) -> None:
    before = asked(silent)
    code, text = dead.shell(f"postroad {command}")
    assert (code, asked(silent)) == (0, before), text


def test_nor_does_a_client_s_session(dead: PostroadContainer, silent: Host) -> None:
    before = asked(silent)
    for listener in ("smtp", "submission"):
        with smtplib.SMTP(dead.host, dead.port_of(listener), timeout=30) as client:
            client.ehlo()
            assert client.mail("app@sender.example")[0] == (250 if listener == "smtp" else 530)
            if listener == "smtp":
                assert client.rcpt("user@rcpt.example")[0] == 250
    assert asked(silent) == before


def test_the_doctor_is_done_in_ten_seconds(dead: PostroadContainer) -> None:
    began = time.monotonic()
    dead.shell("postroad doctor --help")  # what starting takes on this machine just now
    started = time.monotonic()
    code, text = dead.shell("postroad doctor --json")
    assert time.monotonic() - started - 2 * (started - began) < LIMIT + 1
    assert code == 1
    found = {each["id"]: each["level"] for each in json.loads(text)["checks"]}
    assert found["resolver"] == "error"
