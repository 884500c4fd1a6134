"""Messages of routes with limits that came before their route did: sendmail's main queue has them.

Standard library only.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from postroad.runtime import refusals
from postroad.sendmail import queue


class Misfiled:
    """Finds them by the refusal that sendmail's rules gave when they were tried."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked = 0.0

    def found(self) -> Iterator[tuple[str, Path]]:
        """(queue group, control file) of each message refused since the last call."""
        since, self._looked = self._looked - 2, time.time()
        with os.scandir(self._root) as files:
            names = [entry.path for entry in files if entry.name.startswith("qf")]
        for path in map(Path, names):
            try:
                if path.stat().st_mtime < since:
                    continue
            except OSError:
                continue  # delivered meanwhile
            message = queue.read(path)
            groups = filter(None, map(refusals.group_of, message.reasons)) if message else ()
            if group := next(iter(groups), None):
                yield group, path
