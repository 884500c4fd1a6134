"""DKIM keys one after another: each step, cut short at each write, and by several at once."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postroad import system
from postroad.config.model import Config
from postroad.errors import InstallError, PostroadError
from postroad.secrets import keys, rotation
from postroad.secrets.keys import Stage

DAY = 86400.0
NOW = 1_800_000_000.0


def config(**dkim: Any) -> Config:
    values = {
        "hostname": "mail.example.com",
        "domains": ["example.com"],
        "dkim": {"algorithms": ["rsa", "ed25519"], **dkim},
    }
    return Config.model_validate(values)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = config()
    keys.ensure(keys.wanted(made, tmp_path), 2048)
    return tmp_path


def ed25519(state: Path, found: Config | None = None) -> rotation.Series:
    return next(each for each in rotation.series(found or config(), state) if each.algorithm == "ed25519")


def stages(state: Path, now: float, found: Config | None = None) -> dict[str, str]:
    published = keys.published(found or config(), state, now)
    return {each.key.selector: str(each.stage) for each in published if each.key.algorithm == "ed25519"}


def signs(state: Path) -> list[str]:
    return [key.selector for key in keys.wanted(config(), state)]


def test_one_key_after_another(state: Path) -> None:
    each = ed25519(state)
    assert rotation.due(config(), state, NOW) == float("inf")
    made = keys.make_next(config(), state, each, NOW)
    assert made.next == "postroad-ed25519-2"
    assert signs(state) == ["postroad", "postroad-ed25519"]
    assert stages(state, NOW) == {"postroad-ed25519": "active", "postroad-ed25519-2": "next"}
    assert keys.make_next(config(), state, each, NOW + 1) == made, "one that waits is not made anew"
    assert rotation.due(config(), state, NOW) == NOW
    assert keys.switch(state, each, made, NOW + 10)
    assert signs(state) == ["postroad", "postroad-ed25519-2"]
    assert stages(state, NOW + 10) == {"postroad-ed25519-2": "active", "postroad-ed25519": "past"}
    assert rotation.due(config(), state, NOW + 10) == NOW + 10 + 7 * DAY
    later = NOW + 10 + 7 * DAY
    assert stages(state, later) == {"postroad-ed25519-2": "active", "postroad-ed25519": "over"}
    assert keys.remove_past(each, rotation.load(each), later - 1, 7 * DAY) == []
    assert [old.selector for old in keys.remove_past(each, rotation.load(each), later, 7 * DAY)] == ["postroad-ed25519"]
    assert not each.key("postroad-ed25519").exists()
    assert rotation.due(config(), state, later) == float("inf")
    assert keys.make_next(config(), state, each, later).next == "postroad-ed25519-3"
    assert stages(state, later) == {"postroad-ed25519-2": "active", "postroad-ed25519-3": "next"}


def test_two_selectors_take_turns_where_they_are_aliases(state: Path) -> None:
    found = config(cname="keys.example.net")
    each = ed25519(state, found)
    first = each.key("postroad-ed25519").read_bytes()
    assert keys.switch(state, each, keys.make_next(found, state, each, NOW), NOW)
    assert signs(state)[1] == "postroad-ed25519-2"
    with pytest.raises(PostroadError, match=r"its record must stay until 2027-01-22: rotate after that"):
        keys.make_next(found, state, each, NOW + 7 * DAY - 1)
    made = keys.make_next(found, state, each, NOW + 7 * DAY)
    assert made.next == "postroad-ed25519"
    assert each.key("postroad-ed25519").read_bytes() != first, "the selector comes back, the key does not"


def test_mail_that_waits_needs_the_record_of_its_key() -> None:
    found = Config.model_validate(
        {"hostname": "mail.example.com", "domains": ["example.com"], "delivery": {"queue": {"give_up_after": "20d"}}}
    )
    assert rotation.overlap(found) == 20 * DAY


def test_the_time_of_a_key(state: Path) -> None:
    found = config(rotate="180d")
    each = ed25519(state, found)
    os.utime(each.key("postroad-ed25519"), (NOW, NOW))
    os.utime(each.folder / "postroad.private", (NOW + 5, NOW + 5))
    assert rotation.due(found, state, NOW) == NOW + 180 * DAY
    keys.switch(state, each, keys.make_next(found, state, each, NOW), NOW + 3)
    os.utime(each.folder / "postroad.private", (NOW + 500 * DAY, NOW + 500 * DAY))
    keys.remove_past(each, rotation.load(each), NOW + 9 * DAY, 7 * DAY)
    assert rotation.due(found, state, NOW + 9 * DAY) == NOW + 3 + 180 * DAY


class Crash(Exception):  # noqa: N818 - nothing is wrong with what is tested
    pass


def crashing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """End at the ``number``-th change of a file, before it (even) or after it (odd)."""
    left = [number]

    def around(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: Any, **keywords: Any) -> None:
            left[0] -= 2
            if left[0] == -2:
                raise Crash
            change(*arguments, **keywords)
            if left[0] == -1:
                raise Crash

        return changed

    monkeypatch.setattr(system, "write", around(system.write))
    monkeypatch.setattr(system, "remove", around(system.remove))


@pytest.mark.parametrize("cname", [None, "keys.example.net"])
@pytest.mark.parametrize("number", range(14))
def test_a_step_that_is_cut_short_is_done_again(
    number: int, cname: str | None, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = config(cname=cname)
    each = ed25519(state, found)
    seen: dict[str, bytes] = {}

    def look() -> None:
        """A selector has one key while its record is to stay, and the key that signs is one that was announced."""
        for published in keys.published(found, state, now):
            if published.key.algorithm == "ed25519" and published.stage is not Stage.OVER:
                content = published.key.path.read_bytes()
                assert seen.setdefault(published.key.selector, content) == content
                announced.add(published.key.selector)
        assert rotation.load(each).active in announced

    announced: set[str] = {"postroad-ed25519"}
    now = NOW
    with monkeypatch.context() as patch:
        crashing(patch, number)
        while now < NOW + 30 * DAY:
            try:
                stands = rotation.load(each)
                keys.remove_past(each, stands, now, 7 * DAY)
                for old in stands.past:
                    if now >= old.retired + 7 * DAY:
                        seen.pop(old.selector, None)
                if stands.next:
                    look()
                    keys.switch(state, each, stands, now)
                elif now >= stands.since + 10 * DAY:
                    keys.make_next(found, state, each, now)
            except Crash:
                pass
            look()
            now += DAY
    assert len(announced) == (2 if cname else 4)
    assert not [path.name for path in each.folder.iterdir() if path.name.startswith(".")]


def test_who_changes_a_series_has_seen_it_as_it_is(state: Path) -> None:
    each = ed25519(state)
    made = keys.make_next(config(), state, each, NOW)
    assert keys.switch(state, each, made, NOW + 1)
    assert not keys.switch(state, each, made, NOW + 2), "another relay was first"
    assert rotation.load(each).since == NOW + 1


@pytest.mark.parametrize("what", ["first", "next"])
def test_many_at_once_make_one_key(what: str, tmp_path: Path) -> None:
    made: list[object] = []
    barrier = threading.Barrier(6)
    if what == "next":
        keys.ensure(keys.wanted(config(), tmp_path), 2048)

    def run() -> None:
        barrier.wait()
        if what == "first":
            made.append(keys.ensure(keys.wanted(config(), tmp_path), 2048))
        else:
            stands = keys.make_next(config(), tmp_path, ed25519(tmp_path), NOW)
            made.append((stands, ed25519(tmp_path).key(stands.next).read_bytes()))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert all(each == made[0] for each in made)


def test_what_is_known_can_t_be_read(state: Path) -> None:
    each = ed25519(state)
    each.file.write_text("{}")
    with pytest.raises(InstallError, match=r"rotation\.json does not say which key of example\.com signs: restore it"):
        keys.wanted(config(), state)


def test_a_selector_that_would_be_too_long(state: Path) -> None:
    each = replace(ed25519(state), base="s" * 62)
    with pytest.raises(PostroadError, match=r"has more than 63 characters: set a shorter dkim\.selector"):
        rotation.begun(each, rotation.Rotation(each.base), NOW, keep=DAY, paired=False)


def test_keys_that_are_given_are_not_ours_to_rotate(tmp_path: Path) -> None:
    given = {"name": "example.com", "dkim": {"key_file": "/run/secrets/key"}}
    found = Config.model_validate(
        {"hostname": "mail.example.com", "domains": [given], "dkim": {"algorithms": ["rsa", "ed25519"]}}
    )
    assert [each.algorithm for each in rotation.series(found, tmp_path)] == ["ed25519"]
    off = Config.model_validate(
        {"hostname": "mail.example.com", "domains": ["example.com"], "dkim": {"enabled": False}}
    )
    assert rotation.series(off, tmp_path) == []
