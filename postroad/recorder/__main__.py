"""``python -m postroad.recorder``: the recorder, which carries events from the journal into the database.

It runs beside the mail, which does not depend on it: while it can't write, events wait in the journal.
"""

import contextlib
import json
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy.exc import SQLAlchemyError

from postroad import system
from postroad.errors import PostroadError
from postroad.events import own
from postroad.feedback import brake, suppression
from postroad.http import server as http
from postroad.journal import reader
from postroad.journal.reader import Position
from postroad.journal.writer import segments
from postroad.recorder import aside, rest, writer
from postroad.runtime.log import tell
from postroad.runtime.paths import CURRENT, EVENTS, FEED
from postroad.store import database
from postroad.webhooks import outbox

if TYPE_CHECKING:
    from postroad.webhooks.senders import Sender

BATCH = 1000
GATHER = 0.2
"""Seconds after an event in which others may come, to be written with it."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
SETTLED = 5.0
"""Seconds without an event after which the recorder may rest, if nothing but the server itself has made events."""
AT_ONCE = 0.5
"""Seconds that requests have to end before the recorder begins anew."""
OWN = frozenset({"state", "started", "stopped", "notice"})
TIDY = rest.LONGEST
"""Seconds between two looks at what is too old or too much."""
PATIENCE = 120.0
"""Seconds that a database server may take for one thing: a frozen one keeps its connections, so nothing else tells."""


class Recorder:
    """Reads when the feed says that something happened, and now and then."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Keep events as these say: ``store``, ``keep`` in seconds, ``max_size`` in octets, and ``writer.write``'s."""
        self._settings = settings
        self._engine = database.opened(settings)
        self._shared = database.is_server(self._engine)
        self._journal = 1
        self._feed: socket.socket | None = None
        self._delay = 0.0
        self._upgraded = False
        self._tidied = -math.inf
        self._unpublished = True
        self._senders: Sequence[Sender] = ()
        self._rates = brake.Watch(self._engine, settings["rates"])
        self._server: http.Server | None = None
        self._listen_again = -math.inf
        self._read = ""
        self._rest_at = time.monotonic() + SETTLED

    def run(self) -> None:
        """Record until the process is ended."""
        if self._shared:
            signal.signal(signal.SIGALRM, lambda *_: self._give_up())
        while True:
            try:
                self._record()
            except Exception as error:  # noqa: BLE001 - a bug must not make it begin anew for ever, without HTTP
                if not isinstance(error, SQLAlchemyError | OSError | PostroadError):
                    traceback.print_exc()
                self._allow(0)
                self._serve()  # health is asked for without the database, too
                if not self._delay:
                    tell("err", self._complaint(database.reason(error)))
                self._delay = min(max(FIRST_DELAY, self._delay * 2), LONGEST_DELAY)
                time.sleep(self._delay)
                continue
            self._recovered()
            self._await()

    def _recovered(self) -> None:
        if self._delay:
            tell("info", "the event store is written again")
            self._delay = 0.0

    def _complaint(self, why: str) -> str:
        where = f" at {database.place(self._engine)}" if self._shared else ""
        return f"the event store{where} can't be written, events wait in the journal: {' '.join(why.split())}"

    def _allow(self, seconds: float) -> None:
        """Give a database server so long for what comes now."""
        if self._shared:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _give_up(self) -> None:
        tell("err", self._complaint(f"the server has not answered for {PATIENCE:g} s, it is asked anew"))
        self.begin_anew()

    def _record(self) -> None:
        self._allow(PATIENCE)
        self._read = rest.journal()
        if not self._upgraded:
            EVENTS.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not database.is_current(self._engine):
                self._allow(0)  # a migration may take long
                database.upgrade(self._engine)
                self._recovered()
                self.begin_anew()  # without Alembic in memory
            self._journal = database.journal(self._engine)
            self._upgraded = True
            with _enough_threads():
                self._start_senders()
        self._serve()
        position = self._carry()
        self._allow(PATIENCE)
        if time.monotonic() > self._tidied + TIDY:
            self._tidied = time.monotonic()
            writer.forget(self._engine, self._settings["keep"], self._settings["max_size"])
            self._unpublished |= suppression.forget(self._engine) > 0
            self._post(outbox.tidy(self._engine))
            self._unpublished |= self._shared  # others may have changed the list
        if self._unpublished:
            suppression.publish(self._engine)
            self._unpublished = False
        done = [path for path in segments(EVENTS) if path.name < position.segment]
        if done:
            with self._engine.connect() as connection:  # what the journal forgets is on the disk
                database.settle(connection)
            for path in done:
                system.remove(path)
        for rate in self._rates.look():
            window = self._settings["rates"]["window"]
            line = own.bounce_rate(rate.state, rate.sender_domain, rate.bounced, rate.ended, window)
            tell("warning", line, patience=1)
        self._allow(0)

    def _carry(self) -> Position:
        """Write what is new in the journal; return the position after it."""
        with self._engine.connect() as connection:
            position = writer.position(connection, self._journal)
        for batch in reader.read(EVENTS, position, BATCH):
            self._allow(PATIENCE)
            written, unreadable = aside.write(self._engine, EVENTS, position, batch, self._settings, self._journal)
            if unreadable:
                place = EVENTS / aside.FILE
                tell("err", f"{unreadable} lines of the journal can't be read and count as lost: they are in {place}")
            self._unpublished |= written.suppressed
            if any(event["event"] not in OWN for event in batch.events):
                self._rest_at = time.monotonic() + rest.AWAKE
            position = batch.position
            self._post(written.lost)
            self._rates.note(batch.events)
        return position

    def _post(self, lost: Mapping[str, int]) -> None:
        """Let the webhooks' threads look at what is new; say what there was no room for."""
        for name, number in lost.items():
            tell("err", f"{number} events that waited for webhook {name} are lost: there was no room for them")
        for sender in self._senders:
            sender.wake()

    def _start_senders(self) -> None:
        if self._settings["webhooks"]:
            from postroad.webhooks import senders  # noqa: PLC0415 - not in memory where nothing is posted

            self._senders = senders.start(self._engine, self._settings["webhooks"], self._settings["hostname"], tell)

    def _serve(self) -> None:
        """Serve HTTP, if that is wanted and not done; where the address can't be had, it is tried again later."""
        if not self._settings["http"]:
            if listener := rest.inherited():
                listener.close()
        elif self._server is None and time.monotonic() >= self._listen_again:
            self._listen_again = time.monotonic() + LONGEST_DELAY
            host, port = self._settings["http"]
            names = [each["name"] for each in self._settings["webhooks"]]
            try:
                with _enough_threads():
                    self._server = http.serve(host, port, self._engine, rest.inherited(), names)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else error
                tell("err", f"http.listen: {host}:{port} can't be listened on: {why}")

    def begin_anew(self) -> NoReturn:
        """Become a new recorder, with the settings in force, which listens on where this one does."""
        signal.setitimer(signal.ITIMER_REAL, 0)  # a timer outlives the program that set it
        rest.become("postroad.recorder", listener=self._server.retire(AT_ONCE) if self._server else rest.inherited())

    def _await(self) -> None:
        """Wait until something happens; what the feed says is read from the journal."""
        try:
            if self._feed is None:
                feed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                feed.settimeout(TIDY)
                feed.connect(str(FEED))
                self._feed = feed
                return  # something may have happened before
            self._feed.settimeout(max(0.01, min(self._rates.wait(TIDY), self._until_rest())))
            if not self._feed.recv(1 << 20):
                raise ConnectionResetError
            time.sleep(GATHER)
            self._feed.setblocking(False)
            while self._feed.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        except TimeoutError:
            if self._until_rest() <= 0:
                listener = self._server.retire() if self._server else None
                rest.become("postroad.recorder.rest", self._read, listener=listener)
            return
        except OSError:  # the server ends, or we were too slow
            if self._feed:
                self._feed.close()
            self._feed = None
            time.sleep(GATHER)

    def _until_rest(self) -> float:
        """Seconds until it may rest, if nothing happens; what is to be posted or looked at again keeps it awake."""
        if self._senders or self._rates.wait(TIDY) < TIDY:
            return TIDY
        visited = self._server.visited if self._server else -math.inf
        return max(self._rest_at, visited + rest.AWAKE) - time.monotonic()


@contextlib.contextmanager
def _enough_threads() -> Iterator[None]:
    """End this process where it can't start a thread; the supervisor starts it anew, later each time."""
    try:
        yield
    except RuntimeError as error:
        tell("err", f"the recorder ends and is started anew: {error}; the limit of processes (pids) may be reached")
        sys.exit(1)


def main() -> int:
    """Record; end at SIGTERM, begin anew with the settings in force at SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # a transaction that is cut off is made again
    rest.on_reload(lambda: rest.become("postroad.recorder", listener=rest.inherited()))
    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, 10)  # the mail goes first
    settings = json.loads(Path(CURRENT / "recorder.json").read_text())
    recorder = Recorder(settings)
    rest.on_reload(recorder.begin_anew)
    recorder.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
