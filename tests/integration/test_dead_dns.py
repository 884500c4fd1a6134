"""A resolver that never answers: a start, a reload, a command and a client wait for it no longer than for one that does."""

import json
import smtplib
import time
from collections.abc import Iterator

import pytest

from postroad.checks.doctor import LIMIT
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.host import Dns
from tests.internet.internet import Internet

LOOKUP = 4.5
"""Seconds: the C library gives a resolver five, twice, for each lookup, so whoever waits for one takes longer."""


@pytest.fixture(scope="module")
def silent(internet: Internet) -> Iterator[str]:
    """The address of a resolver that takes questions and never answers."""
    host = internet._add_host(Dns)
    host.pause()
    yield host.address
    host.unpause()


@pytest.fixture(scope="module")
def usual(relays: Relays) -> PostroadContainer:
    return relays(publish=False, doctor={"at_start": True, "receivers": []})


@pytest.fixture(scope="module")
def dead(relays: Relays, silent: str) -> PostroadContainer:
    return relays(publish=False, doctor={"at_start": True, "receivers": []}, kwargs={"dns": [silent]})


def ready_after(relay: PostroadContainer) -> float:
    (words,) = [event["message"] for event in relay.events() if event.get("message", "").startswith("ready after ")]
    return float(words.split()[2])


def seconds(relay: PostroadContainer, script: str) -> tuple[float, int, str]:
    began = time.monotonic()
    code, text = relay.shell(script)
    return time.monotonic() - began, code, text


def test_a_start_waits_for_no_dns(usual: PostroadContainer, dead: PostroadContainer) -> None:
    assert ready_after(dead) < ready_after(usual) + LOOKUP


@pytest.mark.parametrize("command", ["reload", "check"])
def test_nor_does_a_command(command: str, usual: PostroadContainer, dead: PostroadContainer) -> None:
    expected, code, _ = seconds(usual, f"postroad {command}")
    took, same, text = seconds(dead, f"postroad {command}")
    assert (same, took < expected + LOOKUP) == (code, True), (expected, took, text)


def test_nor_does_a_client(dead: PostroadContainer) -> None:
    began = time.monotonic()
    for listener in ("smtp", "submission"):
        with smtplib.SMTP(dead.host, dead.port_of(listener), timeout=30) as client:
            assert client.noop()[0] == 250
            if listener == "smtp":
                client.sendmail(
                    "app@sender.example", ["user@rcpt.example"], "From: app@sender.example\r\n\r\nHello\r\n"
                )
    assert time.monotonic() - began < LOOKUP


def test_the_doctor_is_done_in_ten_seconds(usual: PostroadContainer, dead: PostroadContainer) -> None:
    starting, _, _ = seconds(usual, "postroad doctor --help")  # what starting takes on this machine just now
    took, code, text = seconds(dead, "postroad doctor --json")
    assert took - starting < LIMIT + 1
    assert code == 1
    found = {each["id"]: each["level"] for each in json.loads(text)["checks"]}
    assert found["resolver"] == "error"
