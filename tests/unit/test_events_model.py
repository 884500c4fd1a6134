import json
import subprocess
import sys
from pathlib import Path

import pytest

from postroad.events import model

KINDS: list[type[model.Event]] = [
    each
    for each in vars(model).values()
    if isinstance(each, type) and issubclass(each, model.Event) and "kind" in vars(each) and each is not model.Event
]


def test_to_dict_leaves_out_what_is_not_known() -> None:
    event = model.Delivered(
        time=1795496643.4567, program="sendmail", pid=7, queue_id="6AO58bxT005525", recipient="a@y", delay=0
    )
    assert event.to_dict() == {
        "event": "delivered",
        "time": "2026-11-24T05:04:03.456Z",
        "program": "sendmail",
        "pid": 7,
        "queue_id": "6AO58bxT005525",
        "recipient": "a@y",
        "delay": 0,
    }


def test_the_null_sender_is_known() -> None:
    assert model.Accepted(time=0, sender="").to_dict() == {
        "event": "accepted",
        "time": "1970-01-01T00:00:00.000Z",
        "sender": "",
    }


def test_the_first_two_keys_are_the_kind_and_the_time() -> None:
    assert list(model.Raw(time=0, pid=1, message="x").to_dict())[:2] == ["event", "time"]


def test_events_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        model.Notice(time=0, message="x").message = "y"  # type: ignore[misc]


def test_each_kind_has_a_name_of_its_own() -> None:
    names = [each.kind for each in KINDS]
    assert len(names) == len(set(names)) > 12
    assert all(name.isidentifier() and name.islower() for name in names)


def test_the_recordings_have_every_kind_that_the_programs_bring_about() -> None:
    ours = {"state", "notice", "bounce_rate", "complaint_rate", "doctor", "slowed", "paused", "resumed"}
    ours |= {"complained", "unsubscribed", "returned", "reported", "console", "evacuated", "taken_over"}
    seen: set[str] = set()
    for path in (Path(__file__).parents[1] / "logs").glob("*.json"):
        seen |= {event["event"] for event in json.loads(path.read_text())}
    assert seen | ours == {each.kind for each in KINDS}


def test_what_process_1_keeps_in_memory_is_light() -> None:
    code = "import sys, postroad.events.parse, postroad.sinks.stdout; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"pydantic", "jinja2", "click", "yaml", "asyncio", "logging", "subprocess", "email", "http", "ssl"}
    assert not heavy & set(loaded)
