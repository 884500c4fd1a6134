"""The runner: what a check does to itself must not be done to the others."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from postroad.checks import CHECKS
from postroad.checks.__main__ import line
from postroad.checks.context import CheckFacts, Context, Late, Task, side_by_side
from postroad.checks.doctor import examine
from postroad.checks.model import Check, Finding, Level
from postroad.config.model import Config
from postroad.dns.records import Record
from postroad.dns.resolver import Resolver

CONFIG = Config.model_validate({"hostname": "mail.a.example", "domains": ["a.example"]})
NONE = CheckFacts((), {})
DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"


def context(limit: float = 5, find: Callable[[], CheckFacts] = lambda: NONE) -> Context:
    return Context(CONFIG, Resolver(["127.0.0.1"]), find, deadline=time.monotonic() + limit)


def check(name: str, run: Callable[[Context], Iterable[Finding]]) -> Check:
    return cast("Check", SimpleNamespace(ID=name, SHORT=True, run=run))


def fine(context: Context) -> Iterable[Finding]:
    return [Finding("fine", Level.OK, "well")]


def test_one_that_raises_and_one_that_hangs_are_findings() -> None:
    def broken(context: Context) -> Iterable[Finding]:
        yield Finding("broken", Level.OK, "so far")
        raise ZeroDivisionError("division")

    def hangs(context: Context) -> Iterable[Finding]:
        time.sleep(60)
        return []

    began = time.monotonic()
    found = {
        each.ID: findings
        for each, findings in examine(
            [check("hangs", hangs), check("broken", broken), check("fine", fine)], context(0.5)
        )
    }
    assert time.monotonic() - began < 5
    assert [finding.level for finding in found["fine"]] == ["ok"]
    (raised,), (late,) = found["broken"], found["hangs"]
    assert (raised.level, "ZeroDivisionError: division (test_checks_doctor.py:" in raised.seen) == ("error", True)
    assert (late.level, "did not end in time" in late.message) == ("warning", True)


def test_they_run_side_by_side() -> None:
    together = threading.Barrier(10, timeout=4)

    def meets(context: Context) -> Iterable[Finding]:
        together.wait()
        return fine(context)

    found = list(examine([check(str(number), meets) for number in range(10)], context()))
    assert [finding.level for _, (finding,) in found] == ["ok"] * 10


def test_what_is_shared_is_found_once() -> None:
    calls, together = [], threading.Barrier(5, timeout=4)

    def find(context: Context) -> int:
        calls.append(1)
        return 7

    def asks(_: int) -> int:
        together.wait()
        return shared.shared(find)

    shared = context()
    assert side_by_side(asks, range(5)) == [7] * 5
    assert calls == [1]


def never() -> CheckFacts:
    time.sleep(30)
    return NONE


def test_facts_that_come_too_late() -> None:
    with pytest.raises(Late):
        _ = context(0.2, never).facts


def test_an_exception_comes_where_the_result_is_taken() -> None:
    task = Task(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        task.result(5)


def test_the_checks_have_names_of_their_own() -> None:
    names = [each.ID for each in CHECKS]
    assert len(set(names)) == len(names)
    table = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCS.read_text(), re.MULTILINE)
    assert set(names) <= set(table), "a row in docs/doctor.md"
    beside = {
        "mx",
        "returns",
        "reports",
        "starttls",
        "blocklists",
        "clock",
        "mta-sts",
        "bimi",
        "senders",
        "clients",
        "smarthost-session",
        "store",
    }
    assert {each.ID for each in CHECKS if not each.SHORT} == beside


def test_a_finding_in_a_line_and_as_json() -> None:
    record = Record("a.example", "TXT", 60, "v=spf1 -all", "SPF")
    finding = Finding("spf", Level.ERROR, "a.example has no\nSPF record", "nxdomain", "publish it", record)
    assert line(finding) == (
        "doctor: spf: a.example has no SPF record (nxdomain); publish it: a.example TXT v=spf1 -all"
    )
    assert finding.to_dict() == {
        "id": "spf",
        "level": "error",
        "message": "a.example has no\nSPF record",
        "seen": "nxdomain",
        "fix": "publish it",
        "record": {"name": "a.example", "type": "TXT", "value": "v=spf1 -all"},
    }
    assert "record" not in Finding("spf", Level.OK, "well").to_dict()


def test_many_that_hang_end_together() -> None:
    """Each gets no time of its own after the end."""
    began = time.monotonic()

    def hangs(context: Context) -> Iterable[Finding]:
        time.sleep(60)
        return []

    assert len(list(examine([check(str(number), hangs) for number in range(12)], context(0.5)))) == 12
    assert time.monotonic() - began < 1.5
