"""Lines to the log about faults that go on. Standard library only."""

import time

from postroad.runtime.log import tell

PATIENCE = 60.0
"""Seconds between two lines about the same fault."""


class Complaints:
    """Gives the log each line at most once within ``PATIENCE``."""

    def __init__(self, who: str) -> None:
        """Say who speaks, in front of each line."""
        self._who = who
        self._said: dict[str, float] = {}

    def __call__(self, level: str, message: str) -> None:
        """Give the log a line, unless it had the same one just now."""
        now = time.monotonic()
        if now >= self._said.get(message, 0.0):
            self._said = {text: until for text, until in self._said.items() if until > now}
            self._said[message] = now + PATIENCE
            tell(level, f"{self._who}: {message}")
