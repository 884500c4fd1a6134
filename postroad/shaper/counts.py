"""The counts of all routes, kept over a restart and over a reload that leaves a route out. Standard library only."""

import json
import time
from pathlib import Path
from typing import Any

from postroad import system
from postroad.runtime.log import Tell
from postroad.shaper.pace import DAY, Pace, RouteLimits


class RouteCounts:
    """A ``Pace`` for each queue group."""

    def __init__(self, path: Path, say: Tell) -> None:
        """Keep counts at ``path``; ``say`` is called with a level and a message for the log."""
        self._path, self._say = path, say
        self._paces: dict[str, Pace] = {}
        self._kept: dict[str, Any] | None = {}

    def recall(self) -> None:
        """Read the counts of an earlier process."""
        try:
            kept = json.loads(self._path.read_text())
            self._kept = {group: counts for group, counts in kept.items() if counts["day"] >= time.time() // DAY - 1}
        except FileNotFoundError:
            self._kept = {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._kept = None
            self._damaged()

    def pace(self, group: str, limits: RouteLimits) -> Pace:
        """The counts of a group, under these limits from now on."""
        if group not in self._paces:
            self._paces[group] = self._recalled(group, limits)
        self._paces[group].limits = limits
        return self._paces[group]

    def _recalled(self, group: str, limits: RouteLimits) -> Pace:
        pace = Pace(limits)
        try:
            if self._kept is None:
                pace.fill()
            elif group in self._kept:
                pace.load(self._kept[group])
        except (ValueError, KeyError, TypeError):
            self._damaged()
            pace.fill()
        return pace

    def _damaged(self) -> None:
        self._say(
            "err",
            f"{self._path} can't be read: the number of messages sent today is unknown, so limits count as reached",
        )

    def keep(self) -> None:
        """Write the counts to disk, so that a restart does not raise any limit.

        Raises:
            InstallError: they can't be written.
        """
        counts = {**(self._kept or {}), **{group: pace.dump() for group, pace in self._paces.items()}}
        system.write(self._path, json.dumps(counts))
