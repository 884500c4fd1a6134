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
    monkeypatch.setattr("sys.argv", ["due", "600", *more])
    assert due.main() == 0
    assert capsys.readouterr().out.splitlines() == found
