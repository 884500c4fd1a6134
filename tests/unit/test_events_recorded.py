"""The parser over lines that a real sendmail and signer logged (``tests/logs/README.md``)."""

import json
from pathlib import Path
from typing import Any

import pytest

from postroad.events.model import Event
from postroad.events.parse import Parser
from postroad.events.syslog import parse_datagram

LOGS = Path(__file__).parents[1] / "logs"
NAMES = sorted(path.stem for path in LOGS.glob("*.log"))


def replay(name: str) -> list[Event]:
    """Feed a recording, with nothing but its own times, and let a second pass at its end."""
    parser = Parser(message_size=200_000)
    events: list[Event] = []
    now = 0.0
    for line in (LOGS / f"{name}.log").read_bytes().splitlines():
        stamp, _, datagram = line.partition(b" ")
        now = float(stamp)
        events += parser.feed(parse_datagram(datagram, now))
    return events + parser.expire(now + 1) + parser.flush()


def expected(name: str) -> list[dict[str, Any]]:
    found = json.loads((LOGS / f"{name}.json").read_text())
    assert isinstance(found, list)
    return found


def test_there_are_recordings_and_each_has_its_expected_events() -> None:
    assert len(NAMES) >= 18
    assert [path.stem for path in sorted(LOGS.glob("*.json"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_recording(name: str) -> None:
    assert [event.to_dict() for event in replay(name)] == expected(name)
