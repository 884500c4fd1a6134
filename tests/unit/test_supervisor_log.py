"""The log thread: what daemons print is an event like all else, and a fault in here does not end the log."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postroad.events.syslog import format_datagram
from postroad.supervisor import log, output
from tests.unit.supervision import plan


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO) -> Iterator[log.LogThread]:
    monkeypatch.setattr(log, "EVENTS", tmp_path / "events")
    made = log.LogThread(tmp_path / "log", tmp_path / "feed")
    yield made
    if made._thread.is_alive():
        made.stop()


def run(thread: log.LogThread, code: str) -> None:
    piped = thread.output("sendmail")
    try:
        subprocess.run([sys.executable, "-c", code], stdout=piped.target, stderr=piped.target, check=True)
    finally:
        piped.started()


def printed(stdout: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.getvalue().splitlines()]


def test_what_a_daemon_prints_is_json(thread: log.LogThread, stdout: io.StringIO) -> None:
    thread.start(plan())
    run(thread, "import sys; print('451 4.0.0 daemon: cannot fork'); sys.stderr.write('a\\x1b[2Jb\\n\\nno end')")
    thread.stop()
    assert [(each["event"], each["program"], each["level"], each["message"]) for each in printed(stdout)] == [
        ("notice", "sendmail", "error", text) for text in ("451 4.0.0 daemon: cannot fork", "a\x1b[2Jb", "no end")
    ]  # fmt: skip


def test_a_daemon_whose_lines_are_not_read_goes_on(thread: log.LogThread) -> None:
    run(thread, "import os\nfor _ in range(100_000):\n try: os.write(1, b'x' * 100)\n except BlockingIOError: pass")
    thread.start(plan())
    thread.stop()


def test_pieces_of_a_long_line() -> None:
    pipe = output.Output("x")
    with open(pipe.target, "wb", buffering=0) as file:
        file.write(b"a" * (output.LONGEST + 1) + b"\nb")
        assert [len(text) for text in pipe.read()] == [output.LONGEST, 1]
        assert (list(pipe.read()), pipe.ended) == ([], False)
    assert list(pipe.read()) == ["b"]
    assert pipe.ended
    pipe.close()


def test_lines_become_events_in_the_format_and_redaction_wanted(
    thread: log.LogThread, tmp_path: Path, stdout: io.StringIO
) -> None:
    thread.start(replace(plan(), log_format="text", redact="domain"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(str(tmp_path / "log"))
        client.send(format_datagram("notice", "queue: deleted one of app@sender.example"))
    thread.stop()
    (line,) = stdout.getvalue().splitlines()
    assert "***@sender.example" in line
    assert "app@" not in line


def test_a_fault_in_a_turn_does_not_end_the_log(
    thread: log.LogThread,
    monkeypatch: pytest.MonkeyPatch,
    stdout: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, times = thread._carry, []

    def carry(ending: bool) -> bool:
        times.append(ending)
        if len(times) == 1:
            raise RuntimeError("a bug")
        return whole(ending)

    monkeypatch.setattr(thread, "_carry", carry)
    thread.start(plan())
    thread._tell("info", "after it")
    thread.stop()
    assert "a bug" in capsys.readouterr().err
    assert '"after it"' in stdout.getvalue()
