"""The relays that share a database, by the numbers of their journals: a queue id is unique at one relay only."""

from sqlalchemy import Connection, Engine, insert, select, update

from postroad.store import database
from postroad.store.schema import RELAYS

LONGEST = 64
"""Characters of a name: as many as a host's name may have on Linux."""


def register(engine: Engine, number: int, name: str) -> None:
    """Note the name of this relay, which may be another than at its last start; SQLite has no others.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    if not database.is_server(engine):
        return
    with database.writing(engine) as connection:
        values = {"name": name[:LONGEST]}
        if not connection.execute(update(RELAYS).where(RELAYS.c.id == number).values(values)).rowcount:
            connection.execute(insert(RELAYS).values(id=number, **values))


def names(connection: Connection) -> dict[int, str]:
    """The name of each relay that has ever used the store, by its number; empty in SQLite."""
    return {row.id: row.name for row in connection.execute(select(RELAYS))}
