"""What strangers control, as commands print it: no order to a terminal, no formula to a spreadsheet."""

import csv
import importlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import Engine

from postroad.checks.model import Finding, Level
from postroad.cli import dns, doctor, suppress
from postroad.commands import suppressions
from postroad.config.model import Config
from postroad.dns.formats import bind, cloudflare
from postroad.dns.records import Record
from postroad.dns.survey import Planned, RecordState
from postroad.errors import PostroadError
from postroad.feedback import suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.store import database

EVIL = "v=spf1 \x1b]0;owned\x07 \x9b2J \x7f \r \u202e \u2028 ~all"
ORDERS = set("\x1b\x07\x9b\x7f\r\u202e\u2028")
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''+1", "\uff1d1", "'", "plain", "a=b"]


def planned() -> Planned:
    record = Record("example.com", "TXT", 3600, EVIL, "for a test")
    return Planned(
        record, RecordState.CHANGE, "example.com", replaces=(EVIL,), notes=(f"Added: {EVIL}\nevil. IN A 192.0.2.1",)
    )


def test_dns_prints_no_order(capsys: pytest.CaptureFixture[str]) -> None:
    dns._table([planned()], Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"]}))
    printed = capsys.readouterr().out
    assert "owned" in printed
    assert not ORDERS & set(printed.replace("\x1b[33m", "").replace("\x1b[1m", "").replace("\x1b[0m", ""))


def test_doctor_prints_no_order() -> None:
    out = io.StringIO()
    record = Record("example.com\x1b", "TXT", 3600, EVIL, "for a test")
    finding = Finding("spf", Level.ERROR, EVIL, seen=EVIL, fix=EVIL, record=record)
    doctor.show([finding], Console(file=out, highlight=False, width=200))
    assert out.getvalue().count("owned") == 4
    assert not ORDERS & set(out.getvalue())


@pytest.mark.parametrize("form", [bind, cloudflare])
def test_a_note_makes_no_record_in_a_zone_file(form: object) -> None:
    assert callable(form)
    text = form([planned()])
    assert not ORDERS & set(text)
    assert not [line for line in text.splitlines() if line.startswith("evil.")]


def test_an_error_prints_no_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise PostroadError(f"two lines:\n  {EVIL}")

    command_line = importlib.import_module("postroad.cli.main")  # its function has the module's name in the package
    monkeypatch.setattr(command_line.cli, "main", fail)
    assert command_line.main() == 1
    printed = capsys.readouterr().err
    assert printed.startswith("postroad: two lines:\n  v=spf1")
    assert not ORDERS & set(printed)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    made = database.connect(tmp_path / "events.db")
    database.upgrade(made)
    monkeypatch.setattr(database, "existing", lambda: made)
    monkeypatch.setattr(suppression, "publish", lambda _: 0)
    yield made
    made.dispose()


def test_an_export_holds_no_formula_and_is_read_back(engine: Engine) -> None:
    now = float(int(time.time()))
    found = [
        SuppressedAddress(f"{local}@x.example", "manual", now + i, None, f"{local} {EVIL}", "")
        for i, local in enumerate(("=cmd", "+1", "-1", "'=x", "''=x", "o'neil", "plain"))
    ]
    with database.writing(engine) as connection:
        suppression.add(connection, found)
    exported = CliRunner().invoke(suppress.command, ["export"])
    assert exported.exit_code == 0, exported.output
    cells = [cell for row in list(csv.reader(io.StringIO(exported.stdout)))[1:] for cell in row]
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}]
    assert not ORDERS & set(exported.stdout)
    with database.writing(engine) as connection:
        suppression.remove(connection, [entry.recipient for entry in found])
        assert suppression.entries(connection) == []
    imported = CliRunner().invoke(suppress.command, ["import"], input=exported.stdout)
    assert imported.exit_code == 0, imported.output
    with engine.connect() as connection:
        back = suppression.entries(connection)
    assert sorted((each.recipient, each.added) for each in back) == sorted(
        (each.recipient, each.added) for each in found
    )
    assert {each.detail[:2] for each in back if each.detail} == {each.detail[:2] for each in found if each.detail}


@given(st.text(max_size=9).filter(str.isprintable) | st.sampled_from(FORMULAS).filter(str.isprintable))
def test_a_cell_is_no_formula_and_is_what_it_was(text: str) -> None:
    cell = suppressions._cell(text)
    assert cell[:1] not in {"=", "+", "-", "@"}
    assert suppressions._value(cell) == text


def test_the_doctor_tells_programs_of_each_check_as_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("spf", Level.ERROR, "example.com has 2 SPF records", "two", "remove one")]
    monkeypatch.setattr(doctor, "load", lambda: None)
    monkeypatch.setattr(doctor, "begin", lambda _: None)
    monkeypatch.setattr(doctor, "examine", lambda checks, _: ((check, found) for check in checks))
    result = CliRunner().invoke(doctor.command, ["--json-lines", "--only", "spf"], standalone_mode=False)
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {"checks": ["spf"]}
    assert (second["check"], second["findings"][0]["level"]) == ("spf", "error")
    assert second["findings"][0]["key"] == "example.com has # SPF records"
    assert result.return_value == 1
    result = CliRunner().invoke(doctor.command, ["--json-lines", "--wait"])
    assert "--json-lines can't be combined" in result.output
