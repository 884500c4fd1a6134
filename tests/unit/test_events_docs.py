"""docs/events.md against the code: every kind with exactly its fields, and examples that were recorded."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from postroad.events import model
from tests.unit.test_events_model import KINDS

DOCS = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
SECTIONS = {
    head.strip(): body
    for head, _, body in (part.partition("\n") for part in re.split(r"^### ", DOCS, flags=re.MULTILINE)[1:])
}
TODAY = {"listener": {"MTA": "smtp"}, "mailer": {"esmtp": "mx"}}
"""Names in the recordings, which an older configuration gave, and those of today's."""
RECORDED = [
    event | {key: names.get(event[key], event[key]) for key, names in TODAY.items() if key in event}
    for path in sorted((Path(__file__).parents[1] / "logs").glob("*.json"))
    for event in json.loads(path.read_text())
]

OWN = {
    model.State,
    model.Notice,
    model.BounceRate,
    model.ComplaintRate,
    model.Doctor,
    model.Console,
    model.Evacuated,
    model.TakenOver,
    model.Slowed,
    model.Paused,
    model.Resumed,
    model.Complained,
    model.Unsubscribed,
    model.Returned,
    model.Reported,
}
"""What no line of sendmail's tells."""


def test_every_kind_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(kind.kind for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.kind))
def test_the_section_has_the_fields(kind: type[model.Event]) -> None:
    common = {field.name for field in fields(model.Event)}
    documented = re.findall(r"^\| `(\w+)` \|", SECTIONS[kind.kind], flags=re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == {field.name for field in fields(kind)} - common


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.kind))
def test_the_example_is_a_real_one(kind: type[model.Event]) -> None:
    (text,) = re.findall(r"```json\n(.*)\n```", SECTIONS[kind.kind])
    example = json.loads(text)
    assert example["event"] == kind.kind
    if kind in OWN:
        assert set(example) <= {"event"} | {field.name for field in fields(kind)}
    else:
        assert example in RECORDED
