"""What waits for one route, in the order in which it is due. Standard library only.

A directory is read again only when it has changed, and a message's control file when it is new or was tried.
"""

import heapq
import itertools
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from postroad.runtime.refusals import TURN
from postroad.sendmail import queue

_STRAY = re.compile(rf"^M[^\n]*{TURN} delivery\.routes\[([0-9]+)\]", re.MULTILINE)
RECIPIENTS_AT_ONCE = 100
"""Most recipients of one transaction: sendmail's default for a mailer (``r=``)."""

_Place = tuple[float, float, int, str]
"""When a message is due, when it came, its place, its id."""


@dataclass
class Entry:
    """A message that waits.

    Attributes:
        path: its control file.
        domain: what its recipients have in common: messages of one domain share a connection. None: nothing.
        tries: how many transactions an attempt makes at most.
        arrived: when it was accepted, in seconds since the epoch.
        last_try: when it was tried last, or accepted.
        attempts: how often it was tried.
        due: when to try it.
        place: its number in the order of those that are due; 0: it is not among them.
    """

    path: Path
    domain: str | None
    tries: int
    arrived: float
    last_try: float
    attempts: int
    due: float
    place: int = 0

    @property
    def queue_id(self) -> str:
        """The id that sendmail gave it."""
        return self.path.name[2:]

    def counted(self, today: float) -> bool:
        """Whether it was tried already on the day that began then."""
        return self.attempts > 0 and self.last_try >= today

    def told(self, limits: tuple[float, ...]) -> float:
        """When its sender is told next that it still waits; infinity where never, or where that is due no more."""
        times = [self.arrived + limit for limit in limits]
        return min((then for then in times if then > self.last_try), default=float("inf"))


def read(path: Path, retry: float, one_way: bool, by_domain: bool) -> Entry | None:
    """A message from its control file; None where it has gone.

    Args:
        path: the control file.
        retry: seconds between two tries.
        one_way: all goes to one server, whatever the domains.
        by_domain: recipients' domains are those that mail goes to.
    """
    message = queue.read(path)
    if message is None:
        return None
    domains = [recipient.rpartition("@")[2].lower() for recipient in message.recipients]
    servers = {""} if one_way else set(domains)
    tries = sum(-(-(len(domains) if one_way else domains.count(each)) // RECIPIENTS_AT_ONCE) for each in servers)
    try:
        written = path.stat().st_mtime  # finer than what stands in it
    except OSError:
        return None
    arrived = float(message.arrived or written)
    last_try = float(message.last_try or 0)
    return Entry(
        path=path,
        domain=next(iter(servers)) if len(servers) == 1 and (one_way or by_domain) else None,
        tries=max(1, tries),
        arrived=arrived,
        last_try=last_try,
        attempts=message.attempts,
        due=last_try + retry if message.attempts else written,
    )


@dataclass
class Waiting:
    """The messages of one route."""

    folder: Path
    retry: float
    one_way: bool
    by_domain: bool
    limits: tuple[float, ...]
    """Seconds after which a sender is told that a message waits, and after which it comes back."""
    entries: dict[str, Entry] = field(default_factory=dict)
    _heaps: tuple[list[_Place], list[_Place]] = field(default_factory=lambda: ([], []))
    """Those that were never tried, and those that were."""
    _places: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _tells: list[tuple[float, str]] = field(default_factory=list)
    _seen: int = 0
    _looked: float = 0.0

    def look(self) -> None:
        """Take note of what has come and gone, if the directory has changed since the last look."""
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
        """Take note of a message, anew if it is known: one that has gone is forgotten. ``due``: when to try it, if not
        as late after the last try as ever.
        """
        entry = read(path, self.retry, self.one_way, self.by_domain)
        if entry is None:
            self.entries.pop(path.name[2:], None)
        else:
            entry.due = entry.due if due is None else due
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """Take note of when a message is due."""
        self.entries[entry.queue_id] = entry
        entry.place = next(self._places)
        heapq.heappush(self._heaps[entry.attempts > 0], (entry.due, entry.arrived, entry.place, entry.queue_id))
        if (then := entry.told(self.limits)) < float("inf"):
            heapq.heappush(self._tells, (then, entry.queue_id))

    def due(self, now: float, fresh: bool) -> Iterator[Entry]:
        """The messages that are due, first the one that is due longest: each is taken off and has to be ``put`` back.

        Those that were never tried only if ``fresh``.
        """
        heaps = self._heaps if fresh else self._heaps[1:]
        while True:
            for heap in heaps:
                while heap and (heap[0][3] not in self.entries or self.entries[heap[0][3]].place != heap[0][2]):
                    heapq.heappop(heap)
            first = min((heap for heap in heaps if heap), default=None)
            if first is None or first[0][0] > now:
                return
            entry = self.entries[heapq.heappop(first)[3]]
            entry.place = 0
            yield entry

    def to_tell(self, now: float) -> Iterator[Entry]:
        """The messages whose senders are to be told by now, each once: if due, a limit keeps them back."""
        later = []
        while self._tells and self._tells[0][0] <= now:
            then, queue_id = heapq.heappop(self._tells)
            entry = self.entries.get(queue_id)
            if entry is None or entry.told(self.limits) != then:
                continue
            if entry.due <= now:
                yield entry
            else:
                later.append((then, queue_id))
        for each in later:
            heapq.heappush(self._tells, each)


class Strays:
    """Finds messages of shaped routes in sendmail's main queue: those that came before their route did."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked = 0.0

    def look(self) -> Iterator[tuple[int, Path]]:
        """Those tried in vain since the last look: places in ``delivery.routes``, and control files."""
        since, self._looked = self._looked - 2, time.time()
        with os.scandir(self._root) as found:
            names = [entry.path for entry in found if entry.name.startswith("qf")]
        for name in names:
            path = Path(name)
            try:
                if path.stat().st_mtime < since:
                    continue
                with path.open("rb") as file:
                    text = file.read(queue.LARGEST).decode(errors="backslashreplace")
            except OSError:
                continue  # delivered meanwhile
            if match := _STRAY.search(text.partition("\nH")[0]):
                yield int(match[1]), path
