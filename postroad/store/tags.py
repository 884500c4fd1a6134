"""Tags of messages, which the HTTP API gives them: by Message-ID and sender domain, before the message is handed over.

The sender domain keeps a message that repeats another's Message-ID from having its tags.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, select

from postroad.store import database
from postroad.store.schema import EVENTS, TAGS

LONGEST_ID = 100
"""Octets of a Message-ID that sendmail logs."""
CHUNK = 500
SLACK = 3600.0
"""Seconds by which clocks of relays may differ."""


class Tagged(NamedTuple):
    """A message: its Message-ID with brackets, the sender in its envelope, its tags."""

    message_id: str
    sender: str
    tags: Sequence[str]


Key = tuple[str, str]
"""A Message-ID, and a sender domain."""


def put(engine: Engine, messages: Iterable[Tagged]) -> None:
    """Keep the tags of messages.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    wanted = {_key(each.message_id, each.sender): list(dict.fromkeys(each.tags)) for each in messages if each.tags}
    if not wanted:
        return
    now = time.time()
    with database.writing(engine, database.REQUESTERS) as connection:
        # a write comes first: SQLite gives no lock to a transaction that has read what another has changed since
        for domain in sorted({key[1] for key in wanted}):
            for keys in _chunks(key for key in wanted if key[1] == domain):
                same = TAGS.c.message_id.in_([key[0] for key in keys]), TAGS.c.sender_domain == domain
                connection.execute(delete(TAGS).where(*same))
        rows = [
            {"message_id": message_id, "sender_domain": domain, "tag": tag, "time": now}
            for (message_id, domain), tags in wanted.items()
            for tag in tags
        ]
        connection.execute(insert(TAGS), rows)


def of(connection: Connection, messages: Iterable[tuple[str | None, str | None]]) -> dict[Key, list[str]]:
    """The tags of messages that have some, by Message-ID and sender domain.

    Args:
        connection: to the store.
        messages: the Message-ID of each, and the sender in its envelope.
    """
    wanted = list(dict.fromkeys(_key(message_id, sender) for message_id, sender in messages if message_id and sender))
    found: dict[Key, list[str]] = {}
    for keys in _chunks(wanted):
        columns = (TAGS.c.message_id, TAGS.c.sender_domain, TAGS.c.tag)
        rows = connection.execute(
            select(*columns).where(TAGS.c.message_id.in_([key[0] for key in keys])).order_by(TAGS.c.tag)
        )
        for row in rows:
            found.setdefault((row.message_id, row.sender_domain), []).append(row.tag)
    return found


def with_tags(connection: Connection, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events, with the tags of their messages as ``tags``."""
    known = of(connection, ((each.get("message_id"), each.get("sender")) for each in events))
    told = []
    for each in events:
        tags = among(known, each.get("message_id"), each.get("sender"))
        told.append({**each, "tags": tags} if tags else dict(each))
    return told


def among(known: Mapping[Key, list[str]], message_id: str | None, sender: str | None) -> list[str]:
    """The tags of one message among those that ``of`` found."""
    return known.get(_key(message_id, sender), []) if message_id and sender else []


def joined() -> ColumnElement[bool]:
    """Whether a tag is that of an event's message."""
    return and_(TAGS.c.message_id == EVENTS.c.message_id, TAGS.c.sender_domain == EVENTS.c.sender_domain)


def having(tag: str) -> ColumnElement[bool]:
    """Whether an event is of a message with this tag."""
    return exists().where(joined(), TAGS.c.tag == tag)


def forget(connection: Connection) -> None:
    """Remove the tags that are older than every event."""
    oldest = connection.execute(select(func.min(EVENTS.c.time))).scalar()
    if oldest is not None:
        connection.execute(delete(TAGS).where(TAGS.c.time < oldest - SLACK))


def _key(message_id: str, sender: str) -> Key:
    return message_id[:LONGEST_ID], sender.lower().rpartition("@")[2]


def _chunks(keys: Iterable[Key]) -> list[list[Key]]:
    found = list(keys)
    return [found[i : i + CHUNK] for i in range(0, len(found), CHUNK)]
