"""Log lines about faults that persist. Standard library only."""

import time

from postroad.events.syslog import Severity
from postroad.runtime.log import tell

PATIENCE = 60.0
"""Seconds between two lines about the same fault."""


class Complaints:
    """Logs each line at most once per ``PATIENCE``."""

    def __init__(self, who: str) -> None:
        """Prefix each line with the program's name."""
        self._who = who
        self._said: dict[str, float] = {}

    def __call__(self, level: Severity, message: str) -> None:
        """Log a line, unless the same one was logged within ``PATIENCE``."""
        now = time.monotonic()
        if now >= self._said.get(message, 0.0):
            self._said = {text: until for text, until in self._said.items() if until > now}
            self._said[message] = now + PATIENCE
            tell(level, f"{self._who}: {message}")
