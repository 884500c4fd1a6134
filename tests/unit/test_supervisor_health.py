"""The health file, which does not need room, and the limit of processes."""

from pathlib import Path

import pytest

from postroad import system
from postroad.errors import InstallError
from postroad.supervisor.health import FRESH, INTERVAL, PATIENCE, SIZE, HealthFile, MemoryLimit, ProcessLimit


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


def test_processes_that_stay_near_their_limit(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "pids.max").write_text("100\n")
    (tmp_path / "pids.current").write_text("96\n")
    limit = ProcessLimit(tmp_path, lambda: now[0])
    assert limit.reason() == ""
    now[0] += PATIENCE
    assert limit.reason() == "processes are near their limit (pids): it is 100"
    (tmp_path / "pids.current").write_text("94\n")
    now[0] += INTERVAL
    assert limit.reason() == ""
    (tmp_path / "pids.current").write_text("96\n")
    now[0] += INTERVAL
    assert limit.reason() == "", "it is near anew"


MIB = 1 << 20
VERSIONS = {
    "version 2": ("", "memory.max", "memory.current", "memory.events", ""),
    "version 1": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control", "total_"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_limit_of_memory(tmp_path: Path, version: str) -> None:
    folder, limit_file, used, events, total = VERSIONS[version]
    root, now = tmp_path / folder, [0.0]
    root.mkdir(exist_ok=True)

    def hold(mib: int, cached: int) -> None:
        (root / used).write_text(f"{(mib + cached) * MIB}\n")
        (root / "memory.stat").write_text(f"{total}inactive_file {cached * MIB}\n{total}active_file 0\nfile 5\n")

    (root / limit_file).write_text(f"{128 * MIB}\n")
    (root / events).write_text("oom_kill 3\n")
    hold(60, 68)
    limit = MemoryLimit(tmp_path, lambda: now[0])
    assert limit.reason() == ""
    hold(125, 3)
    now[0] += INTERVAL
    assert limit.reason() == ""
    now[0] += PATIENCE
    assert limit.reason() == "memory is near its limit: it is 128 MiB"
    hold(60, 68)
    (root / events).write_text("oom_kill_disable 0\noom_kill 4\n")
    now[0] += INTERVAL
    assert limit.reason() == "the limit of memory is reached: it is 128 MiB"
    now[0] += FRESH
    assert limit.reason() == ""


@pytest.mark.parametrize("text", ["max\n", "9223372036854771712\n"])
def test_no_limit_of_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    (tmp_path / "memory.current").write_text(f"{text.replace('max', '5')}\n")
    assert MemoryLimit(tmp_path).reason() == ""
    assert MemoryLimit(tmp_path / "none").reason() == ""
