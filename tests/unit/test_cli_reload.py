"""``postroad reload``: it waits as long as the server may take, and says what changed."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.cli import reload
from postroad.install import changes
from postroad.runtime import handover, plan


class Server:
    """Stands in for PID 1 on a clock of its own: it takes its time, then notes the end of a reload."""

    def __init__(self, folder: Path, takes: float) -> None:
        self.health, self.current, self.takes = folder / "health", folder / "current", takes
        self.now, self.due = 0.0, float("inf")
        self.current.mkdir()
        self.generation({"log": {"format": "json"}}, {"/run/secrets/a": "1-1"}, ())
        self.note("0 0 done")

    def generation(self, config: object, watched: dict[str, str], warnings: tuple[str, ...]) -> None:
        (self.current / "config.json").write_text(json.dumps(config))
        made = plan.Plan((), 8.0, "json", "none", 1, False, "", "", False, 0.0, warnings, watched, 0.0, "")
        (self.current / "plan.json").write_text(handover.dumps(made))

    def note(self, reloads: str) -> None:
        self.health.write_text(f"ready 1 2\n{reloads}\n")

    def kill(self, *_: object) -> None:
        self.due = self.now + self.takes

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1.0)
        if self.now >= self.due:
            self.generation(
                {"log": {"format": "text"}}, {"/run/secrets/a": "1-2", "/run/secrets/b": "1-3"}, ("beware",)
            )
            self.note("1 1 done")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    server = Server(tmp_path, request.param)
    monkeypatch.setattr(reload, "HEALTH", server.health)
    monkeypatch.setattr(reload, "CURRENT", server.current)
    monkeypatch.setattr(reload, "load", lambda: None)
    monkeypatch.setattr(os, "kill", server.kill)
    monkeypatch.setattr(time, "monotonic", lambda: server.now)
    monkeypatch.setattr(time, "sleep", server.sleep)
    result = CliRunner().invoke(reload.command)
    return f"{result.output}{result.exception or ''}"


@pytest.mark.parametrize("said", [1.0], indirect=True)
def test_it_says_what_changed(said: str) -> None:
    assert said == (
        'warning: beware\nlog.format: "json" -> "text"\n/run/secrets/a: another file, read anew\nreloaded\n'
    )


@pytest.mark.parametrize("said", [plan.PREPARE_LIMIT - 1], indirect=True)
def test_it_waits_as_long_as_preparing_may_take_and_says_for_what(said: str) -> None:
    assert said.startswith("the server prepares the configuration")
    assert said.endswith("reloaded\n")


@pytest.mark.parametrize("said", [1e6], indirect=True)
def test_it_does_not_wait_for_ever(said: str) -> None:
    assert said.endswith(f"not reloaded within {2 * (600 + 10 * 30)} s; see the container's log")


def test_a_section_that_comes_or_goes_is_told_in_the_words_of_yaml() -> None:
    without = {"delivery.smarthost": "null"}
    there = {"delivery.smarthost.host": '"smtp.example.net"', "delivery.smarthost.username": "null"}
    assert changes.between(without, there) == ['delivery.smarthost.host: null -> "smtp.example.net"']
    assert changes.between(there, without) == ['delivery.smarthost.host: "smtp.example.net" -> null']


def test_another_network_is_a_change(tmp_path: Path) -> None:
    found = []
    for networks, policy in (("1", "relaying for 10.0.0.0/8"), ("2", "relaying for 10.0.0.0/8, 172.20.0.0/16")):
        made = plan.Plan((), 8.0, "json", "none", 1, False, policy, "", False, 0.0, (), {}, 0.0, networks)
        (tmp_path / "config.json").write_text('{"log": {"format": "json"}}')
        (tmp_path / "plan.json").write_text(handover.dumps(made))
        found.append(changes.snapshot(tmp_path))
    assert changes.between(*found) == [
        "this container's networks: read anew, now relaying for 10.0.0.0/8, 172.20.0.0/16"
    ]
    assert changes.between(found[1], found[1]) == []


def test_a_first_start_changes_nothing(tmp_path: Path) -> None:
    assert changes.snapshot(tmp_path) == {}
    assert changes.between({}, {"log.format": '"json"'}) == []
