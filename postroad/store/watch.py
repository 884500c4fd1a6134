"""Hears from the database that another relay has changed a list; loaded only where relays share a server's database.

A pooler that gives each transaction another session (pgbouncer's ``pool_mode = transaction``) lets LISTEN succeed and
passes nothing on. So each connection is tried, and where nothing arrives the numbers are asked for once a second.
"""

import contextlib
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from postroad.errors import PostroadError, plainly
from postroad.events.syslog import Severity
from postroad.runtime.log import Tell
from postroad.store import database
from postroad.store.changes import CHANNEL

POLL = 1.0
"""Seconds between two looks at the numbers where no notification arrives."""
QUIET = 30.0
"""Seconds without a notification after which the numbers are looked at: the connection may be dead."""
ECHO = 2.0
"""Seconds in which a notification of our own has to arrive."""
AGAIN = 1.0
"""Seconds before a connection that was lost is made anew."""
COMPLAIN = 600.0
"""Seconds before the same is told to the log again."""


class Listener:
    """A connection of its own on which notifications arrive, where they do."""

    def __init__(self, engine: Engine) -> None:
        """Connect and listen.

        Raises:
            SQLAlchemyError, psycopg.Error: the server can't be asked.
        """
        self._engine = engine
        pooled = engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()
        self._connection: psycopg.Connection[Any] = driver
        try:
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
            self.hears = self._echoes()
            if not self.hears:
                driver.execute("UNLISTEN *")
        except BaseException:
            driver.close()
            raise

    def _echoes(self) -> bool:
        """Whether a notification from another connection arrives here."""
        token = secrets.token_hex(8)
        with self._engine.begin() as other:
            other.execute(select(func.pg_notify(CHANNEL, token)))
        deadline = time.monotonic() + ECHO
        while (left := deadline - time.monotonic()) > 0:
            for heard in self._connection.notifies(timeout=left, stop_after=1):
                if heard.payload == token:
                    return True
        return False

    def numbers(self) -> Mapping[str, int]:
        """The number of each list that has ever changed.

        Raises:
            psycopg.Error: the server can't be asked.
        """
        return dict(self._connection.execute("SELECT subject, number FROM changes").fetchall())

    def wait(self) -> None:
        """Wait for a notification, or for the time to look without one.

        Raises:
            psycopg.Error: the connection is lost.
        """
        if not self.hears:
            time.sleep(POLL)
            return
        for _ in self._connection.notifies(timeout=QUIET, stop_after=1):
            pass

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@contextlib.contextmanager
def connected(engine: Engine) -> Iterator[Listener]:
    """A ``Listener``, closed at the end."""
    listener = Listener(engine)
    try:
        yield listener
    finally:
        listener.close()


Act = Callable[[], object]


def hears(engine: Engine) -> bool:
    """Whether notifications arrive on a connection to this database.

    Raises:
        SQLAlchemyError: it can't be asked.
    """
    try:
        with connected(engine) as listener:
            return listener.hears
    except psycopg.Error as error:
        raise OperationalError("LISTEN", {}, error) from error


class ChangeWatch:
    """A thread that acts whenever a list has changed, and on all lists whenever it has (again) found the server."""

    def __init__(self, engine: Engine, acts: Mapping[str, Act], tell: Tell) -> None:
        """Watch this store; ``acts`` has what to do by subject, ``tell`` gets a level and a message for the log."""
        self._engine, self._acts, self._tell = engine, acts, tell
        self._told: dict[str, float] = {}

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="changes", daemon=True).start()

    def _run(self) -> None:
        while True:
            pause = AGAIN
            try:
                with connected(self._engine) as listener:
                    self.follow(listener)
            except (SQLAlchemyError, psycopg.Error):  # the recorder says so
                pass
            except (PostroadError, OSError) as error:
                self._complain("err", f"the lists of this relay can't be brought up to date: {plainly(error)}")
            except Exception:  # noqa: BLE001 - a bug in here must not end the watch
                traceback.print_exc()
                pause = QUIET
            time.sleep(pause)

    def follow(self, listener: Listener) -> None:
        """Act on all lists, then on those that change, until the connection is lost.

        Raises:
            psycopg.Error, SQLAlchemyError: the connection is lost.
            PostroadError, OSError: a list can't be written on the state volume.
        """
        if not listener.hears:
            self._complain(
                "info",
                f"{database.place(self._engine)} passes on no notifications (a pooler in transaction mode passes none):"
                f" changes by other relays are looked for every {POLL:g} s",
            )
        known = listener.numbers()
        for act in self._acts.values():
            act()
        while True:
            listener.wait()
            found = listener.numbers()
            for subject, act in self._acts.items():
                if found.get(subject) != known.get(subject):
                    act()
            known = found

    def _complain(self, level: Severity, text: str) -> None:
        if time.monotonic() >= self._told.get(text, 0.0):
            self._told[text] = time.monotonic() + COMPLAIN
            self._tell(level, text)
