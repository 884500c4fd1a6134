"""What a container used, from its control group on this host: version 1 and 2."""

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 0.05


@dataclass(frozen=True)
class Cgroup:
    """A container's control group: the files that hold its figures.

    Attributes:
        cpu: its CPU time.
        processes: the numbers of those in it, as this host has them.
        used: bytes of memory that it is charged with, cached files included.
        stat: of what these are.
        cached: the field there of cached files that can go at once.
        most: the most that it was ever charged with.
    """

    cpu: Path
    processes: Path
    used: Path
    stat: Path
    cached: str
    most: Path

    @classmethod
    def of(cls, pid: int) -> Self:
        """The one that a process of this host is in.

        Raises:
            OSError: there is no such process.
            RuntimeError: the files are not where they should be.
        """
        paths = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
        if "cpuacct" in paths:
            memory = _ROOT / "memory" / paths["memory"]
            cpu = _ROOT / "cpuacct" / paths["cpuacct"]
            used, most = memory / "memory.usage_in_bytes", memory / "memory.max_usage_in_bytes"
            found = cls(
                cpu / "cpuacct.usage", cpu / "cgroup.procs", used, memory / "memory.stat", "total_inactive_file", most
            )
        else:
            group = _ROOT / paths[""]
            used, most = group / "memory.current", group / "memory.peak"
            found = cls(group / "cpu.stat", group / "cgroup.procs", used, group / "memory.stat", "inactive_file", most)
        if not found.used.exists():
            raise RuntimeError(f"{found.used} is not there: the benchmark needs a Docker engine on this very host")
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all its processes, gone ones too."""
        text = self.cpu.read_text()
        return int(text) / 1e9 if text.strip().isdecimal() else _fields(text)["usage_usec"] / 1e6

    def cpu_by_process(self) -> dict[tuple[int, str], float]:
        """CPU time in seconds of each process that is there now, by number and program; Python's by what it runs."""
        found = {}
        for pid in map(int, self.processes.read_text().split()):
            with contextlib.suppress(OSError):  # it has gone
                name, _, fields = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
                if name.startswith("python"):
                    name = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")[-1]
                user, system = fields.split()[11:13]
                found[pid, name] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return found

    def memory_bytes(self) -> int:
        """Memory in use, as ``docker stats`` has it: without cached files that can go at once."""
        return int(self.used.read_text()) - _fields(self.stat.read_text())[self.cached]

    def most_bytes(self) -> int:
        """The kernel's own peak since the container started, cached files included: for a queue, all ever written."""
        return int(self.most.read_text())


def _fields(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


class PeakMemory:
    """The most memory in use while in ``with``, looked at 20 times a second."""

    def __init__(self, group: Cgroup) -> None:
        self.bytes = 0
        self._group = group
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # the container has gone
            while not self._ended.wait(_PERIOD):
                self.bytes = max(self.bytes, self._group.memory_bytes())


def host_busy_seconds() -> float:
    """CPU time that this host spent on anything since it started, over all cores."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")
