"""The queue's reader, on control files as sendmail 8.18.1 wrote them."""

import fcntl
import os
from pathlib import Path

import pytest

from postroad.sendmail import queue
from postroad.sendmail.queue import QueuedMessage
from tests.growth import in_proportion

QF = """\
V8
T1795515680
K1795515700
N1
P90074
MDeferred: Name server: other.example.: host name lookup failure
Fs
$_localhost [127.0.0.1]
$rESMTP
$s[127.0.0.1]
${daemon_flags}EE AA
S<app@sender.example>
rRFC822; u@other.example
RPFD:<u@other.example>
rRFC822; user@rcpt.example
RPFD:<user@rcpt.example>
rRFC822; "a b"@rcpt.example
RPFD:<"a b"@rcpt.example>
H?P?Return-Path: <\udc81g>
H??Received: from [127.0.0.1] (localhost [127.0.0.1])
\tby mail.sender.example (8.18.1/8.18.1) with ESMTP id 6AOALKBA000041;
\tTue, 24 Nov 2026 10:21:20 GMT
H?D?Date: Tue, 24 Nov 2026 10:21:20 GMT
H??From: app@sender.example
H??Subject: x
H??Message-ID: <1@sender.example>
.
"""
ID = "6AOALKBA000041"


def put(folder: Path, text: str = QF, name: str = f"qf{ID}", body: str | None = "hello\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    if body is not None:
        (folder / f"df{name[2:]}").write_text(body)
    return folder / name


def one(folder: Path) -> QueuedMessage:
    (message,) = queue.messages(folder)
    return message


def test_what_sendmail_wrote(tmp_path: Path) -> None:
    path = put(tmp_path)
    assert one(tmp_path) == QueuedMessage(
        queue_id=ID,
        path=path,
        body=tmp_path / f"df{ID}",
        sender="app@sender.example",
        recipients=("u@other.example", "user@rcpt.example", '"a b"@rcpt.example'),
        arrived=1795515680,
        size=6,
        reasons=("Deferred: Name server: other.example.: host name lookup failure",),
        attempts=1,
        last_try=1795515700,
        priority=90074,
    )
    assert one(tmp_path).domains == {"other.example", "rcpt.example"}


def test_the_next_try(tmp_path: Path) -> None:
    put(tmp_path)
    assert one(tmp_path).next_try(300, now=1795515710) == 1795516000
    assert one(tmp_path).next_try(300, now=1795519999) == 1795519999, "it is due"
    put(tmp_path, QF.replace("K1795515700", "K0").replace("N1", "N0"))
    assert one(tmp_path).next_try(300, now=1795515710) == 1795515980
    assert one(tmp_path).last_try is None
    put(tmp_path, "")
    assert one(tmp_path).next_try(300, now=1795515710) == 1795515710, "when it came is not known"


def test_the_null_sender_and_a_recipients_own_reason(tmp_path: Path) -> None:
    text = QF.replace("S<app@sender.example>", "S<>").replace(
        "MDeferred: Name server: other.example.: host name lookup failure\n", ""
    )
    put(tmp_path, text.replace("rRFC822; user@", "M451 4.7.1 later\nrRFC822; user@"))
    message = one(tmp_path)
    assert (message.sender, message.reason, message.note) == ("", "451 4.7.1 later", "")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (QF[:200], "no end"),
        (QF.replace("S<app@sender.example>\n", ""), "its sender is not there"),
        (QF.replace("\nRP", "\nXP"), "no recipients are there"),
        (QF.replace("T1795515680", "Tyesterday"), "line T is no number"),
        (QF.replace("N1\n", "N" + "9" * 5000 + "\n"), "line N is no number"),
        ("", "no end"),
        ("\0" * 5000, "no end"),
        ("\udcff\udcfe", "no end"),
    ],
    ids=["cut", "sender", "recipients", "time", "number", "empty", "zeros", "bytes"],
)
def test_a_damaged_file_is_told(text: str, note: str, tmp_path: Path) -> None:
    put(tmp_path, text)
    assert note in one(tmp_path).note


def test_all_that_is_damaged_is_told(tmp_path: Path) -> None:
    put(tmp_path, QF.replace("S<app@sender.example>\n", "").replace("T1795515680", "Tyesterday"))
    note = one(tmp_path).note
    assert note.startswith("damaged: ")
    assert {"its sender is not there", "its line T is no number"} <= set(note.removeprefix("damaged: ").split(", "))


