"""sendmail's queue runs over single messages: started, reaped, and counted. Standard library only.

Which messages are in them stands in a file that sendmail's rules read before each delivery: what is not named there
stays in the queue, so a manual queue run cannot bypass the limits.
"""

import contextlib
import os
import selectors
import time
from collections.abc import Mapping
from dataclasses import dataclass

from postroad import system
from postroad.errors import PostroadError
from postroad.runtime.log import Tell
from postroad.shaper.counts import RouteCounts
from postroad.shaper.messages import ShapedMessage
from postroad.shaper.places import Places
from postroad.shaper.route import LimitedRoute, midnight

AGAIN = 10.0
"""Seconds until a message is due again that a run has left alone, as somebody else had it."""
MAIN = "mqueue"
"""sendmail's own queue group."""


@dataclass
class ShapedRun:
    """A run of sendmail's.

    Attributes:
        route: whose messages it tries.
        messages: all in one folder.
        tries: how many transactions are reserved for them; 0: nothing is tried, senders are only told.
    """

    route: LimitedRoute
    messages: list[ShapedMessage]
    tries: int


class ShapedRuns:
    """The runs under way.

    Attributes:
        routes: those in force, by the names of their groups.
        messages: those that are being tried, with their queue groups.
        lock: a descriptor that what is started inherits.
        sendmail: sendmail's program.
        env: the whole environment of its processes.
    """

    def __init__(
        self,
        places: Places,
        counts: RouteCounts,
        selector: selectors.BaseSelector,
        say: Tell,
    ) -> None:
        """Register the ends of runs with ``selector``; ``say`` is called with lines for the log."""
        self.routes: Mapping[str, LimitedRoute] = {}
        self.messages: dict[str, str] = {}
        self.lock = -1
        self.sendmail = ""
        self.env: Mapping[str, str] = {}
        self._places, self._counts, self._selector, self._say = places, counts, selector, say
        self._runs: dict[int, ShapedRun] = {}

    def of(self, route: LimitedRoute) -> int:
        """How many messages of a route are being tried."""
        return sum(group == route.group for group in self.messages.values())

    def telling(self, route: LimitedRoute) -> bool:
        """Whether a run is sending delay warnings for this route."""
        return any(run.route is route and not run.tries for run in self._runs.values())

    def try_(self, route: LimitedRoute, messages: list[ShapedMessage]) -> bool:
        """Start a run that delivers these messages; False if none can be started now."""
        tries = sum(message.tries for message in messages)
        fresh = sum(message.tries for message in messages if not message.counted(midnight()))
        route.pace.begin(tries, fresh)
        self.messages |= {message.queue_id: route.group for message in messages}
        try:
            if route.pace.counts:
                self._counts.keep()
            self.write()
            self._start(ShapedRun(route, messages, tries))
        except PostroadError as error:
            self._failed(error)
            route.pace.undo(tries, fresh)
            with contextlib.suppress(PostroadError):  # the next run's counts are written again
                if route.pace.counts:
                    self._counts.keep()
            self._over(ShapedRun(route, messages, tries))
            return False
        return True

    def tell(self, route: LimitedRoute, messages: list[ShapedMessage]) -> None:
        """Start a run that sends delay warnings for these messages: sendmail does so when a try fails."""
        try:
            self._start(ShapedRun(route, messages, 0))
        except PostroadError as error:
            self._failed(error)
            self._over(ShapedRun(route, messages, 0))

    def _failed(self, error: PostroadError) -> None:
        self._say("err", f"{error}; mail of routes with limits waits")

    def _start(self, run: ShapedRun) -> None:
        """Start a run.

        Raises:
            PostroadError: that can't be done now.
        """
        first = run.messages[0]
        group = run.route.group if first.path.parent == run.route.waiting.folder else MAIN
        # a cached connection is open beside the one in use, unless both are the same
        cache = 0 if first.domain is None else 1
        argv = [self.sendmail, "-C", str(self._places.generation / "sendmail.cf"), f"-OConnectionCacheSize={cache}"]
        argv += ["-qf", f"-qG{group}", *(f"-qI{message.queue_id}" for message in run.messages)]
        pid = system.spawn(argv, self.env, quiet=True, stdin=self.lock)
        self._runs[pid] = run
        descriptor = os.pidfd_open(pid)
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: self._ended(pid, descriptor))

    def _ended(self, pid: int, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        run = self._runs.pop(pid)
        if run.tries:
            run.route.pace.end(run.tries)
        self._over(run)

    def _over(self, run: ShapedRun) -> None:
        """Read the outcome of a run's messages after its end."""
        if run.tries:
            for message in run.messages:
                self.messages.pop(message.queue_id, None)
            with contextlib.suppress(PostroadError):  # what stays named is not run; the next one writes it again
                self.write()
        # a reload may have made the route anew
        waiting = self.routes.get(run.route.group, run.route).waiting
        for before in run.messages:
            waiting.add(before.path)
            after = waiting.entries.get(before.queue_id)
            if after is not None and (after.last_try, after.attempts) == (before.last_try, before.attempts):
                after.due = time.time() + AGAIN
                waiting.put(after)

    def write(self) -> None:
        """Write the file that releases messages.

        Raises:
            InstallError: it can't be written.
        """
        lines = (f"{queue_id}\t{group}\n" for queue_id, group in self.messages.items())
        system.write(self._places.released, "".join(lines))
