"""Receivers' reports in sentences, and as the doctor's findings."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.checks import reports as check
from postroad.checks.context import CheckFacts
from postroad.errors import PostroadError
from postroad.feedback import reports
from postroad.feedback.reports import Statement, Weight
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.store import database
from postroad.times import stamp
from tests.unit.checking import ADDRESS, context
from tests.unit.handed import RECORDING

NOW = datetime(2026, 11, 26, 18, tzinfo=UTC).timestamp()
DAY = 86_400


def begin(days: int) -> int:
    return int(NOW) // DAY * DAY - days * DAY


def seen(days: int, count: int, *, dkim: bool = True, spf: bool = True, **fields: Any) -> dict[str, Any]:
    row = {"event": "reported", "report": "dmarc", "organization": "Yahoo", "domain": "x.example", "source": ADDRESS}
    return row | {"count": count, "dkim": dkim, "spf": spf, "begin": begin(days), "end": begin(days - 1)} | fields


def tls(days: int, count: int, result: str = "success", source: str = "") -> dict[str, Any]:
    row = {"event": "reported", "report": "tls", "organization": "Google", "domain": "x.example", "result": result}
    return row | {"count": count, "source": source, "begin": begin(days)}


def said(*rows: dict[str, Any], addresses: tuple[str, ...] = (ADDRESS,)) -> list[Statement]:
    return reports.statements(rows, lambda domain: domain == "x.example", addresses, NOW)


def test_all_is_well() -> None:
    (one,) = said(seen(3, 500), seen(2, 500), seen(2, 5, organization="Google"))
    assert one.weight is Weight.OK
    assert one.text == "2 receivers reported 1005 messages of x.example from here in two weeks: DKIM and SPF pass"


def test_a_share_fails_since_a_day() -> None:
    """The 26th of November 2026 is a Thursday."""
    found = said(seen(5, 3, dkim=False), seen(4, 1000), seen(2, 970), seen(2, 20, dkim=False), seen(1, 10, dkim=False))
    assert [(each.weight, each.text) for each in found] == [
        (Weight.WARNING, "Yahoo saw 1.6% of the mail of x.example from here fail DKIM since Tuesday")
    ]
    assert found[0].seen == f"33 of 2003 messages; from {ADDRESS}"
    assert "`dkim`" in found[0].fix


def test_spf_and_each_receiver_by_itself() -> None:
    found = said(seen(10, 5, spf=False), seen(10, 5), seen(1, 50, organization="Google"))
    assert [each.text for each in found] == [
        "Yahoo saw 50% of the mail of x.example from here fail SPF since 16 November"
    ]


def test_a_message_that_was_altered_on_its_way_is_nothing_to_say() -> None:
    (one,) = said(seen(1, 1000), seen(1, 10, dkim=False))
    assert one.weight is Weight.OK


def test_others_who_send_as_us() -> None:
    others = seen(3, 30, dkim=False, spf=False, source="198.51.100.7")
    found = said(others, others | {"organization": "Google", "count": 5})
    assert [(each.weight, each.text) for each in found] == [
        (
            Weight.INFO,
            "198.51.100.7, which is no address of ours, sends as x.example, and fails DKIM and SPF since Monday",
        )
    ]
    assert found[0].seen == "35 messages, by Google, Yahoo"
    assert said(others | {"count": 9}) == [], "few"
    assert said(others | {"dkim": True}) == [], "a forwarder, or a service that signs"
    assert said(others, addresses=()) == [], "it is not known which are ours"


def test_tls() -> None:
    found = said(tls(2, 900), tls(2, 60, "certificate-expired", "mx1.x.example"), tls(2, 40, "starttls-not-supported"))
    assert [(each.weight, each.text) for each in found] == [
        (Weight.WARNING, "Google could not use TLS for 10% of its sessions with the MX of x.example since Tuesday")
    ]
    assert found[0].seen == "100 of 1000 sessions: certificate-expired at mx1.x.example, starttls-not-supported"
    assert said(tls(2, 1000), tls(2, 10, "other")) == []


def test_the_worst_comes_first_and_others_domains_say_nothing() -> None:
    rows = [seen(1, 50), seen(1, 50, source="198.51.100.7", dkim=False, spf=False), tls(1, 1, "other")]
    assert [each.weight for each in said(*rows)] == [Weight.WARNING, Weight.INFO, Weight.OK]
    assert said(*(row | {"domain": "y.example"} for row in rows)) == []


@pytest.mark.parametrize("row", [{"begin": None}, {"begin": 2**40}, {"organization": None}, {"source": None}])
def test_what_a_report_leaves_out(row: dict[str, Any]) -> None:
    assert said(
        seen(1, 50, dkim=False, spf=False) | row, seen(1, 20, dkim=False, spf=False, source="198.51.100.7") | row
    )


@pytest.mark.parametrize(
    ("complained", "delivered", "weight"),
    [(1, 2000, Weight.INFO), (2, 2000, Weight.WARNING), (9, 900, Weight.INFO)],
)
def test_a_complaint_rate_that_receivers_do_not_bear(complained: int, delivered: int, weight: Weight) -> None:
    counts = {"complained": complained, "delivered": delivered, "complaint_rate": complained / delivered}
    found = reports.complaints(counts)
    assert found
    assert (found.weight, bool(found.fix)) == (weight, weight is Weight.WARNING)


def test_without_complaints_nothing_is_said() -> None:
    assert reports.complaints({"complained": 0, "delivered": 0, "complaint_rate": None}) is None


class TestTheCheck:
    """From the store to the doctor."""

    def test_nothing_without_returns(self) -> None:
        assert list(check.run(context({}))) == []

    def test_what_is_in_the_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = database.connect(tmp_path / "events.db")
        database.upgrade(engine)
        monkeypatch.setattr(database, "existing", lambda: database.connect(tmp_path / "events.db"))
        made = context({}, returns={"domain": "bounces.x.example"})
        (none,) = check.run(made)
        assert (none.level, "dmarc@bounces.x.example" in none.fix) == ("info", True)
        self._put(engine, seen(1, 100), seen(1, 90, dkim=False))
        (found,) = check.run(made)
        assert (found.level, found.id) == ("warning", "reports")
        assert "47% of the mail of x.example" in found.message
        engine.dispose()

    def test_reports_that_say_nothing_are_not_told_as_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = database.connect(tmp_path / "events.db")
        database.upgrade(engine)
        monkeypatch.setattr(database, "existing", lambda: database.connect(tmp_path / "events.db"))
        returns = {"domain": "bounces.x.example"}
        nowhere = context({}, facts=CheckFacts((), {}, "no server was asked"), returns=returns)
        self._put(engine, seen(1, 3, source="198.51.100.7", dkim=False, spf=False) | {"domain": "y.example"})
        for made in (context({}, returns=returns), nowhere):
            (found,) = check.run(made)
            assert found.message == "no report of the last two weeks tells of mail from here"
        self._put(engine, seen(1, 100))
        (found,) = check.run(nowhere)
        assert (found.level, found.unknown, found.seen) == ("info", True, "no server was asked")
        assert "public_ip" in found.fix
        self._put(engine, tls(1, 9, "other"))
        assert [each.level for each in check.run(nowhere)] == ["warning", "info"]
        engine.dispose()

    def test_complaints(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = database.connect(tmp_path / "events.db")
        database.upgrade(engine)
        monkeypatch.setattr(database, "existing", lambda: database.connect(tmp_path / "events.db"))
        about = {"time": stamp(time.time()), "queue_id": "q", "sender": "app@x.example", "recipient": "u@y.example"}
        self._put(engine, *({"event": kind, **about} for kind in ("accepted", "delivered", "complained")))
        (found, _) = check.run(context({}, returns={"domain": "bounces.x.example"}))
        assert (found.level, found.id) == ("info", "reports")
        assert found.message == "1 of 1 recipients called mail from here spam in two weeks (100.00%)"
        engine.dispose()

    def test_a_store_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise PostroadError("no events are kept")

        monkeypatch.setattr(database, "existing", fail)
        (found,) = check.run(context({}, returns={"domain": "bounces.x.example"}))
        assert (found.level, found.unknown, found.seen) == ("info", True, "no events are kept")

    def test_old_reports_count_no_more(self, tmp_path: Path) -> None:
        engine = database.connect(tmp_path / "events.db")
        database.upgrade(engine)
        self._put(engine, seen(1, 100) | {"time": "2026-01-01T00:00:00Z"}, seen(1, 7))
        with engine.connect() as connection:
            assert [row["count"] for row in reports.rows(connection, time.time())] == [7]
        engine.dispose()

    @staticmethod
    def _put(engine: Engine, *rows: dict[str, Any]) -> None:
        writer.write(engine, Batch(rows, Position("journal-1.jsonl", 1)), RECORDING)
