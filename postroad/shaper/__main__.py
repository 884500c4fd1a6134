"""``python -m postroad.shaper``: lets mail of shaped routes go, as their limits allow.

sendmail only queues that mail, in a directory for each route that its own queue runs leave alone. This process reads
what is there, and starts a run of sendmail's for a message, or a few that share a connection, when the limits leave
room. Which messages those are stands in ``/run/postroad/turns``, where sendmail's rules look before each delivery:
what is not named there stays in the queue, whoever started the run. Standard library only.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from postroad import system
from postroad.errors import PostroadError
from postroad.events import syslog
from postroad.runtime import plan
from postroad.runtime.paths import CURRENT, LOG_SOCKET, PACES, QUEUE, SHAPER, SHAPER_LOCK, TURNS
from postroad.sendmail import queue
from postroad.shaper.pace import DAY, Limits, Pace
from postroad.shaper.waiting import Entry, Strays, Waiting

LOOK = 0.4
"""Seconds between two looks for new messages: at the directories' times of change only."""
LOOK_FOR_STRAYS = 10.0
MOST_IN_A_RUN = 12
"""Messages of one run: so many share a connection, and a process."""
AHEAD = 200
"""Messages that are looked at for some that can share a connection with the first."""
AGAIN = 10.0
"""Seconds until a message is due again that a run has left alone, as somebody else had it."""
PATIENCE = 60.0
"""Seconds between two lines in the log about the same fault."""
MAIN = "mqueue"


@dataclass
class Route:
    """A shaped route.

    Attributes:
        group: the name of its queue group.
        said: what people are told of it.
        index: its place in ``delivery.routes``.
        pace: its counts.
        waiting: its messages.
    """

    group: str
    said: str
    index: int
    pace: Pace
    waiting: Waiting


@dataclass
class Run:
    """A run of sendmail's.

    Attributes:
        route: whose messages it tries.
        entries: the messages.
        tries: how many transactions are reserved for them; 0: nothing is tried, senders are only told.
    """

    route: Route
    entries: list[Entry]
    tries: int


@dataclass
class Wish:
    """Somebody who wants messages to be tried now, and waits until they were or it is clear that they can't be yet."""

    connection: socket.socket
    heard: bytes = b""
    ids: frozenset[str] | None = None
    complete: bool = False


