"""The addresses that get no more mail, and the map of them that sendmail asks at each RCPT."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, or_, select

from postroad import system
from postroad.render.paths import SUPPRESSED
from postroad.store import database
from postroad.store.schema import SUPPRESSIONS

CHUNK = 500
LONGEST = 320
"""Characters of an address: 64, an @, and 255 (RFC 5321, 4.5.3.1)."""


@dataclass(frozen=True)
class Entry:
    """An address that is suppressed.

    Attributes:
        recipient: in lower case.
        reason: the class of the bounce, or ``manual``, ``complaint``, ...
        added: seconds since the epoch; ``expires`` likewise, None: never.
        detail: what the receiving server said, or a person's note.
    """

    recipient: str
    reason: str
    added: float
    expires: float | None
    detail: str | None


def add(connection: Connection, entries: Sequence[Entry]) -> int:
    """Put addresses on the list, each in place of an older entry; return how many were not on it."""
    fresh = 0
    for i in range(0, len(entries), CHUNK):
        chunk = {entry.recipient: entry for entry in entries[i : i + CHUNK]}
        gone = connection.execute(delete(SUPPRESSIONS).where(SUPPRESSIONS.c.recipient.in_(chunk))).rowcount
        connection.execute(insert(SUPPRESSIONS), [vars(entry) for entry in chunk.values()])
        fresh += len(chunk) - gone
    return fresh


def remove(connection: Connection, recipients: Sequence[str]) -> int:
    """Take addresses from the list; return how many were on it."""
    lower = [recipient.lower() for recipient in recipients]
    return connection.execute(delete(SUPPRESSIONS).where(SUPPRESSIONS.c.recipient.in_(lower))).rowcount


def entries(connection: Connection) -> list[Entry]:
    """The list, newest first, without what has expired."""
    now = time.time()
    columns = SUPPRESSIONS.c
    rows = connection.execute(
        select(columns.recipient, columns.reason, columns.added, columns.expires, columns.detail)
        .where(or_(columns.expires.is_(None), columns.expires > now))
        .order_by(columns.added.desc())
    )
    return [Entry(*row) for row in rows]


def of_bounces(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[Entry]:
    """The addresses whose mailbox a bounce proved not to exist, less those that are never suppressed."""
    never = settings["never"]
    return [
        Entry(row["recipient"], row["reason"], row["time"], row["time"] + settings["suppress"], row["detail"])
        for row in rows
        if row["recipient"] and row["recipient"] not in never and row["recipient_domain"] not in never
        if is_plain(row["recipient"])
    ]


def is_plain(address: str) -> bool:
    """Whether sendmail may be asked to send to this address at all: ASCII without spaces, and not too long."""
    return 0 < len(address) <= LONGEST and address.isascii() and address.isprintable() and " " not in address


def forget(engine: Engine) -> int:
    """Remove what has expired; return how many."""
    with database.writing(engine) as connection:
        return connection.execute(delete(SUPPRESSIONS).where(SUPPRESSIONS.c.expires <= time.time())).rowcount


def publish(engine: Engine) -> int:
    """Write the map anew, for the next RCPT to see; return how many addresses are in it.

    The list is read under the lock, so the last writer's map is the newest.

    Raises:
        OSError: it can't be written; sendmail goes on with the one before.
    """
    with system.locked(SUPPRESSED.with_suffix(".lock")), engine.connect() as connection:
        found = {entry.recipient.encode(): entry.reason.encode() for entry in entries(connection)}
        system.write_database(SUPPRESSED.with_suffix(".db"), found)
    return len(found)
