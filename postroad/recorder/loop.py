"""The recorder's loop.

It runs beside the mail, which does not depend on it: while the store can't be written, events wait in the journal.
"""

import contextlib
import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy.exc import SQLAlchemyError

from postroad import system
from postroad.errors import PostroadError
from postroad.feedback import brake, suppression
from postroad.journal import reader
from postroad.journal.reader import Position
from postroad.journal.writer import segments
from postroad.recorder import aside, rest, writer
from postroad.recorder.feed import Feed
from postroad.recorder.patience import LIMIT, Patience
from postroad.recorder.port import Port, enough_threads
from postroad.runtime.log import tell
from postroad.runtime.paths import EVENTS, FEED
from postroad.runtime.recording import Settings
from postroad.store import changes, database, relays
from postroad.text import counted
from postroad.webhooks import outbox

if TYPE_CHECKING:
    from postroad.recorder.parts import PartsAgreement
    from postroad.webhooks.senders import Sender

BATCH = 1000
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
SETTLED = 5.0
"""Seconds without an event after which the recorder may rest, if nothing but the server itself has made events."""
AT_ONCE = 3.0
"""Seconds that requests have to end before the recorder begins anew; on a busy machine it gets little CPU time."""
LAST_POSTS = 2.0
"""Seconds that posts to webhooks have to be answered, and parts of limits to be let go, before the recorder ends."""
OWN = frozenset({"state", "started", "stopped", "notice"})
TIDY = rest.LONGEST
"""Seconds between two looks at what is too old or too much."""
SHARED_LOOK = 30.0
"""Seconds between two looks at whether a rate has to be counted, where other relays may have changed its state."""


class EndedError(BaseException):
    """The process is to end, and nothing was under way."""


