"""The doctor's look at the event database where there is none to be asked; test_postgresql_sessions.py has real ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.checks import store
from postroad.runtime import handover, recording
from postroad.store import database
from tests.unit.handed import recorded

pytestmark = pytest.mark.usefixtures("whole_findings")

URL = "postgresql://relay@127.0.0.1:9/mail"


class Context:
    def __init__(self, url: str | None) -> None:
        self.config: Any = type("Config", (), {"events": type("Events", (), {"store": url})})


def findings(url: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    monkeypatch.setattr(store, "CURRENT", folder)
    found = store.run(Context(url))  # type: ignore[arg-type]
    return [(each.level, f"{each.message}: {each.seen}", each.unknown) for each in found]


def test_sqlite_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(None, tmp_path, monkeypatch) == []


def test_without_a_running_server_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((level, text, unknown),) = findings(URL, tmp_path, monkeypatch)
    assert (level, unknown) == ("info", True)
    assert "there is no running server here" in text


def test_a_server_that_answers_and_one_that_fails_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """Real ones: test_postgresql_sessions.py. Here each answer is the test's."""
    settings = replace(recorded(), store=recording.DatabaseServer(URL, "secret-word"))
    opened = []

    def opening(given: recording.Settings) -> Engine:
        opened.append(given)
        return engine

    monkeypatch.setattr(database, "unreachable", lambda _: [])
    monkeypatch.setattr(database, "opened", opening)
    monkeypatch.setattr(database, "place", lambda _: URL)
    found = store.look(settings)  # SQLite does not know the statement
    assert (found.level, found.message, found.fix) == ("warning", "the event database can't be used", store.KEPT)
    assert found.seen == f'{URL}: near "SHOW": syntax error'
    monkeypatch.setattr(database, "is_current", lambda _: False)
    found = store.look(settings)
    assert (found.level, found.seen) == ("warning", URL)
    assert found.message == "the event database has not got our tables yet"
    assert opened == [settings, settings]


def test_a_server_that_is_away_is_a_warning_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(recorded(), store=recording.DatabaseServer(URL, "secret-word"))
    (tmp_path / recording.FILE).write_text(handover.dumps(settings))
    ((level, text, unknown),) = findings(URL, tmp_path, monkeypatch)
    assert (level, unknown) == ("warning", False)
    assert text.startswith(
        "the event database can't be used: postgresql://relay@127.0.0.1:9/mail can't be used: connection"
    )
    assert "secret-word" not in text
    assert "\n" not in text
