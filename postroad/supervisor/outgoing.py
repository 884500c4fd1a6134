"""Whether mail leaves: what failed deliveries, and messages that nobody tries, say of this server.

A receiver that is down is no fault of ours, so one alone says nothing, nor do domains that never took mail. Standard
library only.
"""

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from postroad.events.model import Bounced, Deferred, Delivered, RecipientEvent
from postroad.runtime import slowed
from postroad.runtime.paths import RECEIVERS
from postroad.runtime.reasons import NONE_SUCCEEDS, NOT_TRIED
from postroad.sendmail import queue
from postroad.sinks.told import Told

INTERVALS = 2
"""Retry intervals after which it is time that something happens."""
LEAST = 30.0
"""Seconds that are the least of that."""
REMEMBERED = 1000
"""Receivers that took mail, and likewise those that fail."""


@dataclass(slots=True)
class Failing:
    """A receiver that has failed since the last delivery succeeded."""

    domain: str
    known: bool
    first: float
    last: float = 0.0


class Deliveries:
    """A sink that tracks which receivers take mail and which fail."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without any receiver."""
        self._clock = clock
        self._success = clock()
        self._good: OrderedDict[str, None] = OrderedDict()
        self._failing: OrderedDict[str, Failing] = OrderedDict()

    def handle(self, told: Sequence[Told]) -> None:
        """Record an attempt."""
        for each in told:
            # what a bounce says that comes back later was no attempt of ours
            if isinstance(each.event, Delivered | Deferred | Bounced) and not getattr(each.event, "late", None):
                self._note(each.event)

    def _note(self, event: RecipientEvent) -> None:
        host, domain = event.relay_host or "", (event.recipient or "").rpartition("@")[2].lower().rstrip(">")
        if isinstance(event, Deferred):
            found = self._failing.setdefault(
                host or domain, Failing(domain, host in self._good or domain in self._good, self._clock())
            )
            found.last = self._clock()
            self._failing.move_to_end(host or domain)
            if len(self._failing) > REMEMBERED:
                self._failing.popitem(last=False)
        elif isinstance(event, Delivered) and host:
            self._success = self._clock()
            self._failing.clear()
            for name in (host, domain):
                self._good[name] = None
                self._good.move_to_end(name)
                if len(self._good) > REMEMBERED:
                    self._good.popitem(last=False)
        elif event.reply:
            self._failing.pop(host, None)  # it refused this one for good, and so it is there

    def reason(self, retry: float) -> str:
        """Why deliveries are in trouble, where mail that waits is tried every ``retry`` seconds; empty: they are not.

        No delivery has succeeded for two retry intervals, and at least two receivers of different domains have failed
        for so long and still do, each of which took mail before; or nobody has ever taken any.
        """
        now, patience = self._clock(), max(INTERVALS * retry, LEAST)
        if now - self._success < patience:
            return ""
        failing = {
            name: each
            for name, each in list(self._failing.items())
            if now - each.first >= patience and now - each.last < 2 * patience and (each.known or not self._good)
        }
        domains = {each.domain for each in failing.values()}
        return NONE_SUCCEEDS if min(len(failing), len(domains)) > 1 else ""


def untried(folder: Path, before: float, proc: Path = Path("/proc"), held: Container[str] = ()) -> list[str]:
    """The messages in this folder of the queue that nobody has worked on since then, in seconds since the epoch.

    Not those below it: the shaper's wait for their turn, as do those for the domains that are ``held``. A control file
    is written anew at each attempt, and sendmail's title has the message that a process works on.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("qf"):
                with suppress(OSError):  # delivered meanwhile
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        found.append(entry.name[2:])
    if found:
        titles = "\n".join(_titles(proc))
        found = [each for each in found if each not in titles]
    return [each for each in found if not _is_held(folder / f"qf{each}", held)]


def _is_held(path: Path, held: Container[str]) -> bool:
    message = queue.read(path) if held else None
    return message is not None and any(domain in held for domain in message.domains)


def _titles(proc: Path) -> list[str]:
    titles = []
    for name in filter(str.isdigit, os.listdir(proc)):  # noqa: PTH208 - a Path for each entry is slow
        with suppress(OSError):
            titles.append((proc / name / "cmdline").read_text(errors="replace"))
    return titles


class QueueWatch:
    """A thread that looks now and then for messages that nobody tries; a look at a long queue takes a while."""

    def __init__(self, folder: Path) -> None:
        """Look at this folder."""
        self._folder = folder
        self._offset = math.nan
        self._since = 0.0  # when the clock was last set, or this began
        self.retry = math.inf
        """Seconds after which mail that waits is tried again."""
        self.reason = ""
        """Why it is in trouble; empty where it is not."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._loop, name="queue", daemon=True).start()

    def _loop(self) -> None:
        while True:
            with suppress(OSError):  # the volume is gone: others notice
                self.measure(time.time(), time.monotonic())
            time.sleep(min(max(self.retry / 2, 5.0), 60.0))

    def measure(self, now: float, clock: float) -> None:
        """Look once, at this time, by the clock on the wall and by the monotonic one."""
        if not abs(now - clock - self._offset) < LEAST:
            self._since = clock  # the files' times say nothing until they have been written anew
        self._offset = now - clock
        patience = max(INTERVALS * self.retry, LEAST)
        held = slowed.held_domains(RECEIVERS, now)
        late = clock - self._since >= patience and untried(self._folder, now - patience, held=held)
        self.reason = NOT_TRIED if late else ""
