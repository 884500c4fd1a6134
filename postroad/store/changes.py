"""What relays that share a database tell each other: that a list in it has changed.

Each change of a list adds one to its number, in the same transaction, and notifies (PostgreSQL's LISTEN and NOTIFY).
The numbers are what counts: a relay that heard nothing compares them.
"""

from sqlalchemy import Connection, func, insert, select, update

from postroad.store import database
from postroad.store.schema import CHANGES

SUPPRESSIONS, BRAKES, OUTBOX = "suppressions", "brakes", "outbox"
CHANNEL = "postroad"


def note(connection: Connection, subject: str) -> None:
    """Let the other relays know, with this transaction, that a list has changed; SQLite has no others."""
    if not database.is_server(connection):
        return
    grown = update(CHANGES).where(CHANGES.c.subject == subject).values(number=CHANGES.c.number + 1)
    if not connection.execute(grown).rowcount:
        connection.execute(insert(CHANGES).values(subject=subject, number=1))
    connection.execute(select(func.pg_notify(CHANNEL, subject)))
