"""The short form of `make oracle`: the doctor beside receivers' own programs, and libspf2 on generated records."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from postroad.checks.model import Finding, Level
from tests.internet.host import Host
from tests.internet.internet import Internet
from tests.oracle.__main__ import libspf2
from tests.oracle.explained import EXPLAINED
from tests.oracle.ours import judge
from tests.oracle.states import STATES, State
from tests.oracle.table import Row, compare, receivers

SHORT = [state for state in STATES if state.short]


@pytest.fixture(scope="module")
def host(internet: Internet) -> Iterator[Host]:
    with receivers(internet) as started:
        yield started


@pytest.fixture(scope="module")
def rows(internet: Internet, host: Host) -> Mapping[str, Row]:
    return {row.state.name: row for row in compare(internet, host, SHORT)}


@pytest.mark.timeout(600)  # the image of the receivers may have to be built first
@pytest.mark.parametrize("name", [state.name for state in SHORT])
def test_the_doctor_says_what_receivers_say(name: str, rows: Mapping[str, Row]) -> None:
    assert rows[name].agrees or name in EXPLAINED, str(rows[name])


def test_no_record_passes_that_libspf2_calls_an_error(host: Host) -> None:
    judged = judge(800, seed=2)
    assert not judged.wrong(libspf2(host, judged.zone, judged.cases))


def test_each_known_disagreement_is_explained() -> None:
    names = {state.name for state in STATES}
    text = " ".join((Path(__file__).parents[2] / "docs" / "doctor.md").read_text().split())
    assert {*EXPLAINED} <= names
    assert not [reason for reason in EXPLAINED.values() if reason not in text]


@pytest.mark.parametrize(
    ("level", "seen", "verdict", "agrees"),
    [
        (Level.OK, "", "pass", True),
        (Level.OK, "", "fail", False),
        (Level.ERROR, "", "pass", False),
        (Level.ERROR, "the record a.example", "fail", True),
        (Level.WARNING, "another record", "fail", False),
    ],
)
def test_what_agreement_is(level: Level, seen: str, verdict: str, agrees: bool) -> None:
    row = Row(
        State("spf x"), {"one": "pass", "two": verdict}, {}, level, [Finding("spf", level, "x", seen)], ["a.example"]
    )
    assert row.agrees == agrees