@dataclass
class Shaper:
    """Looks, starts runs, and hears of their ends.

    Attributes:
        routes: the shaped routes, by the names of their groups.
        running: the messages that are being tried, with their groups.
        orphans: directories of routes that are no more.
    """

    lock: int
    routes: dict[str, Route] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    orphans: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._wishes: dict[socket.socket, Wish] = {}
        self._selector = selectors.DefaultSelector()
        self._strays = Strays(QUEUE)
        self._kept: dict[str, Any] | None = {}
        self._paces: dict[str, Pace] = {}
        self._said: dict[str, float] = {}
        self._look_for_strays, self._looked = 0.0, 0.0
        self._sendmail = ""
        self._env: dict[str, str] = {}

    # --- settings and counts ---------------------------------------------------------------------------

    def load(self) -> None:
        """Take over the routes in force; counts are kept, also those of a route that is gone and may come back.

        Raises:
            OSError, ValueError: they can't be read.
        """
        settings = json.loads((CURRENT / "shaping.json").read_text())
        daemon = next(each for each in plan.load(CURRENT / "plan.json").processes if each.name == "sendmail")
        self._sendmail, self._env = daemon.argv[0], daemon.env
        limits = tuple(settings["tell"])
        self.routes = {}
        for each in settings["routes"]:
            group = each["group"]
            allowed = Limits(each["concurrency"], each["rate"] and tuple(each["rate"]), each["since"], each["daily"])
            if group not in self._paces:
                self._paces[group] = self._pace(group, allowed)
            pace = self._paces[group]
            pace.limits = allowed
            waiting = Waiting(QUEUE / group, settings["retry"], each["one_way"], settings["by_domain"], limits)
            self.routes[group] = Route(group, each["said"], each["index"], pace, waiting)
        self.orphans = [
            path for path in QUEUE.glob(f"{settings['prefix']}*") if path.is_dir() and path.name not in self.routes
        ]
        self._strays, self._look_for_strays = Strays(QUEUE), 0.0

    def _pace(self, group: str, limits: Limits) -> Pace:
        pace = Pace(limits)
        try:
            if self._kept is None:
                pace.fill()
            elif group in self._kept:
                pace.load(self._kept[group])
        except (ValueError, KeyError, TypeError):
            self._damaged()
            pace.fill()
        return pace

    def recall(self) -> None:
        """Read what was counted before this process began."""
        try:
            kept = json.loads(PACES.read_text())
            self._kept = {group: counts for group, counts in kept.items() if counts["day"] >= time.time() // DAY - 1}
        except FileNotFoundError:
            self._kept = {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._kept = None
            self._damaged()

    def _damaged(self) -> None:
        self.say("err", f"{PACES} can't be read: what was sent today is not known, so limits count as reached")

    def _keep(self) -> None:
        """Write the counts down, so that a restart gives nobody more.

        Raises:
            InstallError: they can't be written.
        """
        counts = {**(self._kept or {}), **{group: pace.dump() for group, pace in self._paces.items()}}
        system.write(PACES, json.dumps(counts))

    def say(self, level: str, message: str) -> None:
        """Give the log a line; the same one not again within ``PATIENCE``."""
        now = time.monotonic()
        if now >= self._said.get(message, 0.0):
            self._said = {text: until for text, until in self._said.items() if until > now}
            self._said[message] = now + PATIENCE
            syslog.tell(LOG_SOCKET, level, f"shaper: {message}")

    # --- what waits ------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take note of what has come, wherever it is."""
        if time.monotonic() < self._looked + LOOK / 2:
            return
        self._looked = time.monotonic()
        for route in self.routes.values():
            with self._reading(route.waiting.folder):
                route.waiting.look()
        for folder in self.orphans:
            with self._reading(folder):
                for path in queue.control_files(folder):
                    queue.move(path, QUEUE)
        if time.monotonic() >= self._look_for_strays:
            self._look_for_strays = time.monotonic() + LOOK_FOR_STRAYS
            by_index = {route.index: route for route in self.routes.values()}
            with self._reading(QUEUE):
                for index, path in self._strays.look():
                    if index in by_index and path.name[2:] not in self.running:
                        # sendmail has just tried it, as it was time to
                        by_index[index].waiting.add(path, due=time.time())

    @contextlib.contextmanager
    def _reading(self, folder: Path) -> Any:
        try:
            yield
        except OSError as error:
            self.say("err", f"{folder} can't be read or written: {error.strerror}; its mail waits")

    # --- runs ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start what may start."""
        for route in self.routes.values():
            while route.pace.connections > 0 and (entries := self._next(route)):
                fresh = sum(entry.tries for entry in entries if not entry.counted(_midnight()))
                if not self._run(route, entries, sum(entry.tries for entry in entries), fresh):
                    return
            self._tell(route)

    def _next(self, route: Route) -> list[Entry]:
        """The messages of the next run, taken off; none where the limits leave no room."""
        waiting, now = route.waiting, time.time()
        chosen: list[Entry] = []
        back: list[Entry] = []
        left = len(waiting.entries) - sum(group == route.group for group in self.running.values())
        # as many at once as there may be, rather than one after the other
        most = min(MOST_IN_A_RUN, -(-left // max(1, route.pace.connections)))
        tries = 0
        for entry in waiting.due(now, route.pace.open_today):
            if len(chosen) + len(back) > AHEAD:
                back.append(entry)
                break
            alone = entry.domain is None
            if chosen and (alone or entry.domain != chosen[0].domain or entry.path.parent != chosen[0].path.parent):
                back.append(entry)
                continue
            counted = entry.counted(_midnight())
            if not route.pace.allows(entry.tries, counted, tries):
                back.append(entry)
                break
            if not self._is_free(entry):
                back.append(entry)
                continue
            chosen.append(entry)
            tries += entry.tries
            if alone or len(chosen) >= most:
                break
        for entry in back:
            if entry.queue_id in waiting.entries:
                waiting.put(entry)
        return chosen

    def _is_free(self, entry: Entry) -> bool:
        """Whether a run would take it: somebody may have it still, as while it is accepted."""
        if entry.queue_id in self.running:
            entry.due = time.time() + AGAIN
            return False
        try:
            with queue.lock(entry.path) as held:
                if held is None:
                    self._forget(entry)
                elif not held:
                    entry.due = time.time() + LOOK
                return bool(held)
        except OSError:
            entry.due = time.time() + AGAIN
            return False

    def _forget(self, entry: Entry) -> None:
        for route in self.routes.values():
            route.waiting.entries.pop(entry.queue_id, None)

    def _tell(self, route: Route) -> None:
        """Have senders told of messages that wait too long for their turn: sendmail does so when it tries in vain."""
        if any(run.route is route and not run.tries for run in self._runs.values()):
            return
        late = [entry for entry in route.waiting.to_tell(time.time()) if entry.queue_id not in self.running]
        for folder in {entry.path.parent for entry in late}:
            here = [entry for entry in late if entry.path.parent == folder]
            self._run(route, here[:MOST_IN_A_RUN], 0, 0)
            for entry in here[MOST_IN_A_RUN:]:
                route.waiting.put(entry)

    def _run(self, route: Route, entries: list[Entry], tries: int, fresh: int) -> bool:
        """Start a run for these messages; False where that can't be done now, and they wait on."""
        group = route.group if entries[0].path.parent == route.waiting.folder else MAIN
        # a cached connection is open beside the one in use, unless both are the same
        cache = 0 if entries[0].domain is None else 1
        argv = [self._sendmail, "-C", str(CURRENT / "sendmail.cf"), f"-OConnectionCacheSize={cache}"]
        argv += ["-qf", f"-qG{group}", *(f"-qI{entry.queue_id}" for entry in entries)]
        if tries:
            route.pace.begin(tries, fresh)
            self.running |= {entry.queue_id: route.group for entry in entries}
        try:
            if tries:
                if route.pace.counts:
                    self._keep()
                self._write_turns()
            pid = system.spawn(argv, self._env, quiet=True, stdin=self.lock)
        except PostroadError as error:
            self.say("err", f"{error}; mail of routes with limits waits")
            if tries:
                route.pace.undo(tries, fresh)
                with contextlib.suppress(PostroadError):  # the next run's counts are written again
                    if route.pace.counts:
                        self._keep()
            self._over(Run(route, entries, tries), began=False)
            return False
        self._runs[pid] = Run(route, entries, tries)
        descriptor = os.pidfd_open(pid)
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: self._ended(pid, descriptor))
        return True

    def _ended(self, pid: int, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        self._over(self._runs.pop(pid))

    def _over(self, run: Run, began: bool = True) -> None:
        """Take note of what has become of a run's messages; ``began``: they may have been sent."""
        if run.tries:
            if began:
                run.route.pace.end(run.tries)
            for entry in run.entries:
                self.running.pop(entry.queue_id, None)
            with contextlib.suppress(PostroadError):  # what stays named is not run; the next one writes it again
                self._write_turns()
        # a reload may have made the route anew
        waiting = self.routes.get(run.route.group, run.route).waiting
        for before in run.entries:
            waiting.add(before.path)
            after = waiting.entries.get(before.queue_id)
            if after is not None and (after.last_try, after.attempts) == (before.last_try, before.attempts):
                after.due = time.time() + AGAIN
                waiting.put(after)

    def _write_turns(self) -> None:
        system.write(TURNS, "".join(f"{queue_id}\t{group}\n" for queue_id, group in self.running.items()))

    # --- wishes ----------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Begin to hear wishes: ``{"ids": [...]}``, or null for all, until the end of what is sent."""
        SHAPER.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(str(SHAPER))
        SHAPER.chmod(0o600)
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._wishes[connection] = Wish(connection)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(self._wishes[connection]))

    def _hear(self, wish: Wish) -> None:
        try:
            data = wish.connection.recv(65536)
        except OSError:
            data = b""
        wish.heard += data
        if data and len(wish.heard) < 1 << 24:
            return
        self._selector.unregister(wish.connection)
        try:
            ids = json.loads(wish.heard)["ids"]
            wish.ids = None if ids is None else frozenset(ids)
        except (ValueError, TypeError, KeyError):
            self._close(wish)
            return
        wish.complete = True
        now = time.time()
        for route in self.routes.values():
            for entry in list(route.waiting.entries.values()):
                if (wish.ids is None or entry.queue_id in wish.ids) and entry.due > now:
                    entry.due = now
                    if entry.queue_id not in self.running:
                        route.waiting.put(entry)

    def answer(self) -> None:
        """Let go of those whose messages were tried, or have to wait for a limit."""
        now = time.time()
        for wish in [wish for wish in self._wishes.values() if wish.complete]:
            wanted = {
                queue_id
                for route in self.routes.values()
                if route.pace.connections <= 0
                for queue_id, entry in route.waiting.entries.items()
                if entry.due <= now
            }
            if not any(wish.ids is None or queue_id in wish.ids for queue_id in wanted.union(self.running)):
                self._close(wish)

    def _close(self, wish: Wish) -> None:
        del self._wishes[wish.connection]
        wish.connection.close()

    # --- the loop --------------------------------------------------------------------------------------

    def watch(self, descriptor: int, act: Callable[[], None]) -> None:
        """Call ``act`` when there is something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def step(self) -> None:
        """Look, start, and wait for what comes next."""
        self.look()
        self.start()
        self.answer()
        for key, _ in self._selector.select(LOOK):
            key.data()


def _midnight() -> float:
    return time.time() // DAY * DAY


def lock(say: Callable[[str, str], None]) -> int:
    """Wait until all that a former shaper started has ended; then hold the lock that what this one starts inherits."""
    descriptor = os.open(SHAPER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("notice", "deliveries from before its start go on: mail of routes with limits waits for their end")
            time.sleep(LOOK)
        else:
            return descriptor


def main() -> NoReturn:
    """Run until a signal ends the process: what it has started goes on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    os.umask(0o077)
    shaper = Shaper(-1)
    shaper.listen()
    # what a former process has started goes on to its end, and keeps its turn until then
    shaper.lock = lock(shaper.say)
    system.write(TURNS, "")
    shaper.recall()
    shaper.load()

    def reload() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        try:
            shaper.load()
        except (OSError, ValueError, KeyError, StopIteration) as error:
            shaper.say("err", f"the routes in force can't be read ({error}): those before stay")

    shaper.watch(woken, reload)
    while True:
        shaper.step()


if __name__ == "__main__":
    main()
