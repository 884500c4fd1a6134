"""What is told of one look beside the last: an error that is new, a check that fails no longer, and nothing twice."""

from pathlib import Path

import pytest

from postroad.checks import history
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.records import Record
from postroad.dns.resolver import Answer, Status
from postroad.events import own
from postroad.events.model import Doctor
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.runtime import looks
from postroad.runtime.looks import Look, Standing

FINE = Finding("spf", Level.OK, "SPF of a.example passes")
BAD = Finding("spf", Level.ERROR, "a.example has no SPF record", "no TXT", "publish this record")
OTHER = Finding("spf", Level.ERROR, "b.example has no SPF record")
SILENT = unanswered("spf", Answer("a.example", "TXT", Status.TIMEOUT))
REFUSES = Finding("spf", Level.INFO, "zen does not tell", unknown=True)


def told(*turns: list[Finding], blind: bool = False) -> list[list[tuple[str, str]]]:
    """The changes of each look of the check `spf`, an hour between two: level and message."""
    last, said = Look(), []
    for number, findings in enumerate(turns):
        last, changes = history.compare(last, {"spf": findings}, 3600.0 * (number + 1), blind=blind)
        said.append([(str(each.fields()["level"]), each.finding.message) for each in changes])
    return said


def test_what_turns_red_and_green_again_is_told_once() -> None:
    assert told([FINE], [BAD], [BAD], [FINE], [FINE]) == [
        *([], [("error", BAD.message)], [], [("ok", FINE.message)], []),
    ]


def test_what_was_never_looked_at_counts_as_green() -> None:
    assert told([BAD]) == [[("error", BAD.message)]]


def test_each_new_error_is_told_and_green_means_that_none_is_left() -> None:
    assert told([BAD], [BAD, OTHER], [OTHER], [FINE])[1:] == [[("error", OTHER.message)], [], [("ok", FINE.message)]]


def test_warnings_are_no_change() -> None:
    warning = Finding("spf", Level.WARNING, "SPF of a.example lets everybody pass")
    assert told([FINE], [warning], [FINE]) == [[], [], []]


def test_what_can_not_be_found_out_changes_nothing() -> None:
    assert told([FINE], [SILENT], [FINE]) == [[], [], []]
    assert told([BAD], [SILENT], [SILENT], [BAD], [SILENT], [FINE])[1:] == [[], [], [], [], [("ok", FINE.message)]]
    last, _ = history.compare(Look(), {"spf": [BAD]}, 1.0)
    last, _ = history.compare(last, {"spf": [SILENT]}, 2.0)
    assert last.checks["spf"].errors == (BAD.message,)


def test_an_error_that_only_says_that_nothing_is_known_is_none() -> None:
    assert told([FINE], [Finding("spf", Level.ERROR, "the address is not known", unknown=True)]) == [[], []]


def test_what_can_never_be_found_out_does_not_keep_an_error() -> None:
    assert told([BAD, REFUSES], [FINE, REFUSES])[1] == [("ok", FINE.message)]


def test_a_check_that_says_nothing() -> None:
    assert told([BAD], [], [BAD], blind=True)[1:] == [[], []], "without the address nothing can be said"
    assert told([BAD], [], [BAD])[1:] == [[], [("error", BAD.message)]], "it does not apply any more, and then it does"


def test_numbers_that_change_are_the_same_fault() -> None:
    clock = [Finding("spf", Level.ERROR, f"the clock is {off} s behind") for off in (301, 305)]
    assert told([clock[0]], [clock[1]])[1] == []
    lists = [Finding("spf", Level.ERROR, f"203.0.113.{end} is on the blocklist bl.example") for end in (1, 2)]
    assert told([lists[0]], lists)[1] == [("error", lists[1].message)]


def test_how_long_it_failed() -> None:
    last, _ = history.compare(Look(), {"spf": [BAD]}, 1000.0)
    last, _ = history.compare(last, {"spf": [BAD, OTHER]}, 2000.0)
    _, (change,) = history.compare(last, {"spf": [FINE]}, 8200.4)
    assert change.fields() == {"check": "spf", "level": "ok", "message": FINE.message, "failed_for": 7200}


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    assert looks.read(path) == Look()
    kept = Look(5.0, {"spf": Standing(("a",), 2, ("b",), 4.0)})
    looks.write(path, kept)
    assert looks.read(path) == kept


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1, "checks": []}', '{"at": 1, "checks": {"spf": 5}}', "\xff"])
def test_a_file_that_can_not_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "doctor.json"
    path.write_text(text, encoding="latin-1")
    assert looks.read(path) == Look()


def test_a_change_is_an_event() -> None:
    bad = Finding(
        "dkim", Level.ERROR, "is missing", "", "publish it", Record("k._domainkey.a.example", "TXT", 60, "p=x", "")
    )
    _, (change,) = history.compare(Look(), {"dkim": [bad]}, 1.0)
    event = own.read(parse_datagram(format_datagram("err", own.doctor(change.fields())), 5.0))
    assert isinstance(event, Doctor)
    said = {name: value for name, value in event.to_dict().items() if name not in {"time", "program", "pid"}}
    assert said == {
        "event": "doctor",
        "check": "dkim",
        "level": "error",
        "message": "is missing",
        "fix": "publish it",
        "record": "k._domainkey.a.example TXT p=x",
    }


@pytest.mark.parametrize("text", ["long " * 1000, "\u00e4" * 3000, '"' * 3000])
def test_a_long_one_is_an_event_still(text: str) -> None:
    fields = {"check": "spf", "level": "error", "message": text, "seen": text, "fix": text, "record": text}
    line = format_datagram("err", own.doctor(fields))
    assert len(line) <= 2000, "more is cut by the log, and is then no JSON"
    event = own.read(parse_datagram(line, 5.0))
    assert isinstance(event, Doctor)
    assert event.record is None
    assert text.startswith(event.message.rstrip("\u2026"))