class Recorder:
    """Reads the journal when the feed signals an event, and at intervals."""

    def __init__(self, settings: Settings) -> None:
        """Prepare a recorder with these settings; opens nothing yet."""
        self._settings = settings
        self._engine = database.opened(settings)
        self._shared = database.is_server(self._engine)
        self._patience = Patience(self._shared, self._give_up)
        self._port = Port(settings, self._engine)
        self._feed = Feed(FEED)
        self._journal = 1
        self._delay = 0.0
        self._upgraded = False
        self._tidied = -math.inf
        self._unpublished = True
        self._senders: Sequence[Sender] = ()
        self._parts: PartsAgreement | None = None
        rules = ((brake.BOUNCES, settings.bounces), (brake.COMPLAINTS, settings.complaints))
        self._brakes = [brake.BrakeWatch(self._engine, cause, each) for cause, each in rules]
        self._read = ""
        self._ending = self._idle = False
        self._rest_at = time.monotonic() + SETTLED

    def run(self) -> NoReturn:
        """Record until the process is to end; then carry what the journal still has: the relay may go for good."""
        self._patience.begin()
        with contextlib.suppress(EndedError):
            while True:
                self.step()
        if not self._delay:  # else the store can't be written
            with contextlib.suppress(SQLAlchemyError, OSError, PostroadError):
                self._carry()
        self._let_go()
        os._exit(0)

    def step(self) -> None:
        """Write new events to the store, then wait; after a fault, wait longer each time."""
        try:
            self._record()
        except Exception as error:  # noqa: BLE001 - a bug must not make it begin anew for ever, without HTTP
            if not isinstance(error, SQLAlchemyError | OSError | PostroadError):
                traceback.print_exc()
            self._patience.end()
            self._port.serve()  # health is asked for without the database, too
            if not self._delay:
                tell("err", self._complaint(database.reason(error)))
            self._delay = min(max(FIRST_DELAY, self._delay * 2), LONGEST_DELAY)
            with self._interruptible():
                time.sleep(self._delay)
            return
        self._recovered()
        self._wait()

    def _recovered(self) -> None:
        if self._delay:
            tell("info", "the event store is written again")
            self._delay = 0.0

    def _complaint(self, why: str) -> str:
        where = f" at {database.place(self._engine)}" if self._shared else ""
        return f"the event store{where} can't be written, events wait in the journal: {' '.join(why.split())}"

    def _give_up(self) -> None:
        tell("err", self._complaint(f"the server has not answered for {LIMIT:g} s, it is asked anew"))
        self.begin_anew()

    def _record(self) -> None:
        self._patience.more()
        self._read = rest.journal()
        if not self._upgraded:
            EVENTS.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not database.is_current(self._engine):
                self._patience.end()  # a migration may take long
                database.upgrade(self._engine)
                self._recovered()
                if not self._ending:
                    self.begin_anew()  # without Alembic in memory
            self._journal = database.journal(self._engine)
            relays.register(self._engine, self._journal, socket.gethostname())
            self._upgraded = True
            with enough_threads():
                self._start_senders()
                self._start_watch()
                self._start_parts()
        self._port.serve()
        position = self._carry()
        self._patience.more()
        if time.monotonic() > self._tidied + TIDY:
            self._tidied = time.monotonic()
            self._tidy()
        if self._unpublished and not self._shared:  # or the watch does it, whoever has changed the list
            suppression.publish(self._engine)
        self._unpublished = False
        done = [path for path in segments(EVENTS) if path.name < position.segment]
        if done:
            with self._engine.connect() as connection:  # what the journal forgets is on the disk
                database.settle(connection)
            for path in done:
                system.remove(path)
        for watch in self._brakes:
            for rate in watch.update():
                tell("warning", rate.line(watch.window), patience=1)
        self._patience.end()

    def _tidy(self) -> None:
        """Remove what is too old or too much, unless another relay does or just did."""
        with database.alone(self._engine, database.RETENTION) as ours:
            if ours and changes.is_due(self._engine, changes.RETENTION, TIDY * 0.9):
                writer.forget(self._engine, self._settings.keep, self._settings.max_size)
                self._unpublished |= suppression.forget(self._engine) > 0
                self._post(outbox.tidy(self._engine))

    def _carry(self) -> Position:
        """Write new events of the journal to the store; return the position after them."""
        with self._engine.connect() as connection:
            position = writer.position(connection, self._journal)
        for batch in reader.read(EVENTS, position, BATCH):
            self._patience.more()
            written, unreadable = aside.write(self._engine, EVENTS, position, batch, self._settings, self._journal)
            if unreadable:
                lines, place = counted(unreadable, "line"), EVENTS / aside.FILE
                tell("err", f"{lines} of the journal can't be read, counted as lost: see {place}")
            self._unpublished |= written.suppressed
            if any(event["event"] not in OWN for event in batch.events):
                self._rest_at = time.monotonic() + rest.AWAKE
            position = batch.position
            self._post(written.lost)
            for watch in self._brakes:
                watch.note(batch.events)
        return position

    def _post(self, lost: Mapping[str, int]) -> None:
        """Wake the webhooks' threads, and log events for which there was no room."""
        for name, number in lost.items():
            tell("err", f"{counted(number, 'event')} lost, waiting for webhook {name}: there was no room")
        for sender in self._senders:
            sender.wake()

    def _start_senders(self) -> None:
        if self._settings.webhooks:
            from postroad.webhooks import senders  # noqa: PLC0415 - not in memory where nothing is posted

            self._senders = senders.start(
                self._engine, self._settings.webhooks, self._settings.hostname, tell, self._journal
            )

    def _start_watch(self) -> None:
        if self._shared:
            from postroad.store import watch  # noqa: PLC0415 - PostgreSQL's driver is in memory only where it is used

            acts = {
                changes.SUPPRESSIONS: lambda: suppression.publish(self._engine),
                changes.BRAKES: self._heed_brakes,
                changes.OUTBOX: lambda: self._post({}),
            }
            watch.ChangeWatch(self._engine, acts, tell).start()

    def _heed_brakes(self) -> None:
        for watch in self._brakes:
            watch.heed()
        brake.publish(self._engine)

    def _start_parts(self) -> None:
        if self._settings.divides:
            from postroad.recorder import parts  # noqa: PLC0415 - in memory only where limits are shared

            self._parts = parts.PartsAgreement(self._engine, self._journal, tell)
            self._parts.start()

    def end(self) -> None:
        """Have the process end, once what is under way is done. For a signal's handler, in the main thread.

        Raises:
            EndedError: nothing was under way.
        """
        self._ending = True
        if self._idle:
            raise EndedError

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """What is done here ends at once where the process is to end."""
        self._idle = True
        try:
            if self._ending:
                raise EndedError
            yield
        finally:
            self._idle = False

    def _let_go(self) -> None:
        """Give back what other relays may have. Posts under way get a moment, so as not to be made twice."""
        if self._parts:
            self._parts.stop(LAST_POSTS)
        if self._senders:
            from postroad.webhooks import senders  # noqa: PLC0415

            senders.end(self._senders, LAST_POSTS)

    def begin_anew(self) -> NoReturn:
        """Replace this process by a new recorder, with the settings in force and the same listening socket."""
        signal.setitimer(signal.ITIMER_REAL, 0)  # a timer outlives the program that set it
        rest.become("postroad.recorder", listener=self._port.retire(AT_ONCE))

    def _wait(self) -> None:
        """Wait for an event or the next check of bounce rates; rest if nothing has happened for long."""
        wait = min(self._until_look(SHARED_LOOK if self._shared else TIDY), self._until_rest())
        with self._interruptible():
            happened = self._feed.wait(wait)
        if not happened and self._until_rest() <= 0:
            rest.become("postroad.recorder.rest", self._read, listener=self._port.retire())

    def _until_look(self, most: float) -> float:
        """Seconds until a rate has to be counted, at most ``most``."""
        return min(watch.wait(most) for watch in self._brakes)

    def _until_rest(self) -> float:
        """Seconds until it may rest; pending posts and checks keep it awake, and so do other relays of its database."""
        if self._senders or self._shared or self._until_look(TIDY) < TIDY:
            return TIDY
        return max(self._rest_at, self._port.visited + rest.AWAKE) - time.monotonic()
