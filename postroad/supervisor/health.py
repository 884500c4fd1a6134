"""What the health check, `/readyz` and ``postroad reload`` read of the supervisor, and whether anything runs short.

Standard library only.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postroad import system
from postroad.errors import PostroadError
from postroad.runtime import reasons

SIZE = 1024
"""Octets of the file, whatever it says: it fits into the page that it has, even when ``/run`` is full."""
INTERVAL = 5.0
"""Seconds between two looks at a limit."""
FRESH = 60.0
"""Seconds for which a process that could not be started, or was killed for memory, counts."""


class HealthFile:
    """State and process ids; on the second line the reloads; then a line for each reason why it is not ready."""

    def __init__(self, path: Path) -> None:
        """Write to this file."""
        self._path = path

    def write(self, state: str, pids: Sequence[int], reloads: str, reasons: Sequence[str]) -> None:
        """Say how it is now.

        Raises:
            InstallError: the file can't be written, not even in its place.
        """
        text = "\n".join([" ".join([state, *map(str, pids)]), reloads, *reasons])
        data = text.encode()[: SIZE - 1].ljust(SIZE - 1) + b"\n"
        try:
            system.write(self._path, data)
        except PostroadError:
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            except OSError:
                descriptor = -1
            if descriptor < 0:
                raise
            try:
                os.pwrite(descriptor, data, 0)
            finally:
                os.close(descriptor)


NEAR = 0.95
"""The share of a limit from which on it counts as near."""
PATIENCE = 30.0
"""Seconds for which that has to last: a burst that comes near a limit is what the limit is for."""


class _Limit:
    """Looks now and then at a limit of the container's cgroup."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed_at = self._next = -math.inf
        self._near_since = math.inf
        self._failed = self._failures()
        self._reason = ""

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._clock())

    def reason(self) -> str:
        """Why it runs short; empty where it does not."""
        if self.wait:
            return self._reason
        now = self._clock()
        self._next = now + INTERVAL
        limit, used, failed = self._limit(), self._used(), self._failures()
        if failed > self._failed:
            self._failed_at = now
        self._failed = failed
        near = bool(limit) and used >= NEAR * limit
        self._near_since = min(self._near_since, now) if near else math.inf
        if limit and (used >= limit or now - self._failed_at < FRESH):
            self._reason = self._reached(limit)
        elif now - self._near_since >= PATIENCE:
            self._reason = self._close_to(limit)
        else:
            self._reason = ""
        return self._reason

    def _limit(self) -> int:
        """The limit; 0: there is none."""
        raise NotImplementedError

    def _used(self) -> int:
        raise NotImplementedError

    def _failures(self) -> int:
        """How often it was reached."""
        raise NotImplementedError

    def _reached(self, limit: int) -> str:
        raise NotImplementedError

    def _close_to(self, limit: int) -> str:
        raise NotImplementedError


class ProcessLimit(_Limit):
    """The container's limit of processes (``pids.max`` of its cgroup).

    ``pids.events`` counts the processes that could not be started (kernel, cgroup-v2.rst).
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), clock: Callable[[], float] = time.monotonic) -> None:
        """Look at this cgroup; one of version 1 has a folder of its own for processes."""
        self._folder = root if (root / "pids.max").exists() else root / "pids"
        super().__init__(clock)

    def _limit(self) -> int:
        return _number(self._folder / "pids.max")

    def _used(self) -> int:
        return _number(self._folder / "pids.current")

    def _failures(self) -> int:
        return _number(self._folder / "pids.events")

    def _reached(self, limit: int) -> str:
        return reasons.processes_reached(limit)

    def _close_to(self, limit: int) -> str:
        return reasons.processes_near(limit)


class MemoryLimit(_Limit):
    """The container's limit of memory: what its processes and the kernel hold for them, without cached files.

    Version 2 has ``memory.max``, ``.current``, ``.stat`` and ``.events``, version 1 ``memory/memory.limit_in_bytes``,
    ``.usage_in_bytes``, ``.stat`` and ``.oom_control``; both count the processes that were killed for memory.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), clock: Callable[[], float] = time.monotonic) -> None:
        """Look at this cgroup."""
        self._folder = root if (root / "memory.max").exists() else root / "memory"
        self._two = self._folder == root
        super().__init__(clock)

    def _limit(self) -> int:
        limit = _number(self._folder / ("memory.max" if self._two else "memory.limit_in_bytes"))
        return limit if limit < 1 << 60 else 0  # version 1 says "none" by a number that no machine has

    def _used(self) -> int:
        used = _number(self._folder / ("memory.current" if self._two else "memory.usage_in_bytes"))
        fields = _fields(self._folder / "memory.stat")
        total = "" if self._two else "total_"
        return used - sum(
            fields.get(f"{total}{name}", 0) for name in ("active_file", "inactive_file", "slab_reclaimable")
        )

    def _failures(self) -> int:
        return _fields(self._folder / ("memory.events" if self._two else "memory.oom_control")).get("oom_kill", 0)

    def _reached(self, limit: int) -> str:
        return reasons.memory_reached(limit)

    def _close_to(self, limit: int) -> str:
        return reasons.memory_near(limit)


def _number(path: Path) -> int:
    """The last word of the file; 0 where there is no number."""
    try:
        return int(path.read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _fields(path: Path) -> dict[str, int]:
    """A file of lines ``NAME NUMBER``."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        return {words[0]: int(words[1]) for words in lines if len(words) > 1}
    except (OSError, ValueError):
        return {}
