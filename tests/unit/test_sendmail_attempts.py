"""Attempts under way, as processes of sendmail's show them."""

from pathlib import Path

import pytest

from postroad.sendmail.attempts import Attempt, attempts

SINCE = "sends 6a1b2c3d\n"


def process(root: Path, pid: int, name: str, title: str) -> None:
    (root / str(pid)).mkdir()
    (root / str(pid) / "comm").write_text(name)
    (root / str(pid) / "cmdline").write_bytes(title.encode() + b"\0" * 30)


@pytest.mark.parametrize(
    ("title", "queue_id", "host", "command"),
    [
        ("sendmail: 6AQ7Gk5e000012 mx.example.net.: user open", "6AQ7Gk5e000012", "mx.example.net", "connect"),
        ("sendmail: ./6AQ7Gk5e000012 mx.example.net.: client greeting", "6AQ7Gk5e000012", "mx.example.net", "greeting"),
        ("sendmail: 6AQ7Gk5e000012 mx.example.net.: client DATA 354", "6AQ7Gk5e000012", "mx.example.net", "DATA"),
        ("sendmail: r1/6AQ7Gk5e000012 [192.0.2.1]: client DATA status", "6AQ7Gk5e000012", "[192.0.2.1]", "end of data"),
        ("sendmail: 6AQ7Gk5e000012 mx.example.net.: client RCPT", "6AQ7Gk5e000012", "mx.example.net", "RCPT"),
    ],
)
def test_a_process_that_waits_for_a_receiver(
    tmp_path: Path, title: str, queue_id: str, host: str, command: str
) -> None:
    process(tmp_path, 12, SINCE, title)
    assert list(attempts(tmp_path)) == [Attempt(12, queue_id, host, 0x6A1B2C3D, command)]


def test_others_do_not_count(tmp_path: Path) -> None:
    process(tmp_path, 1, "python3\n", "python3\0entrypoint.py")
    process(tmp_path, 2, SINCE, "sendmail: server [192.0.2.9] cmd read")  # between two messages
    process(tmp_path, 3, "sendmail\n", "sendmail: 6AQ7Gk5e000012 mx.example.net.: client MAIL")  # nothing begun
    process(tmp_path, 4, SINCE, "sendmail: 6AQ7Gk5e000012 [192.0.2.9]: DATA")  # takes a message
    (tmp_path / "self").mkdir()
    (tmp_path / "5").mkdir()  # has just ended
    assert list(attempts(tmp_path)) == []
