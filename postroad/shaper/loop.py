"""The shaper's loop: read the queues, start runs, answer flush requests. Standard library only."""

import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from postroad.runtime import shaping
from postroad.runtime.log import Tell
from postroad.runtime.sharing import Use
from postroad.sendmail import queue
from postroad.shaper.counts import RouteCounts
from postroad.shaper.flush import FlushRequests
from postroad.shaper.messages import ShapedMessage
from postroad.shaper.misfiled import Misfiled
from postroad.shaper.pace import RouteLimits, alone
from postroad.shaper.parts import RouteParts
from postroad.shaper.places import Places
from postroad.shaper.route import LimitedRoute
from postroad.shaper.runs import AGAIN, ShapedRuns
from postroad.shaper.waiting import RouteQueue

LOOK = 0.4
"""Seconds between two looks for new messages: at the directories' times of change only."""
LOOK_FOR_MISFILED = 10.0


class Shaper:
    """Reads the queues, starts runs, and handles their ends.

    Attributes:
        routes: the routes with limits, by the names of their groups.
        orphans: folders of routes that are no more.
        runs: the runs that go on.
        counts: what routes have sent.
        parts: what this relay may have of limits that it shares with others.
    """

    def __init__(self, say: Tell, places: Places = Places()) -> None:  # noqa: B008 - frozen
        """Shape the queue at these paths; ``say`` is called with a level and a message for the log."""
        self.routes: dict[str, LimitedRoute] = {}
        self.orphans: list[Path] = []
        self.say = say
        self._places = places
        self._selector = selectors.DefaultSelector()
        self.counts = RouteCounts(places.counts, say)
        self.runs = ShapedRuns(places, self.counts, self._selector, say)
        self.requests = FlushRequests(places.socket, self._selector)
        self.parts = RouteParts(places.parts, self._selector)
        self.parts.report = self._uses
        self._shared = False
        self._misfiled = Misfiled(places.queue)
        self._look_for_misfiled, self._looked = 0.0, 0.0

    def load(self) -> None:
        """Load the routes in force. Counts stay, also those of a removed route, which may come back.

        Raises:
            OSError, ValueError: they can't be read.
        """
        settings = shaping.load(self._places.generation)
        root = self._places.queue
        self.runs.sendmail, self.runs.env = settings.sendmail, settings.env
        self.routes = {}
        for each in settings.routes:
            limits = RouteLimits(each.concurrency, each.rate, each.since, each.daily)
            waiting = RouteQueue(
                root / each.group, settings.retry, each.one_way, settings.by_domain, limits=settings.tell
            )
            pace = self.counts.pace(each.group, limits)
            pace.part = self.parts.of(each.group) if settings.shared else alone
            self.routes[each.group] = LimitedRoute(each.group, pace, waiting)
        self._shared = settings.shared
        self.parts.keep(tuple(self.routes) if settings.shared else ())
        self.runs.routes = self.routes
        folders = root.glob(f"{settings.prefix}*")
        self.orphans = [path for path in folders if path.is_dir() and path.name not in self.routes]
        self._misfiled, self._look_for_misfiled = Misfiled(root), 0.0

    def _uses(self) -> list[Use]:
        """The limits of all routes, where they are shared."""
        if not self._shared:
            return []
        now = time.time()
        return [
            replace(use, name=f"{group} {use.name}")
            for group, route in self.routes.items()
            for use in route.pace.uses(*route.waiting.demand(now, self.runs.messages))
        ]

    def read_queues(self) -> None:
        """Read new messages, of each route and in sendmail's main queue."""
        if time.monotonic() < self._looked + LOOK / 2:
            return
        self._looked = time.monotonic()
        for route in self.routes.values():
            with self._reading(route.waiting.folder):
                route.waiting.refresh()
        for folder in self.orphans:
            with self._reading(folder):
                for path in queue.control_files(folder):
                    queue.move(path, self._places.queue)
        if time.monotonic() >= self._look_for_misfiled:
            self._look_for_misfiled = time.monotonic() + LOOK_FOR_MISFILED
            with self._reading(self._places.queue):
                for group, path in self._misfiled.found():
                    if group in self.routes and path.name[2:] not in self.runs.messages:
                        # sendmail has just tried it, as it was time to
                        self.routes[group].waiting.add(path, due=time.time())

    @contextlib.contextmanager
    def _reading(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.say("err", f"{folder} can't be read or written: {error.strerror}; its mail waits")

    def start(self) -> None:
        """Start every run that the limits allow."""
        if self._shared and self.routes and (complaint := self.parts.complaint):
            self.say("err", complaint)
        for route in self.routes.values():
            while route.pace.connections > 0 and (messages := route.take(self.runs.of(route), self._is_free)):
                if not self.runs.try_(route, messages):
                    return
            if not self.runs.telling(route):
                for late in route.late(self.runs.messages):
                    self.runs.tell(route, late)

    def _is_free(self, message: ShapedMessage) -> bool:
        """Whether a run would take the message: another process may still hold it, such as the one accepting it."""
        if message.queue_id in self.runs.messages:
            message.due = time.time() + AGAIN
            return False
        try:
            with queue.lock(message.path) as held:
                if held is None:
                    for route in self.routes.values():
                        route.waiting.entries.pop(message.queue_id, None)
                elif not held:
                    message.due = time.time() + LOOK
                return bool(held)
        except OSError:
            message.due = time.time() + AGAIN
            return False

    def watch(self, descriptor: int, act: Callable[[], None]) -> None:
        """Call ``act`` when the descriptor is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def step(self, wait: float = LOOK) -> None:
        """Read the queues, start runs, then wait for the next event, at most so many seconds."""
        self.read_queues()
        self.requests.make_due(self.routes.values(), self.runs.messages)
        self.start()
        self.requests.answer(self.routes.values(), self.runs.messages)
        for key, _ in self._selector.select(wait):
            key.data()
