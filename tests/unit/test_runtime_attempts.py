"""The picture of the attempts that are under way."""

import os
import socket
import struct
import time
from pathlib import Path

from postroad.runtime.attempts import under_way

NOW = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)


def slot(pid: int, address: str, *, began: int = NOW, used: int = NOW, sent: int = 0, port: int = 25) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    return struct.pack("=iHHqqq16s16x", pid, family, port, began, used, sent, packed)


def process(proc: Path, pid: int, title: str, *, started: int = 0) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    ticks = started // 1000 * os.sysconf("SC_CLK_TCK")
    (folder / "stat").write_text(f"{pid} (a ) b) S 1 " + " ".join(["0"] * 17) + f" {ticks} 0 0\n")
    (folder / "cmdline").write_bytes(title.encode() + b"\0" * 8)


def test_an_attempt_is_told_by_its_slot_and_by_its_process(tmp_path: Path) -> None:
    picture, proc = tmp_path / "attempts", tmp_path / "proc"
    picture.write_bytes(
        slot(7, "192.0.2.1", began=NOW - 60_000, sent=12)
        + slot(8, "2001:db8::1", port=2525)
        + bytes(64)
        + slot(9, "192.0.2.9", began=0)  # kept open
        + slot(10, "192.0.2.10")  # gone
    )
    process(proc, 7, "sendmail: 5AQ7Cx1y000042 mx.slow.example.: client DATA status")
    process(proc, 8, "sendmail: server [192.0.2.3] something else")
    process(proc, 9, "sendmail: 5AQ7Cx1y000043 mx.rcpt.example.: client idle")
    first, second = under_way(picture, proc)
    assert (first.pid, first.queue_id, first.host) == (7, "5AQ7Cx1y000042", "mx.slow.example")
    assert (first.address, first.port, first.sent, first.command) == ("192.0.2.1", 25, 12, "DATA status")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(booted + NOW / 1000 - 60 - first.since) < 1
    assert (second.address, second.port) == ("2001:db8::1", 2525)


def test_of_a_process_the_connection_counts_that_was_used_last(tmp_path: Path) -> None:
    picture, proc = tmp_path / "attempts", tmp_path / "proc"
    picture.write_bytes(slot(7, "192.0.2.1", used=NOW - 5) + slot(7, "192.0.2.2") + slot(7, "192.0.2.3", used=NOW - 9))
    process(proc, 7, "sendmail: 5AQ7Cx1y000042 b.example: user open")
    (only,) = under_way(picture, proc)
    assert (only.address, only.command) == ("192.0.2.2", "user open")


def test_a_number_that_is_another_processs_by_now_tells_nothing(tmp_path: Path) -> None:
    picture, proc = tmp_path / "attempts", tmp_path / "proc"
    picture.write_bytes(slot(7, "192.0.2.1", began=NOW - 60_000))
    process(proc, 7, "python3", started=NOW - 30_000)
    assert under_way(picture, proc) == []


def test_without_a_picture_nothing_is_under_way(tmp_path: Path) -> None:
    assert under_way(tmp_path / "attempts", tmp_path) == []
