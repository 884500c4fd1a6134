"""What relays that share a database tell each other: that a list in it has changed.

Each change of a list adds one to its number, in the same transaction, and notifies (PostgreSQL's LISTEN and NOTIFY).
The numbers are what counts: a relay that heard nothing compares them.
"""

from sqlalchemy import BigInteger, Connection, Engine, cast, extract, func, insert, select, update

from postroad.store import database
from postroad.store.schema import CHANGES

SUPPRESSIONS, BRAKES, OUTBOX = "suppressions", "brakes", "outbox"
RETENTION = "retention"
"""Not a list: the number is when it was last seen to, in seconds since the epoch by the server's clock."""
CHANNEL = "postroad"


def note(connection: Connection, subject: str) -> None:
    """Let the other relays know, with this transaction, that a list has changed; SQLite has no others."""
    if not database.is_server(connection):
        return
    grown = update(CHANGES).where(CHANGES.c.subject == subject).values(number=CHANGES.c.number + 1)
    if not connection.execute(grown).rowcount:
        connection.execute(insert(CHANGES).values(subject=subject, number=1))
    connection.execute(select(func.pg_notify(CHANNEL, subject)))


def is_due(engine: Engine, subject: str, seconds: float) -> bool:
    """Whether no relay has said the same of this subject in so many seconds; SQLite's relay sees to its own times.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    if not database.is_server(engine):
        return True
    now = cast(extract("epoch", func.clock_timestamp()), BigInteger)
    which = CHANGES.c.subject == subject
    with database.writing(engine) as connection:
        last = connection.execute(select(now - CHANGES.c.number).where(which)).scalar()
        if last is None:
            connection.execute(insert(CHANGES).values(subject=subject, number=now))
        elif last >= seconds:
            connection.execute(update(CHANGES).where(which).values(number=now))
    return last is None or last >= seconds
