"""What waits for a route, read from control files."""

import os
import time
from pathlib import Path

from postroad.runtime import refusals
from postroad.sendmail import queue
from postroad.shaper.messages import ShapedMessage, read
from postroad.shaper.misfiled import Misfiled
from postroad.shaper.waiting import RouteQueue

NOW = time.time()


def write(folder: Path, number: int, *recipients: str, attempts: int = 0, last: float = 0, reason: str = "") -> Path:
    lines = ["V8", f"T{int(NOW) - 100}", f"K{int(last)}", f"N{attempts}", "P1", *([f"M{reason}"] if reason else [])]
    lines += ["S<app@sender.example>", *(f"RPFD:<{recipient}>" for recipient in recipients or ["u@rcpt.example"])]
    path = folder / f"qf6AOALKBA{number:06}"
    path.write_text("\n".join([*lines, "H??Subject: x", ".", ""]))
    path.with_name(f"df{path.name[2:]}").write_text("x")
    return path


def waiting(folder: Path, retry: float = 300, limits: tuple[float, ...] = ()) -> RouteQueue:
    return RouteQueue(folder, retry, one_way=False, by_domain=True, limits=limits)


def ids(entries: list[ShapedMessage]) -> list[int]:
    return [int(entry.queue_id[-6:]) for entry in entries]


def test_what_a_message_takes(tmp_path: Path) -> None:
    two = write(tmp_path, 1, *(f"u{n}@A.example" for n in range(150)), "u@b.example")
    entry = read(two, 300, one_way=False, by_domain=True)
    assert entry is not None
    assert (entry.tries, entry.domain) == (3, None)
    entry = read(two, 300, one_way=True, by_domain=True)
    assert entry is not None
    assert (entry.tries, entry.domain) == (2, "")
    one = write(tmp_path, 2, "u@A.example", "v@a.example")
    assert [
        (entry.tries, entry.domain)
        for by_domain in (True, False)
        if (entry := read(one, 300, one_way=False, by_domain=by_domain))
    ] == [(1, "a.example"), (1, None)]
    one.unlink()
    assert read(one, 300, one_way=False, by_domain=True) is None


def test_first_come_first_served_and_retries_when_they_are_due(tmp_path: Path) -> None:
    for number, age in ((1, 10), (2, 30), (3, 20)):
        os.utime(write(tmp_path, number), (NOW - age, NOW - age))
    write(tmp_path, 4, attempts=1, last=NOW - 310)
    write(tmp_path, 5, attempts=1, last=NOW - 290)
    mine = waiting(tmp_path)
    mine.refresh()
    assert ids(list(mine.due(NOW, fresh=True))) == [2, 3, 4, 1]
    assert list(mine.due(NOW, fresh=True)) == []
    assert ids(list(mine.due(NOW + 11, fresh=False))) == [5]


def test_without_fresh_ones_only_retries(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2, attempts=1, last=NOW - 310)
    mine = waiting(tmp_path)
    mine.refresh()
    assert ids(list(mine.due(NOW, fresh=False))) == [2]


def test_what_is_put_back_is_due_once(tmp_path: Path) -> None:
    write(tmp_path, 1)
    mine = waiting(tmp_path)
    mine.refresh()
    for _ in range(3):
        (entry,) = mine.due(time.time(), fresh=True)
        mine.put(entry)
        mine.put(entry)
    assert ids(list(mine.due(time.time(), fresh=True))) == [1]


def test_what_goes_is_forgotten_and_what_comes_is_seen(tmp_path: Path) -> None:
    first = write(tmp_path, 1)
    mine = waiting(tmp_path)
    mine.refresh()
    first.unlink()
    write(tmp_path, 2)
    mine.refresh()
    assert ids(list(mine.due(time.time(), fresh=True))) == [2]


def test_a_directory_that_has_not_changed_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, 1)
    os.utime(tmp_path, (NOW - 60, NOW - 60))
    mine = waiting(tmp_path)
    mine.refresh()
    mine.entries.clear()
    mine.refresh()
    assert not mine.entries
    os.utime(tmp_path, (NOW, NOW))
    mine.refresh()
    assert mine.entries


def test_senders_are_told_once_for_each_limit_if_it_is_due(tmp_path: Path) -> None:
    path, now = write(tmp_path, 1), NOW  # 100 seconds old
    os.utime(path, (now, now))
    mine = waiting(tmp_path, limits=(90, 150))
    mine.refresh()
    assert ids(list(mine.to_tell(now))) == [1]
    write(tmp_path, 1, attempts=1, last=now)
    mine.add(path)
    assert list(mine.to_tell(now + 60)) == [], "due in 300 seconds: then sendmail tells by itself"
    assert ids(list(mine.to_tell(now + 301))) == [1]


def test_a_misfiled_message_is_known_by_what_sendmails_rules_said(tmp_path: Path) -> None:
    reason = refusals.waits("delivery.routes[3] (2 at once, 100/minute)", "route-5f7aef8e")
    misfiled = write(tmp_path, 1, reason=f"Deferred: 451 {reason}")
    write(tmp_path, 2, reason="Deferred: Connection refused by mx.rcpt.example.")
    header = f"V8\nS<a@b.example>\nRPFD:<u@rcpt.example>\nH??Subject: a\nMDeferred: 451 {reason}\n.\n"
    write(tmp_path, 3).write_text(header)
    of_a_recipient = write(tmp_path, 4, reason=f"Deferred: no answer from mx.rcpt.example\nMDeferred: 451 {reason}")
    looked = Misfiled(tmp_path)
    assert sorted(looked.found()) == [("route-5f7aef8e", misfiled), ("route-5f7aef8e", of_a_recipient)]
    for path in tmp_path.iterdir():
        os.utime(path, (NOW - 60, NOW - 60))
    assert list(looked.found()) == [], "it was seen"


def test_a_message_moves_whole_and_only_if_nobody_has_it(tmp_path: Path) -> None:
    here, there = tmp_path / "route-1", tmp_path
    here.mkdir()
    path = write(here, 1)
    with queue.lock(path) as held:
        assert held
        assert queue.move(path, there) is False
    assert queue.move(path, there) is True
    assert {each.name for each in there.iterdir()} == {"route-1", path.name, f"df{path.name[2:]}"}
    assert queue.move(path, there) is None


def test_a_move_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    here = tmp_path / "route-1"
    here.mkdir()
    path = write(here, 1)
    path.with_name(f"df{path.name[2:]}").rename(tmp_path / f"df{path.name[2:]}")
    assert queue.move(path, tmp_path) is True
    (message,) = queue.messages(tmp_path)
    assert (message.note, message.size) == ("", 1)
