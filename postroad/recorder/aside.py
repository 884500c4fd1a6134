"""A batch goes into the store even where one of its events can't: that event is set aside, and counted as lost.

The journal is read again from where the store stands, so without this one bad line would hold up all that follow it.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from postroad.errors import PostroadError
from postroad.journal import reader
from postroad.journal.reader import Batch, Position
from postroad.journal.writer import GAP
from postroad.recorder import writer
from postroad.recorder.writer import Written
from postroad.runtime import recording

FILE = "unreadable.jsonl"
"""In the journal's folder: the lines that were set aside, for a bug report."""
MOST = 1 << 20
"""Octets of that file; further lines are only counted."""
WAIT = (OperationalError, PoolTimeoutError, OSError, PostroadError)
"""Errors that speak of the database, the disk or the network: the same batch may succeed later."""


class BatchResult(NamedTuple):
    """What was written, and how many lines were set aside."""

    written: Written
    aside: int


def write(
    engine: Engine, folder: Path, since: Position, batch: Batch, settings: recording.Settings, journal: int = 1
) -> BatchResult:
    """Write a batch that was read from ``folder`` after the position ``since``.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError, PostroadError: the store can't be written now, whatever the events.
    """
    try:
        found = [(writer.write(engine, batch, settings, journal), batch.unreadable)]
    except WAIT:
        raise
    except Exception:  # noqa: BLE001 - each event alone shows which one it is
        found = []
        for single in reader.read(folder, since, 1):
            found.append(_write_one(engine, single, settings, journal))
            if single.position >= batch.position:
                break
    lines = [line for _, unreadable in found for line in unreadable]
    keep(folder, lines)
    lost: dict[str, int] = {}
    for written, _ in found:
        for name, number in written.lost.items():
            lost[name] = lost.get(name, 0) + number
    return BatchResult(Written(any(written.suppressed for written, _ in found), lost), len(lines))


def _write_one(
    engine: Engine, single: Batch, settings: recording.Settings, journal: int
) -> tuple[Written, tuple[bytes, ...]]:
    """Write one event, or a gap in its place: where that can't be written either, the fault is not the event's."""
    try:
        return writer.write(engine, single, settings, journal), single.unreadable
    except WAIT:
        raise
    except Exception:  # noqa: BLE001
        gap = {"event": GAP, "since": time.time(), "lost": len(single.events)}
        written = writer.write(engine, Batch((gap,), single.position), settings, journal)
        return written, (*single.unreadable, *(json.dumps(event).encode() for event in single.events))


def keep(folder: Path, lines: Iterable[bytes]) -> None:
    """Append lines to the file of those that were set aside, as far as there is room on the disk and in it."""
    for line in lines:
        try:
            descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with open(descriptor, "ab", buffering=0) as file:
                if file.tell() + len(line) < MOST:
                    file.write(line.rstrip(b"\n") + b"\n")
        except OSError:
            return
