"""Messages and events in pages, for programs that read on where they stopped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, exists, func, or_, select, true

from postroad.runtime.signing import SenderDomain
from postroad.store import queries, relays, tags
from postroad.store.queries import Story
from postroad.store.schema import EVENTS

HEADS = ("accepted", "rejected")
"""The kinds of events of which a message's first is."""
ROUNDS = 10
"""Pages that are looked through for messages with a status or class, until there are enough: the rest is another's."""


@dataclass(frozen=True)
class Wanted:
    """Which messages.

    Attributes:
        senders: from these domains; none: any.
        address: from or to this address, in lower case.
        since: first heard of at or after this time, in seconds since the epoch; ``until``: before it.
        status: of the message for one recipient at least.
        reason: likewise, the class of its last failure.
        relay: the name of the relay that it was handed to.
        tag: one of its tags.
    """

    senders: Sequence[SenderDomain] = ()
    address: str | None = None
    since: float | None = None
    until: float | None = None
    status: str | None = None
    reason: str | None = None
    relay: str | None = None
    tag: str | None = None


class Messages(NamedTuple):
    """A page of messages, the newest first, and where the next one begins; None: there is no more."""

    stories: list[Story]
    before: int | None


class Events(NamedTuple):
    """A page of events as they were published, the oldest first, and the number of the last that was looked at."""

    events: list[tuple[int, dict[str, Any]]]
    last: int


def messages(engine: Engine, wanted: Wanted, before: int | None, most: int) -> Messages:
    """The newest messages, older than those of a page that ended with ``before``.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    found: list[Story] = []
    with engine.connect() as connection:
        fits = _heads(connection, wanted)
        for _ in range(ROUNDS):
            older = EVENTS.c.id < before if before is not None else true()
            rows = connection.execute(fits.where(older).order_by(EVENTS.c.id.desc()).limit(most)).all()
            ids = [row.queue_id for row in rows if row.queue_id]
            alone = [row.id for row in rows if not row.queue_id]
            stories = [story.own() for story in queries.told(connection, rows, ids, alone, None)]
            found += [story for story in reversed(stories) if _suits(story, wanted)]
            before = rows[-1].id if len(rows) == most else None
            if before is None or len(found) >= most:
                break
    return Messages(found, before)


def _suits(story: Story, wanted: Wanted) -> bool:
    to_or_from = (story.recipient or "").lower(), (story.sender or "").lower()
    return (
        (wanted.address is None or wanted.address in to_or_from)
        and wanted.status in {None, story.status}
        and wanted.reason in {None, story.reason}
    )


def _heads(connection: Connection, wanted: Wanted) -> Select[Any]:
    """The first event of each message that may suit."""
    earlier = EVENTS.alias()
    first = or_(
        EVENTS.c.queue_id.is_(None),
        ~exists().where(
            earlier.c.queue_id == EVENTS.c.queue_id,
            earlier.c.kind.in_(HEADS),
            earlier.c.id < EVENTS.c.id,
            func.coalesce(earlier.c.relay, 0) == func.coalesce(EVENTS.c.relay, 0),
        ),
    )
    found = select(EVENTS.c.id, EVENTS.c.queue_id, EVENTS.c.sender, EVENTS.c.recipient, EVENTS.c.relay).where(
        EVENTS.c.kind.in_(HEADS), first, queries.from_senders(wanted.senders)
    )
    conditions: list[ColumnElement[bool]] = []
    if wanted.address is not None:
        about = EVENTS.alias()
        to = select(about.c.queue_id).where(about.c.recipient == wanted.address, about.c.queue_id.is_not(None))
        conditions.append(
            or_(EVENTS.c.sender == wanted.address, EVENTS.c.recipient == wanted.address, EVENTS.c.queue_id.in_(to))
        )
    if wanted.since is not None:
        conditions.append(EVENTS.c.time >= wanted.since)
    if wanted.until is not None:
        conditions.append(EVENTS.c.time < wanted.until)
    if wanted.relay is not None:
        numbers = [number for number, name in relays.names(connection).items() if name == wanted.relay]
        conditions.append(EVENTS.c.relay.in_(numbers))
    if wanted.tag is not None:
        conditions.append(tags.having(wanted.tag))
    return found.where(and_(true(), *conditions))


def events(
    engine: Engine, senders: Sequence[SenderDomain], kinds: Sequence[str], after: int | None, most: int
) -> Events:
    """Events that came after one, of messages from these domains (none: all), of these kinds (none: any).

    Without ``after`` there are none, and the number is the newest event's.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    with engine.connect() as connection:
        newest = connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0
        if after is None:
            return Events([], newest)
        if after > newest:  # the store was emptied meanwhile, and counts anew
            after = 0
        fits = [EVENTS.c.id > after, EVENTS.c.id <= newest, queries.from_senders(senders)]
        if kinds:
            fits.append(EVENTS.c.kind.in_(kinds))
        asked = select(EVENTS.c.id, EVENTS.c.data).where(*fits).order_by(EVENTS.c.id).limit(most)
        rows = connection.execute(asked).all()
        told = tags.with_tags(connection, [json.loads(row.data) for row in rows])
    last = rows[-1].id if len(rows) == most else newest
    return Events([(row.id, event) for row, event in zip(rows, told, strict=True)], last)


@dataclass(frozen=True)
class WantedEvents:
    """Which events.

    Attributes:
        senders: of messages from these domains; none: any.
        kinds: of these kinds.
        since: that happened at or after this time, in seconds since the epoch; ``until``: before it.
        tags: of messages with all of these.
        recipient: about this recipient, in lower case.
    """

    senders: Sequence[SenderDomain]
    kinds: Sequence[str]
    since: float | None = None
    until: float | None = None
    tags: Sequence[str] = ()
    recipient: str | None = None


def matching(
    engine: Engine, wanted: WantedEvents, after: int | None, most: int, *, newest_first: bool
) -> list[tuple[int, float, dict[str, Any]]]:
    """Events with their numbers and times, those that follow one of a page before.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    fits = [EVENTS.c.kind.in_(wanted.kinds), queries.from_senders(wanted.senders), *map(tags.having, wanted.tags)]
    if wanted.since is not None:
        fits.append(EVENTS.c.time >= wanted.since)
    if wanted.until is not None:
        fits.append(EVENTS.c.time < wanted.until)
    if wanted.recipient is not None:
        fits.append(EVENTS.c.recipient == wanted.recipient)
    if after is not None:
        fits.append(EVENTS.c.id < after if newest_first else EVENTS.c.id > after)
    order = EVENTS.c.id.desc() if newest_first else EVENTS.c.id
    with engine.connect() as connection:
        asked = select(EVENTS.c.id, EVENTS.c.time, EVENTS.c.data).where(*fits).order_by(order).limit(most)
        rows = connection.execute(asked).all()
        told = tags.with_tags(connection, [json.loads(row.data) for row in rows])
    return [(row.id, row.time, event) for row, event in zip(rows, told, strict=True)]
