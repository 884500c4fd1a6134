"""The process that looks up MTA-STS policies: its settings, what it tells, and how it gives up."""

import asyncio
import logging
import os
import sqlite3
from typing import Any, NoReturn

import pytest

from postroad import mta_sts


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(mta_sts, "tell", lambda level, text: said.append((level, text)))
    return said


def test_the_library_s_lines_are_the_log_s(log: list[tuple[str, str]]) -> None:
    for level in (logging.WARNING, logging.ERROR, logging.CRITICAL):
        mta_sts.LogHandler().emit(logging.LogRecord("x", level, "x", 1, "policy of %s", ("a.example",), None))
    assert log == [
        ("warning", "mta-sts: policy of a.example"),
        ("err", "mta-sts: policy of a.example"),
        ("err", "mta-sts: policy of a.example"),
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (sqlite3.DatabaseError("malformed"), "can't be read (malformed): remove it"),
        (PermissionError(13, "Permission denied"), "can't be listened on: Permission denied"),
    ],
)
def test_it_gives_up_at_once(
    log: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    class Cache:
        async def setup(self) -> None:
            raise error

    def exits(code: int) -> NoReturn:
        raise SystemExit(code)

    def made(kind: str, options: dict[str, Any]) -> Cache:
        assert (kind, options["threads"]) == ("sqlite", 2)
        return Cache()

    monkeypatch.setattr(mta_sts, "create_cache", made)
    monkeypatch.setattr(os, "_exit", exits)
    with pytest.raises(SystemExit) as ended:
        asyncio.run(mta_sts.serve())
    assert ended.value.code == 1
    ((level, text),) = log
    assert (level, said in text) == ("err", True)
