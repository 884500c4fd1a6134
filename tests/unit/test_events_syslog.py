import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import syslog
from postroad.events.syslog import LogLine, LogSocket, format_datagram, parse_datagram, tell


def test_parse_datagram() -> None:
    assert parse_datagram(b"<22>sendmail[12]: 6AO: to=<a@x>", 1.5) == LogLine(
        1.5, 2, 6, "sendmail", 12, "6AO: to=<a@x>"
    )
    assert parse_datagram(b"<17>signer: x", 1.5) == LogLine(1.5, 2, 1, "signer", None, "x")
    assert parse_datagram(b"<22>sendmail[12]: ", 1.5).text == ""
    assert parse_datagram("<22>a[1]: b\nc\0é".encode(), 1.5).text == "b\nc\0é"
    assert parse_datagram(b"<22>a[1]: \xe9", 1.5).text == "\\xe9"


@pytest.mark.parametrize("data", [b"", b"hello", b"<999>a[1]: b", b"<22>", b"<22>a b: c", b"\xff\xfe", b"<22>a[x]: y"])
def test_anything_else_is_a_line_by_unknown(data: bytes) -> None:
    line = parse_datagram(data, 1.5)
    assert (line.program, line.pid, line.level) == ("unknown", None, "notice")
    assert line.text == data.decode(errors="backslashreplace")


@settings(deadline=None)
@given(st.one_of(st.binary(), st.binary().map(lambda data: b"<22>sendmail[1]: " + data)))
def test_parse_datagram_never_raises(data: bytes) -> None:
    assert parse_datagram(data, 0).level


@settings(deadline=None)
@given(st.integers(0, 191), st.text(st.sampled_from("abcz-_9"), min_size=1), st.integers(0, 4194304), st.text())
def test_parse_datagram_gives_back_what_was_sent(priority: int, program: str, pid: int, text: str) -> None:
    data = f"<{priority}>{program}[{pid}]: ".encode() + text.encode(errors="backslashreplace")
    line = parse_datagram(data, 0)
    assert (line.facility * 8 + line.severity, line.program, line.pid) == (priority, program[:64], pid)
    assert line.text.encode() == text.encode(errors="backslashreplace")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Iterator[LogSocket]:
    log = LogSocket(path)
    yield log
    log.close()


def send(path: Path, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        for datagram in datagrams:
            sender.send(datagram)


def test_it_is_for_this_user_only(log: LogSocket, path: Path) -> None:
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_read_drains_what_is_there(log: LogSocket, path: Path) -> None:
    before = time.time()
    send(path, b"<22>sendmail[1]: a", b"<22>sendmail[1]: b")
    lines = log.read()
    assert [line.text for line in lines] == ["a", "b"]
    assert all(before <= line.time <= time.time() for line in lines)
    assert log.read() == []


def test_read_takes_a_long_line_whole(log: LogSocket, path: Path) -> None:
    send(path, b"<22>signer[1]: " + b"x" * 65000)
    assert len(log.read()[0].text) == 65000


def test_read_waits_no_longer_than_it_may(log: LogSocket) -> None:
    start = time.monotonic()
    assert log.read(timeout=0.05) == []
    assert 0.04 < time.monotonic() - start < 5


def test_read_waits_for_a_line(log: LogSocket, path: Path) -> None:
    timer = threading.Timer(0.05, send, (path, b"<22>sendmail[1]: a"))
    timer.start()
    assert [line.text for line in log.read(timeout=None)] == ["a"]
    timer.join()


def test_read_comes_back_under_a_flood(log: LogSocket, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "_BATCH", 3)
    send(path, *(b"<22>sendmail[1]: %d" % number for number in range(5)))
    assert [[line.text for line in log.read()] for _ in range(3)] == [["0", "1", "2"], ["3", "4"], []]


def test_it_takes_the_place_of_a_former_one(log: LogSocket, path: Path) -> None:
    again = LogSocket(path)
    send(path, b"<22>sendmail[1]: a")
    assert len(again.read()) == 1
    assert log.read() == []
    again.close()


def test_close_removes_it(path: Path) -> None:
    log = LogSocket(path)
    log.close()
    assert not path.exists()


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogSocket(tmp_path / "absent" / "log")


def test_a_line_of_our_own_is_read_as_it_was_meant() -> None:
    line = parse_datagram(format_datagram("warning", "doctor: [1] <a>"), 1.0)
    assert (line.facility, line.level, line.program, line.pid) == (2, "warning", "postroad", os.getpid())
    assert line.text == "doctor: [1] <a>"


def test_the_fifo_gives_lines_whole_however_they_are_read(log: LogSocket, path: Path) -> None:
    with path.with_name("log.fifo").open("wb", buffering=0) as fifo:
        fifo.write(b"<22>sendmail[7]: one\0<22>sendm")
        assert [line.text for line in log.read_fifo()] == ["one"]
        fifo.write(b"ail[7]: two\nlines\0")
        assert [line.text for line in log.read_fifo()] == ["two\nlines"]
    assert log.read_fifo() == []


def test_the_fifo_is_for_this_user_only_and_goes_with_it(path: Path) -> None:
    log = LogSocket(path)
    fifo = path.with_name("log.fifo")
    assert fifo.stat().st_mode & 0o777 == 0o600
    log.close()
    assert not fifo.exists()


def test_what_our_own_processes_say_keeps_its_place_among_sendmails_lines(log: LogSocket, path: Path) -> None:
    with path.with_name("log.fifo").open("wb", buffering=0) as fifo:
        fifo.write(b"<22>sendmail[7]: one\0")
        tell(path, "info", "two\nlines")
        fifo.write(b"<22>sendmail[7]: three\0")
    assert [(line.program, line.text) for line in log.read_fifo()] == [
        ("sendmail", "one"),
        ("postroad", "two lines"),
        ("sendmail", "three"),
    ]
    assert log.read() == []


def test_a_full_fifo_is_waited_for_no_longer_than_may_be(log: LogSocket, path: Path) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(log.fifo, b"x")
    began = time.monotonic()
    tell(path, "info", "lost", patience=0.05)
    assert 0.04 < time.monotonic() - began < 2
