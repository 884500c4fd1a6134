"""Tables are not broken into lines where there is no terminal."""

import io
import sys

import pytest
from rich.table import Table

from postroad.cli import terminal

LONG = "x" * 300


def printed(monkeypatch: pytest.MonkeyPatch, *, stderr: bool = False) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr" if stderr else "stdout", stream)
    table = Table(box=None)
    table.add_column("one")
    table.add_column("two")
    table.add_row(LONG, "the end")
    terminal.console(stderr=stderr).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("stderr", [False, True])
def test_a_row_is_a_line_without_a_terminal(monkeypatch: pytest.MonkeyPatch, stderr: bool) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    _, row = printed(monkeypatch, stderr=stderr).splitlines()
    assert row.split() == [LONG, "the", "end"]
    assert len(row) < 320  # no wider than what stands in it


def test_columns_that_are_asked_for_are_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert all(len(line) <= 60 for line in printed(monkeypatch).splitlines())
