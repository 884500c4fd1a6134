"""Where events go: one file per sink, and the dispatcher that hands each event to all of them."""

import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from postroad.events.model import Event
from postroad.sinks.told import Told


class Sink(Protocol):
    """Takes events, in one thread."""

    def handle(self, told: Sequence[Told]) -> None:
        """Take events, in order; an exception affects neither the mail nor other sinks."""


class Dispatcher:
    """Hands all events to every sink. A sink's first failure goes to standard error; further ones are counted."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        """Begin with these sinks, in this order."""
        self._sinks = tuple(sinks)
        self.failures: Counter[str] = Counter()
        """The number of events that each sink failed on, by the name of its class."""

    def handle(self, events: Sequence[Event]) -> None:
        """Hand on events. Never raises."""
        told = [Told(event) for event in events]
        for sink in self._sinks:
            try:
                sink.handle(told)
            except Exception:  # noqa: BLE001 - a faulty sink must not stop the others or the log
                self._failed(type(sink).__name__, events)

    def _failed(self, name: str, events: Sequence[Event]) -> None:
        known = self.failures[name]
        self.failures[name] += len(events)
        if known:
            return
        event = events[0]
        # on standard error, not as an event: the sink that failed may be the one that would show it
        try:
            sys.stderr.write(f"{name} failed on an event ({event.kind}); its further failures are only counted\n")
            traceback.print_exc()
        except (OSError, ValueError):  # standard error is closed, or nobody reads it
            return