def test_a_body_that_is_gone(tmp_path: Path) -> None:
    put(tmp_path, body=None)
    assert one(tmp_path).size is None
    assert one(tmp_path).note == "damaged: its body is gone"


@pytest.mark.parametrize(("kind", "note"), [("Qf", "lost"), ("hf", "quarantined"), ("tf", "half-written")])
def test_what_no_queue_run_takes(kind: str, note: str, tmp_path: Path) -> None:
    put(tmp_path, name=f"{kind}{ID}")
    message = one(tmp_path)
    assert message.note.startswith(note)
    assert message.next_try(300, now=0) is None


def test_other_files_are_no_messages(tmp_path: Path) -> None:
    path = put(tmp_path)
    put(tmp_path, "", f"tf{ID}", body=None)  # being written anew
    for name in (f"xf{ID}", "qf", "qf../../etc", "core", f"df{ID[:-1]}2"):
        (tmp_path / name.replace("/", "_")).write_text("")
    assert one(tmp_path).path == path


def test_the_depth_is_that_of_what_runs_take_and_the_age_that_of_the_oldest_body(tmp_path: Path) -> None:
    assert queue.depth(tmp_path) == (0, None)
    for number, came in enumerate((2000, 1000, 3000)):
        put(tmp_path / "q", name=f"qf{ID}{number}")
        os.utime(tmp_path / "q" / f"df{ID}{number}", (came, came))
    put(tmp_path, "", f"Qf{ID}", body=None)  # set aside
    put(tmp_path, name=f"qf{ID}", body=None)  # its body is gone
    assert queue.depth(tmp_path) == (4, 1000.0)


def test_folders_below(tmp_path: Path) -> None:
    put(tmp_path / "q1")
    put(tmp_path / "q2" / "qf", name=f"qf{ID}A", body=None)
    (tmp_path / "q2" / "df").mkdir()
    (tmp_path / "q2" / "df" / f"df{ID}A").write_text("12")
    assert {(message.queue_id, message.size) for message in queue.messages(tmp_path)} == {(ID, 6), (f"{ID}A", 2)}
    assert queue.waiting(tmp_path) == {ID, f"{ID}A"}


def test_a_message_that_vanishes(tmp_path: Path) -> None:
    path = put(tmp_path)
    names = queue.control_files(tmp_path)
    path.unlink()
    assert [queue.read(name) for name in names] in ([], [None])
    assert queue.read(path) is None
    message = QueuedMessage(ID, path, tmp_path / f"df{ID}")
    assert queue.delete(message) is None


def test_who_works_on_it(tmp_path: Path) -> None:
    path = put(tmp_path)
    assert not one(tmp_path).active
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert one(tmp_path).active
        assert queue.delete(one(tmp_path)) is False
        assert path.exists()
    assert queue.delete(one(tmp_path)) is True
    assert list(tmp_path.iterdir()) == []


def test_a_control_file_that_is_written_anew_is_not_deleted(tmp_path: Path) -> None:
    path = put(tmp_path)
    with queue.lock(path) as held:
        assert held
    with path.open("rb") as file:  # whoever holds the new one has not the old one
        aside = put(tmp_path, name=f"tf{ID}", body=None)
        fcntl.flock(file, fcntl.LOCK_EX)
        with aside.open("rb") as new:
            fcntl.flock(new, fcntl.LOCK_EX)
            aside.rename(path)
            assert queue.delete(one(tmp_path)) is False
    assert path.exists()


def test_many_messages_take_no_more_than_each(tmp_path: Path) -> None:
    def fill(number: int) -> None:
        for index in range(number):
            put(tmp_path / str(number), name=f"qf{ID}{index:06}", body="x")

    def read(number: int) -> None:
        assert sum(1 for _ in queue.messages(tmp_path / str(number))) == number

    assert in_proportion(read, 200, prepare=fill)


@pytest.mark.parametrize("line", ["S<>", "S<MAILER-DAEMON>", "SMAILER-DAEMON"])
def test_bounces_have_the_null_sender(line: str, tmp_path: Path) -> None:
    put(tmp_path, QF.replace("S<app@sender.example>", line))
    assert one(tmp_path).sender == ""
