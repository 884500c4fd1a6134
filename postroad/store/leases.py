"""Tasks that one relay does for all that share a database, and another when that one is gone.

No clocks are compared (as in Kubernetes' leader election, client-go's ``leaderelection``): the holder renews its lease,
and who sees for ``LASTS`` seconds of his own clock that it was not renewed takes it.
"""

import time

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from postroad.store import database
from postroad.store.schema import LEASES

LASTS = 60.0
"""Seconds from a renewal until another relay may take the lease."""
RENEWED = 10.0
"""Seconds from a renewal until the next."""
SLOW = 5.0
"""Seconds that the server may take to answer: after more, the holder may just have been as slow to renew."""
NOBODY = 0


class Lease:
    """The lease of a task, as one relay has it or would have it; in SQLite every task is the relay's own."""

    def __init__(self, engine: Engine, name: str, holder: int) -> None:
        """Ask for the lease ``name`` for this ``holder``, the number of the relay's journal."""
        self._engine, self._name, self._holder = engine, name, holder
        self._alone = not database.is_server(engine)
        self._until = 0.0
        self._renewed = float("-inf")
        self._seen: tuple[int, int] | None = None
        self._seen_since = 0.0

    def held(self, seconds: float) -> bool:
        """Take or renew the lease if that is possible; return whether it is ours for so many seconds more.

        Raises:
            SQLAlchemyError: the store can't be asked.
        """
        now = time.monotonic()
        if self._alone:
            return True
        if now < self._renewed + RENEWED:
            return now + seconds <= self._until
        try:
            ours = self._taken(now)
        except SQLAlchemyError:
            self._seen = None  # the holder can't renew either: it gets its whole time again
            raise
        if time.monotonic() > now + SLOW:
            self._seen = None
        self._renewed, self._until = (now, now + LASTS) if ours else (float("-inf"), 0.0)
        return time.monotonic() + seconds <= self._until

    def _taken(self, now: float) -> bool:
        """Whether it was taken or renewed."""
        which = LEASES.c.name == self._name
        with self._engine.begin() as connection:
            row = connection.execute(select(LEASES.c.holder, LEASES.c.renewals).where(which)).first()
        if row is None:
            return self._made()
        found = (row.holder, row.renewals)
        if row.holder not in {self._holder, NOBODY}:
            if found != self._seen:
                self._seen, self._seen_since = found, now
            if now < self._seen_since + LASTS:
                return False
        unchanged = (which, LEASES.c.holder == row.holder, LEASES.c.renewals == row.renewals)
        taken = {"holder": self._holder, "renewals": row.renewals + 1}
        with self._engine.begin() as connection:
            return connection.execute(update(LEASES).where(*unchanged).values(taken)).rowcount > 0

    def _made(self) -> bool:
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(LEASES).values(name=self._name, holder=self._holder, renewals=1))
        except IntegrityError:  # another was faster
            return False
        return True

    def release(self) -> None:
        """Let another take it at once.

        Raises:
            SQLAlchemyError: the store can't be written.
        """
        if self._alone:
            return
        self._until, self._renewed = 0.0, float("-inf")
        ours = (LEASES.c.name == self._name, LEASES.c.holder == self._holder)
        with self._engine.begin() as connection:
            connection.execute(update(LEASES).where(*ours).values(holder=NOBODY, renewals=LEASES.c.renewals + 1))
