import json
import os
from pathlib import Path

import pytest

from postroad.events import model
from postroad.journal import writer as journal
from postroad.journal.reader import Position, read
from postroad.journal.writer import JournalSink, segments
from postroad.sinks.told import Told


def sink(folder: Path) -> tuple[JournalSink, list[str]]:
    told: list[str] = []
    made = JournalSink(folder, lambda _, message: told.append(message))
    made.enabled = True
    return made, told


def event(number: int) -> model.Event:
    return model.Delivered(time=number, queue_id=f"q{number}", recipient="a\n@b.example")


def lines(folder: Path) -> list[str]:
    return [line for path in segments(folder) for line in path.read_text().splitlines()]


def test_each_event_is_a_line_and_raw_ones_are_left_out(tmp_path: Path) -> None:
    made, told = sink(tmp_path / "events")
    for each in (event(1), model.Raw(time=2, message="x"), event(3)):
        made.handle([Told(each)])
    assert [json.loads(line)["queue_id"] for line in lines(tmp_path / "events")] == ["q1", "q3"]
    made.close()
    assert [batch.events[1]["queue_id"] for batch in read(tmp_path / "events", Position(), 10)] == ["q3"]
    assert not told


def test_nothing_is_kept_while_it_is_off(tmp_path: Path) -> None:
    made, _ = sink(tmp_path / "events")
    made.enabled = False
    made.handle([Told(event(1))])
    assert not (tmp_path / "events").exists()


def test_what_is_lost_is_counted_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.write_text("in the way")
    made, told = sink(folder)
    for number in range(3):
        made.handle([Told(event(number))])
    assert len(told) == 1
    assert "can't be written" in told[0]
    folder.unlink()
    made._again = 0
    made.handle([Told(event(9))])
    assert [json.loads(line)["event"] for line in lines(folder)] == ["gap", "delivered"]
    assert json.loads(lines(folder)[0])["lost"] == 3
    assert "3 events were lost" in told[1]


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, told = sink(tmp_path)
    made.handle([Told(event(1))])
    whole = lines(tmp_path)
    (path,) = segments(tmp_path)
    real, half = os.write, list[int]()

    def write(descriptor: int, data: bytes) -> int:  # a disk that takes ten bytes more
        if half:
            raise OSError(28, "No space left on device")
        half.append(1)
        return real(descriptor, data[:10])

    monkeypatch.setattr(os, "write", write)
    made.handle([Told(event(2))])
    monkeypatch.undo()
    assert path.read_text().splitlines() == whole
    assert "No space left" in told[0]


def test_a_reader_that_took_the_whole_lines_of_a_full_disk_misses_none_that_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, told = sink(tmp_path)
    made.handle([Told(event(1))])
    real, room, position = os.write, len(lines(tmp_path)[0]) * 5 // 2, Position()
    found: list[dict[str, object]] = []

    def take() -> None:
        nonlocal position
        for batch in read(tmp_path, position, 10):
            found.extend(batch.events)
            position = batch.position

    def write(descriptor: int, data: bytes) -> int:  # a disk that takes two and a half lines more
        nonlocal room
        taken, room = data[:room], 0
        if not taken:
            take()
            raise OSError(28, "No space left on device")
        return real(descriptor, taken)

    monkeypatch.setattr(os, "write", write)
    made.handle([Told(event(number)) for number in (2, 3, 4, 5)])
    monkeypatch.undo()
    made._again = 0
    made.handle([Told(event(number)) for number in (6, 7)])
    take()
    assert [each.get("queue_id", each.get("lost")) for each in found] == ["q1", "q2", "q3", 2, "q6", "q7"]
    assert "2 events were lost" in told[1]


def test_segments_follow_one_another_and_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT", 500)
    monkeypatch.setattr(journal, "MOST", 2000)
    made, told = sink(tmp_path)
    for number in range(40):
        made.handle([Told(event(number))])
    assert len(segments(tmp_path)) > 2
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 3000
    assert "wait there for the event store" in told[0]
    found = [each for batch in read(tmp_path, Position(), 7) for each in batch.events]
    assert [each["queue_id"] for each in found] == [f"q{number}" for number in range(len(found))]
