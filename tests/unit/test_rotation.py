"""The process that does what is due for the keys: what it changes, and what it tells the log."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad import rotation as process
from postroad.config.model import Config
from postroad.dns import dkim_published
from postroad.dns.dkim_published import Seen
from postroad.errors import ConfigError, InstallError
from postroad.secrets import keys, rotation

DAY = 86400.0
NOW = 1_800_000_000.0
YES, NO = Seen(("a", "b"), (), ()), Seen((), ("a",), (), "is missing")


class World:
    """The clock, the resolvers and the log are the test's."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seen = NOW, NO
        self.log: list[tuple[str, str]] = []
        self.config = self.configured(rotate="90d")
        keys.ensure(keys.wanted(self.config, state), 2048)
        (self.series,) = rotation.series(self.config, state)
        os.utime(self.series.key("postroad"), (NOW, NOW))
        monkeypatch.setattr(process, "STATE", state)
        monkeypatch.setattr(process, "load", lambda: self.config)
        monkeypatch.setattr(process, "tell", lambda level, text, patience: self.log.append((level, text)))
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(dkim_published, "seen", lambda *_: self.seen)
        monkeypatch.setattr(os, "nice", lambda _: 0)

    def configured(self, **dkim: Any) -> Config:
        values = {
            "hostname": "mail.example.com",
            "domains": ["example.com"],
            "dkim": {"algorithms": ["rsa"], **dkim},
        }
        return Config.model_validate(values)

    def runs(self, after: float = 0) -> list[tuple[str, str]]:
        """What it tells, so many days after the key was made."""
        self.now, self.log = NOW + after * DAY, []
        assert process.main() == 0
        return [(level, text.split(":")[1].strip()) for level, text in self.log]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_key_s_whole_life(world: World) -> None:
    assert world.runs(89.9) == []
    ((level, _),) = world.runs(90)
    assert level == "warning"
    assert re.search(
        r"signs when its record is published: postroad-2\._domainkey\.example\.com TXT v=DKIM1; ", world.log[0][1]
    )
    ((level, said),) = world.runs(91)
    assert (level, said) == ("info", "the next key of example.com, postroad-2, waits for its record")
    world.seen = YES
    ((level, said),) = world.runs(92)
    assert level == "info"
    assert said.startswith("example.com is signed under postroad-2 from now on (2 of 2 resolvers")
    assert "keep postroad._domainkey.example.com until 2027-" in said
    assert world.runs(98.9) == []
    ((level, said),) = world.runs(99.1)
    assert (level, said.split(" may")[0]) == ("warning", "postroad._domainkey.example.com")
    assert not world.series.key("postroad").exists()


def test_without_rotate_nothing_is_made(world: World) -> None:
    world.config = world.configured()
    assert world.runs(10_000) == []


def test_what_can_not_be_done_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> rotation.Rotation:
        raise InstallError("rotation.json can't be read")

    monkeypatch.setattr(rotation, "load", failing)
    assert process.main() == 1
    assert world.log == [("err", "dkim: example.com: rotation.json can't be read")]


def test_a_configuration_that_was_changed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> Config:
        raise ConfigError("hostname: missing")

    changed: Callable[[], Config] = failing
    monkeypatch.setattr(process, "load", changed)
    assert process.main() == ConfigError("").exit_code
    assert capsys.readouterr().err == "postroad: hostname: missing\n"
