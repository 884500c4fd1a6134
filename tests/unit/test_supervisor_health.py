"""The health file, which does not need room, and the limit of processes."""

from pathlib import Path

import pytest

from postroad import system
from postroad.errors import InstallError
from postroad.supervisor.health import FRESH, INTERVAL, SIZE, HealthFile, ProcessLimit


def test_it_is_written_where_no_room_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "health"
    health = HealthFile(path)
    health.write("degraded", [1, 22], "1 0 done", ["a reason", "b" * 2000])

    def full(*_: object) -> None:
        raise InstallError("no space left on device")

    monkeypatch.setattr(system, "write", full)
    size = path.stat().st_size
    health.write("ready", [1, 2], "1 1 failed", [])
    assert path.stat().st_size == size == SIZE
    assert [line.strip() for line in path.read_text().splitlines()] == ["ready 1 2", "1 1 failed"]
    path.unlink()
    with pytest.raises(InstallError, match="no space"):
        health.write("ready", [1], "1 1 done", [])


@pytest.mark.parametrize("folder", ["", "pids"], ids=["version 2", "version 1"])
def test_the_limit_of_processes(tmp_path: Path, folder: str) -> None:
    root, now = tmp_path / folder, [0.0]
    root.mkdir(exist_ok=True)
    say = {name: (root / f"pids.{name}").write_text for name in ("max", "current", "events")}
    say["max"]("100\n")
    say["current"]("99\n")
    say["events"]("max 7\n")  # before this began
    limit = ProcessLimit(tmp_path, lambda: now[0])
    assert limit.reason() == ""
    say["current"]("100\n")
    assert limit.reason() == ""
    assert limit.wait == INTERVAL
    now[0] += INTERVAL
    assert limit.reason() == "the limit of processes (pids) is reached: it is 100"
    say["current"]("5\n")
    say["events"]("max 8\n")
    now[0] += INTERVAL
    assert limit.reason()
    now[0] += FRESH - 1
    assert limit.reason()
    now[0] += INTERVAL
    assert limit.reason() == ""


def test_no_limit_and_no_cgroup(tmp_path: Path) -> None:
    assert ProcessLimit(tmp_path).reason() == ""
    (tmp_path / "pids.max").write_text("max\n")
    (tmp_path / "pids.current").write_text("5\n")
    assert ProcessLimit(tmp_path).reason() == ""
