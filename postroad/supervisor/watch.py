"""Whether certificates, passwords and networks are others than those the configuration in force was prepared with."""

import time
from collections.abc import Mapping

from postroad import system
from postroad.runtime import attached

INTERVAL = 15.0
"""Seconds between two looks."""
LONGEST_INTERVAL = 900.0
"""Seconds between two errands that found nothing to do."""


class FileWatch:
    """Looks at files, by their status alone, and at networks now and then."""

    def __init__(self, watched: Mapping[str, str], due: float, networks: str = "") -> None:
        """Begin.

        Args:
            watched: the files and what ``system.status`` said of each when it was read.
            due: when there is reason to act without a change, too, in seconds since the epoch.
            networks: ``attached.Tables.fingerprint`` when they were read; empty: they are not looked at.
        """
        self._watched = dict(watched)
        self._due = due
        self._networks = networks
        self._next = time.monotonic() + INTERVAL

    @property
    def wait(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic())

    def reason(self) -> str:
        """Look, if it is time to, and return the reason to prepare the configuration anew; each is told once."""
        if self.wait:
            return ""
        self._next = time.monotonic() + INTERVAL
        before, self._watched = self._watched, {path: system.status(path) for path in self._watched}
        changed = [path for path, status in self._watched.items() if status != before[path]]
        if time.time() >= self._due:
            self._due = float("inf")
            changed.append("the validity of the certificate")
        if self._networks and (now := attached.read().fingerprint) != self._networks:
            self._networks = now
            changed.append("the networks of this container")
        return f"{', '.join(changed)} changed" if changed else ""


class Errand:
    """When a process that does something and ends is to be started: the longer it finds nothing to do, the later.

    What it does shows in a watched file, and with the reload that follows there is another errand.
    """

    def __init__(self, due: float) -> None:
        """Begin.

        Args:
            due: when there is something to do, in seconds since the epoch.
        """
        self._due = due
        self._pause = INTERVAL

    def is_due(self) -> bool:
        """Whether it is time, which is told once; then it is time again after a pause."""
        now = time.time()
        if now < self._due:
            return False
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_INTERVAL)
        return True
