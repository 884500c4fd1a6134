"""A regular look, and what it tells the log: what begins to fail is looked at twice before it is told."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from postroad.checks import __main__ as regular
from postroad.checks.context import Context
from postroad.checks.model import Check, Finding, Level
from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.runtime import looks

CONFIG = Config.model_validate({"hostname": "mail.a.example", "domains": ["a.example"], "public_ip": ["203.0.113.10"]})
NOT_KNOWN = Config.model_validate(
    {"hostname": "mail.a.example", "domains": ["a.example"], "dns": {"servers": ["127.0.0.1"], "egress": []}}
)


class Doctor:
    """Looks whose findings are the test's own: each check gives one level after another, and then the last for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.levels: dict[str, list[Level | None]] = {}
        self.looks: list[str] = []
        self.pauses: list[float] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.file = folder / "doctor.json"
        self.full = False
        monkeypatch.setattr(regular, "DOCTOR", self.file)
        monkeypatch.setattr(regular, "tell", self._tell)
        monkeypatch.setattr(time, "sleep", self.pauses.append)

    def _tell(self, level: str, line: str, _: float) -> None:
        self.lines.append((level, json.loads(line.partition(" ")[2])))

    def check(self, name: str) -> Check:
        def run(context: Context) -> Iterable[Finding]:
            assert context.short
            self.looks.append(name)
            levels = self.levels[name]
            level = levels.pop(0) if len(levels) > 1 else levels[0]
            return [] if level is None else [Finding(name, level, f"{name} is {level}")]

        return cast("Check", SimpleNamespace(ID=name, SHORT=False, run=run))

    def look(self, monkeypatch: pytest.MonkeyPatch, config: Config = CONFIG, **levels: list[Level | None]) -> list[str]:
        self.levels = levels
        self.lines.clear()
        self.looks.clear()
        monkeypatch.setattr(regular, "CHECKS", [self.check(name) for name in levels])
        regular.look_regularly(config, 7.5)
        return [f"{level} {said['check']} {said['level']}" for level, said in self.lines]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Doctor:
    return Doctor(monkeypatch, tmp_path)


def test_what_is_only_bad_for_a_moment_is_not_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.look(monkeypatch, spf=[Level.ERROR, Level.OK], mx=[Level.OK]) == []
    assert doctor.looks == ["spf", "mx", "spf"]
    assert doctor.pauses == [7.5]
    assert looks.read(doctor.file).checks["spf"].errors == ()


def test_what_stays_bad_is(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.look(monkeypatch, spf=[Level.ERROR], mx=[Level.OK]) == ["err spf error"]
    doctor.pauses.clear()
    assert doctor.look(monkeypatch, spf=[Level.ERROR], mx=[Level.WARNING]) == []
    assert doctor.pauses == [], "what is known to fail is not waited for"
    assert doctor.look(monkeypatch, spf=[Level.OK], mx=[Level.OK]) == ["notice spf ok"]


def test_without_the_address_a_check_that_needs_it_does_not_turn_green(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroad.dns.instance.ask", lambda: SimpleNamespace(public_ipv4=""))
    assert doctor.look(monkeypatch, spf=[Level.ERROR]) == ["err spf error"]
    assert doctor.look(monkeypatch, NOT_KNOWN, spf=[None]) == []
    assert doctor.look(monkeypatch, spf=[Level.ERROR]) == []


def test_what_could_not_be_kept_is_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor.file.mkdir()
    with pytest.raises(InstallError):
        doctor.look(monkeypatch, spf=[Level.ERROR])
    assert [said["check"] for _, said in doctor.lines] == ["spf"]
