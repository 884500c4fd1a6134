"""Schedules the doctor: once after a start, then at intervals. Each run is a process of its own."""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from postroad import system

FIRST = 60.0
"""Seconds after a start in which there is no regular look: mail that has waited for it goes first."""
SOURCE = Path(__file__).parents[2]


class DoctorProcess:
    """The doctor's process, and when it is due next."""

    def __init__(self, record: Path) -> None:
        """Prepare it; the file that each regular look writes says when the last one was, also before a restart."""
        self.pid = 0
        """The process that looks; 0 if none does."""
        self._record = record
        self._every = 0.0
        self._due = math.inf

    def follow(self, every: float) -> None:
        """Run every so many seconds; 0: never."""
        if every == self._every:
            return
        self._every = every
        if not every:
            self._due = math.inf
            return
        try:
            ago = time.time() - self._record.stat().st_mtime
        except OSError:
            ago = every
        # within bounds, whatever the clock has done meanwhile
        self._due = time.monotonic() + min(every, max(FIRST, every - ago))

    @property
    def wait(self) -> float:
        """Seconds until the next regular run."""
        return max(0.0, self._due - time.monotonic())

    def put_off(self) -> None:
        """Postpone the regular run, as during a reload."""
        self._due = time.monotonic() + min(FIRST, self._every) if self._every else math.inf

    def start(self, what: str, output: Callable[[], AbstractContextManager[int]]) -> None:
        """Start a run (``start`` or ``regular``, see postroad/checks/__main__.py), unless one is under way.

        Raises:
            CommandError, OSError: it could not be started.
        """
        if what == "regular":
            if self.pid:
                self.put_off()
                return
            self._due = time.monotonic() + self._every
        environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with output() as descriptor:
            argv = [sys.executable, "-m", "postroad.checks", what]
            self.pid = system.spawn(argv, environment, output=descriptor)
