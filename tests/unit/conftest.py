"""What tests of several rooms need."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.checks.model import Finding
from postroad.dns.records import Record
from postroad.dns.survey import Planned
from postroad.feedback import suppression
from postroad.returns.dmarc import DmarcReport
from postroad.returns.found import Bounce, Complaint, Other, UnreadableError
from postroad.returns.tlsrpt import TlsReport
from postroad.runtime import log
from postroad.store import database
from tests.unit import api, vendors
from tests.unit import whole as texts
from tests.unit.listener import Listener
from tests.unit.whole import Whole


@pytest.fixture
def whole(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Whole]:
    """The texts that the test meets; they are compared with those that are written down."""
    found = Whole()
    yield found
    found.compare(request.path.stem.removeprefix("test_"), request.node.name, tmp_path)


@pytest.fixture
def whole_findings(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finding is, word by word, as it is written down."""
    whole.watch(monkeypatch, Finding, texts.finding)


@pytest.fixture
def whole_records(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record likewise, and what is to become of it."""
    whole.watch(monkeypatch, Record, texts.record)
    whole.watch(monkeypatch, Planned, texts.planned)


@pytest.fixture
def whole_returned(request: pytest.FixtureRequest) -> None:
    """What was read of what came back, but where the test makes it at random."""
    if not getattr(request.function, "is_hypothesis_test", False):
        whole, monkeypatch = request.getfixturevalue("whole"), request.getfixturevalue("monkeypatch")
        for kind in (Bounce, Complaint, Other, UnreadableError, DmarcReport, TlsReport):
            whole.watch(monkeypatch, kind, texts.returned)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An event store of the test's own, SQLite, as the migrations make it."""
    made = database.connect(tmp_path / "events.db")
    database.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """A submission listener of the test's own, whose certificate is that of the generation ``gen-1``."""
    made = Listener(tmp_path)
    folder = tmp_path / "gen-1" / "tls"
    folder.mkdir(parents=True)
    (folder / "certificate.pem").write_bytes((tmp_path / "listener.pem").read_bytes())
    yield made
    made.close()


@pytest.fixture
def calls(engine: Engine, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[api.Api]:
    """The HTTP API before this listener."""
    monkeypatch.setattr(log, "tell", lambda *_: None)
    made = api.of(engine, replace(api.SETTINGS, submission=listener.port), tmp_path / "gen-1")
    yield made
    made.close()


@pytest.fixture
def relay(
    engine: Engine, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[vendors.Relay]:
    """The HTTP API on loopback, with every vendor's endpoints."""
    said: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text, *__: said.append(text))
    monkeypatch.setattr(suppression, "SUPPRESSED", tmp_path / "suppressed")
    monkeypatch.setattr(system, "write_database", lambda *_: None)
    with vendors.serving(engine, listener, tmp_path / "gen-1") as url:
        yield vendors.Relay(url, listener, engine, said)
