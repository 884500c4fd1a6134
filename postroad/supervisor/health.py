"""What the health check, `/readyz` and ``postroad reload`` read of the supervisor, and whether processes run short.

Standard library only.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postroad import system
from postroad.errors import PostroadError

SIZE = 1024
"""Octets of the file, whatever it says: it fits into the page that it has, even when ``/run`` is full."""
INTERVAL = 5.0
"""Seconds between two looks at the limit of processes."""
FRESH = 60.0
"""Seconds for which a process that could not be started counts."""


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


class ProcessLimit:
    """Looks now and then at the container's limit of processes (``pids.max`` of its cgroup).

    ``pids.events`` counts the processes that could not be started (kernel, cgroup-v2.rst).
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), clock: Callable[[], float] = time.monotonic) -> None:
        """Look at this cgroup; one of version 1 has a folder of its own for processes."""
        self._folder = root if (root / "pids.max").exists() else root / "pids"
        self._clock = clock
        self._failed = self._number("pids.events")
        self._failed_at = -math.inf
        self._next = -math.inf
        self._reason = ""

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._clock())

    def reason(self) -> str:
        """Why processes run short; empty where they do not."""
        if self.wait:
            return self._reason
        now = self._clock()
        self._next = now + INTERVAL
        limit, running, failed = (self._number(f"pids.{name}") for name in ("max", "current", "events"))
        if failed > self._failed:
            self._failed_at = now
        self._failed = failed
        short = limit and (running >= limit or now - self._failed_at < FRESH)
        self._reason = f"the limit of processes (pids) is reached: it is {limit}" if short else ""
        return self._reason

    def _number(self, name: str) -> int:
        """The last word of the file; 0 where there is no number."""
        try:
            return int((self._folder / name).read_text().split()[-1])
        except (OSError, ValueError, IndexError):
            return 0
