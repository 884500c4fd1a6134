"""The messages that wait for one route, in the order in which they are due. Standard library only.

A directory is read again only when it has changed, and a message's control file when it is new or was tried.
"""

import heapq
import itertools
import os
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from postroad.shaper.messages import ShapedMessage, read

_Place = tuple[float, float, int, str]
"""When a message is due, when it came, its place, its id."""


@dataclass
class RouteQueue:
    """The messages of one route."""

    folder: Path
    retry: float
    one_way: bool
    by_domain: bool
    limits: tuple[float, ...]
    """Seconds after which a sender is told that a message waits, and after which it comes back."""
    entries: dict[str, ShapedMessage] = field(default_factory=dict)
    _heaps: tuple[list[_Place], list[_Place]] = field(default_factory=lambda: ([], []))
    """Those that were never tried, and those that were."""
    _places: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _tells: list[tuple[float, str]] = field(default_factory=list)
    _seen: int = 0
    _looked: float = 0.0

    def refresh(self) -> None:
        """Re-read the directory if it has changed since the last call."""
        status = self.folder.stat()
        # what happens within the same tick of the file system's clock as a look leaves no trace: so look once more
        if status.st_mtime_ns == self._seen and status.st_mtime < self._looked - 1:
            return
        self._seen, self._looked = status.st_mtime_ns, time.time()
        names = {name for name in os.listdir(self.folder) if name.startswith("qf")}  # noqa: PTH208 - no Path for each
        for name in names - {entry.path.name for entry in self.entries.values()}:
            self.add(self.folder / name)
        for queue_id in [key for key, entry in self.entries.items() if entry.path.parent == self.folder]:
            if f"qf{queue_id}" not in names:
                del self.entries[queue_id]

    def add(self, path: Path, due: float | None = None) -> None:
        """Add or re-read a message; drop it if its file is gone.

        Args:
            path: its control file.
            due: when to try it, in seconds since the epoch; None: as long after its last try as usual.
        """
        entry = read(path, self.retry, self.one_way, self.by_domain)
        if entry is None:
            self.entries.pop(path.name[2:], None)
        else:
            entry.due = entry.due if due is None else due
            self.put(entry)

    def put(self, entry: ShapedMessage) -> None:
        """Record when a message is due."""
        self.entries[entry.queue_id] = entry
        entry.place = next(self._places)
        heapq.heappush(self._heaps[entry.attempts > 0], (entry.due, entry.arrived, entry.place, entry.queue_id))
        if (then := entry.next_warning(self.limits)) < float("inf"):
            heapq.heappush(self._tells, (then, entry.queue_id))

    def due(self, now: float, fresh: bool) -> Iterator[ShapedMessage]:
        """Remove and return the messages that are due, the longest due first; ``put`` back what is not used.

        Those that were never tried only if ``fresh``.
        """
        while first := self._first(now, fresh):
            entry = self.entries[heapq.heappop(first)[3]]
            entry.place = 0
            yield entry

    def _first(self, now: float, fresh: bool) -> list[_Place] | None:
        """The heap whose first message is due, and for the longest."""
        heaps = self._heaps if fresh else self._heaps[1:]
        for heap in heaps:
            while heap and (heap[0][3] not in self.entries or self.entries[heap[0][3]].place != heap[0][2]):
                heapq.heappop(heap)
        first = min((heap for heap in heaps if heap), default=None)
        return first if first and first[0][0] <= now else None

    def demand(self, now: float, running: Container[str]) -> tuple[int, int]:
        """How many tries the messages that are due would make, and how many the next of them."""
        first = self._first(now, fresh=True)
        all_ = sum(entry.tries for entry in self.entries.values() if entry.due <= now and entry.queue_id not in running)
        return all_, self.entries[first[0][3]].tries if first else 0

    def to_tell(self, now: float) -> Iterator[ShapedMessage]:
        """The messages whose delay warning is due, each once: a limit holds them back."""
        later = []
        while self._tells and self._tells[0][0] <= now:
            then, queue_id = heapq.heappop(self._tells)
            entry = self.entries.get(queue_id)
            if entry is None or entry.next_warning(self.limits) != then:
                continue
            if entry.due <= now:
                yield entry
            else:
                later.append((then, queue_id))
        for each in later:
            heapq.heappush(self._tells, each)
