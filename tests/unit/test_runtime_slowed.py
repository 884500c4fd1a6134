"""The file of receivers that get less."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from postroad.runtime import slowed
from postroad.runtime.slowed import SlowedReceiver

SLOW = SlowedReceiver(
    "gmail", "aspmx.l.google.com", "slowed", 1000.0, 0.0, "speeding", "421 no", 3, 2.0, 3.0, 0, 12, ("gmail.com",)
)
PAUSED = SlowedReceiver(
    "yahoo", "mta5.am0.yahoodns.net", "paused", 1000.0, 2000.0, "blocked", "421 [TSS04]", 1, None, 0.0, 2, 5, ("aol.com", "yahoo.com")
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    slowed.write(tmp_path / "file", [SLOW, PAUSED])
    assert slowed.read(tmp_path / "file") == [SLOW, PAUSED]
    slowed.write(tmp_path / "file", [])
    assert slowed.read(tmp_path / "file") == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[1]", '[{"name": "x"}]', "null", '[[]]',
        json.dumps([{**asdict(SLOW), "standing": "free"}]), json.dumps([{**asdict(SLOW), "rate": -1}]),
        json.dumps([{**asdict(SLOW), "since": "x"}]), json.dumps([{**asdict(SLOW), "pauses": None}]),
        json.dumps([{**asdict(SLOW), "waiting": 1.5}]), json.dumps([{**asdict(SLOW), "until": "x"}]),
        json.dumps([{**asdict(SLOW), "refused_rate": "x"}]), json.dumps([{**asdict(SLOW), "connections": 0}]),
        json.dumps([{**asdict(SLOW), "more": 1}]),
    ],
)  # fmt: skip
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    assert slowed.read(tmp_path / "file") == []
    assert slowed.held_domains(tmp_path / "file") == frozenset()
    assert slowed.waiting_reasons(tmp_path / "file") == {}


def test_no_file(tmp_path: Path) -> None:
    assert slowed.read(tmp_path / "none") == []
    assert slowed.held_domains(tmp_path / "none") == frozenset()


def test_why_mail_waits(tmp_path: Path) -> None:
    slowed.write(tmp_path / "file", [SLOW, PAUSED])
    assert slowed.waiting_reasons(tmp_path / "file") == {
        "gmail.com": "waits for its turn: gmail is slowed (3 connections at once, 120 messages a minute)",
        "aol.com": "waits for its turn: yahoo is paused, one message tries at 1970-01-01T00:33:20Z",
        "yahoo.com": "waits for its turn: yahoo is paused, one message tries at 1970-01-01T00:33:20Z",
    }


def test_a_file_that_nobody_writes_holds_nothing(tmp_path: Path) -> None:
    slowed.write(tmp_path / "file", [SLOW, PAUSED])
    assert slowed.held_domains(tmp_path / "file") == {"gmail.com", "aol.com", "yahoo.com"}
    os.utime(tmp_path / "file", (time.time() - 4000,) * 2)
    assert slowed.held_domains(tmp_path / "file") == frozenset()
