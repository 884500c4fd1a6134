"""What the journal holds from a position on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroad.journal.writer import END, GAP, segments


@dataclass(frozen=True, order=True)
class Position:
    """Up to where the journal is read: a segment's name and the bytes of it. Empty: nothing yet."""

    segment: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Batch:
    """Some events, the position after them, and the lines among them that are no events."""

    events: tuple[dict[str, Any], ...]
    position: Position
    unreadable: tuple[bytes, ...] = ()


def read(folder: Path, position: Position, most: int) -> Iterator[Batch]:
    """Batches of at most ``most`` events, until what is written so far is read.

    A segment that was cut short, by a kill or a power failure, a line that can't be read, and a note of the journal's
    own that events were lost become events of the kind ``gap``: ``since`` (seconds since the epoch) and, where known,
    ``lost``.

    Raises:
        OSError: a segment can't be read.
    """
    there = [path for path in segments(folder) if path.name >= position.segment]
    for path in there:
        offset = position.offset if path.name == position.segment else 0
        last = path == there[-1]
        ended = offset >= path.stat().st_size and offset > 0 and not last and _ended(path)
        with path.open("rb") as file:
            file.seek(offset)
            events: list[dict[str, Any]] = []
            unreadable: list[bytes] = []
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written, or cut short
                offset += len(line)
                event = _parse(line)
                if event is None:
                    unreadable.append(line)
                    event = {"event": GAP, "since": path.stat().st_mtime, "lost": 1}
                if event["event"] == END:
                    ended = True
                    continue
                events.append(event)
                if len(events) == most:
                    yield Batch(tuple(events), Position(path.name, offset), tuple(unreadable))
                    events, unreadable = [], []
            if not last and not ended:
                events.append({"event": GAP, "since": path.stat().st_mtime})
                offset = max(offset, path.stat().st_size)
            if events or offset != position.offset or path.name != position.segment:
                yield Batch(tuple(events), Position(path.name, offset), tuple(unreadable))


def _ended(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read().endswith(json.dumps({"event": END}).encode() + b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # torn by a power failure, or no line of ours
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    return event if event["event"] != GAP or isinstance(event.get("since"), float | int) else None
