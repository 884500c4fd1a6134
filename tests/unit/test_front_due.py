"""What the front finds due in the queue."""

import time
from pathlib import Path

import pytest

from postroad.front import due

NEW, TRIED, OLD = "6AQCLOAu000070", "6AQCLOAu000071", "6AQCLOAu000072"


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that came just now, one that was tried just now, one whose time has come."""
    monkeypatch.setattr(due, "QUEUE", tmp_path)
    now = int(time.time())
    for queue_id, arrived, tried in ((NEW, now - 2, 0), (TRIED, now - 900, now - 2), (OLD, now - 900, now - 800)):
        lines = [
            "V8",
            f"T{arrived}",
            f"K{tried}",
            "N0",
            f"S<app@sender.example>\nRPFD:<user@{queue_id[-2:]}.example>",
            ".",
        ]
        (tmp_path / f"qf{queue_id}").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("more", "found"),
    [([], [f"{OLD} 72.example"]), (["untried"], [f"{NEW} 70.example", f"{OLD} 72.example"])],
    ids=["while it runs", "as it begins"],
)
def test_what_is_due(
    more: list[str], found: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message whose first attempt a kill has ended is tried as the front begins, and not after ``retry``."""
    monkeypatch.setattr("sys.argv", ["due", "600", "", *more])
    assert due.main() == 0
    assert capsys.readouterr().out.splitlines() == found


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("tell", "late"), [("50,9000", False), ("850,9000", True), ("9000,850", True), ("899", True), ("2000", False)]
)
def test_a_message_whose_sender_is_due_word_of_it(
    tell: str, late: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It came 900 seconds ago and was tried after 100."""
    monkeypatch.setattr("sys.argv", ["due", "600", tell])
    due.main()
    assert capsys.readouterr().out == f"{'!' if late else ''}{OLD} 72.example\n"


def test_all_domains_of_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(due, "QUEUE", tmp_path)
    monkeypatch.setattr("sys.argv", ["due", "600", ""])
    recipients = "".join(f"RPFD:<u@{name}>\n" for name in ("b.example", "a.example", "c d.example"))
    (tmp_path / f"qf{OLD}").write_text(f"V8\nT1\nK1\nN1\nS<a@b.example>\n{recipients}.\n")
    due.main()
    assert capsys.readouterr().out == f"{OLD} a.example b.example\n"
