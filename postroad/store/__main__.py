"""``python -m postroad.store``: the recorder, which carries events from the journal into the database.

It runs beside the mail, which does not depend on it: while it can't write, events wait in the journal.
"""

import json
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from postroad import system
from postroad.events.syslog import format_datagram
from postroad.render.paths import CURRENT, EVENTS, FEED, LOG_SOCKET
from postroad.sinks.journal import segments
from postroad.store import database, http, reader, rest, suppression, writer

BATCH = 1000
GATHER = 0.2
"""Seconds after an event in which others may come, to be written with it."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
SETTLED = 5.0
"""Seconds without an event after which the recorder may rest, if nothing but the server itself has made events."""
OWN = frozenset({"state", "started", "stopped", "notice"})
TIDY = rest.LONGEST
"""Seconds between two looks at what is too old or too much."""


class Recorder:
    """Reads when the feed says that something happened, and now and then."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Keep events as these say: ``keep`` in seconds, ``max_size`` in octets, and ``writer.write``'s."""
        self._settings = settings
        self._engine = database.connect()
        self._feed: socket.socket | None = None
        self._delay = 0.0
        self._upgraded = False
        self._tidied = -math.inf
        self._unpublished = True
        self._server: http.Server | None = None
        self._read = ""
        self._rest_at = time.monotonic() + SETTLED

    def run(self) -> None:
        """Record until the process is ended."""
        while True:
            try:
                self._record()
            except (SQLAlchemyError, OSError) as error:
                if not self._delay:
                    tell(
                        "err", f"the event store can't be written, events wait in the journal: {database.reason(error)}"
                    )
                self._delay = min(max(FIRST_DELAY, self._delay * 2), LONGEST_DELAY)
                time.sleep(self._delay)
                continue
            if self._delay:
                tell("info", "the event store is written again")
                self._delay = 0.0
            self._await()

    def _record(self) -> None:
        self._read = rest.journal()
        if not self._upgraded:
            EVENTS.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not database.is_current(self._engine):
                database.upgrade(self._engine)
                begin_anew()  # without Alembic in memory
            self._upgraded = True
            self._serve()
        with self._engine.connect() as connection:
            position = writer.position(connection)
        for batch in reader.read(EVENTS, position, BATCH):
            self._unpublished |= writer.write(self._engine, batch, self._settings)
            if any(event["event"] not in OWN for event in batch.events):
                self._rest_at = time.monotonic() + rest.AWAKE
            position = batch.position
        if time.monotonic() > self._tidied + TIDY:
            self._tidied = time.monotonic()
            writer.forget(self._engine, self._settings["keep"], self._settings["max_size"])
            self._unpublished |= suppression.forget(self._engine) > 0
        if self._unpublished:
            suppression.publish(self._engine)
            self._unpublished = False
        done = [path for path in segments(EVENTS) if path.name < position.segment]
        if done:
            with self._engine.connect() as connection:  # what the journal forgets is on the disk
                connection.execute(text("PRAGMA wal_checkpoint(FULL)"))
            for path in done:
                system.remove(path)

    def _serve(self) -> None:
        if self._settings["http"]:
            host, port = self._settings["http"]
            try:
                self._server = http.serve(host, port, self._engine, rest.inherited())
            except OSError as error:
                tell("err", f"http.listen: {host}:{port} can't be listened on: {error.strerror}")

    def _await(self) -> None:
        """Wait until something happens; what the feed says is read from the journal."""
        try:
            if self._feed is None:
                feed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                feed.settimeout(self._wait)
                feed.connect(str(FEED))
                self._feed = feed
                return  # something may have happened before
            if not self._feed.recv(1 << 20):
                raise ConnectionResetError
            time.sleep(GATHER)
            self._feed.setblocking(False)
            while self._feed.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        except TimeoutError:
            self._rest()
            return
        except OSError:  # the server ends, or we were too slow
            if self._feed:
                self._feed.close()
            self._feed = None
            time.sleep(GATHER)
        if self._feed:
            self._feed.settimeout(self._wait)

    @property
    def _wait(self) -> float:
        """Seconds until it is time to rest, if nothing happens."""
        visited = self._server.visited if self._server else -math.inf
        return max(1.0, self._rest_at - time.monotonic(), visited + rest.AWAKE - time.monotonic())

    def _rest(self) -> None:
        """Let go of nearly all memory if nothing has happened for a while."""
        if self._wait > 1:
            return
        listener = self._server.retire() if self._server else None
        rest.become("postroad.store.rest", self._read, listener=listener)


def begin_anew() -> NoReturn:
    """Let this process be a new recorder."""
    rest.become("postroad.store")


def tell(level: str, message: str) -> None:
    """Give the log a line; it is not waited for."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.setblocking(False)
            log.connect(str(LOG_SOCKET))
            log.send(format_datagram(level, message.replace("\n", " "))[:2000])
    except OSError:
        return


def main() -> int:
    """Record; end at SIGTERM, begin anew with the settings in force at SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # a transaction that is cut off is made again
    rest.on_reload(begin_anew)
    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, 10)  # the mail goes first
    settings = json.loads(Path(CURRENT / "recorder.json").read_text())
    Recorder(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
