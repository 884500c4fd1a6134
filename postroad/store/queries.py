"""What the store says: the story of a message, and counts."""

import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Engine, Integer, and_, cast, false, func, or_, select

from postroad.store.schema import EVENTS

STATUS = frozenset(("accepted", "queued", "deferred", "delivered", "bounced", "rejected"))
"""The events that change what became of a message."""
COUNTED = ("accepted", "delivered", "deferred", "bounced", "rejected")
GROUPS = {
    "sender-domain": EVENTS.c.sender_domain,
    "recipient-domain": EVENTS.c.recipient_domain,
    "provider": EVENTS.c.provider,
    "class": EVENTS.c.reason,
    "hour": cast(func.floor(EVENTS.c.time / 3600), Integer) * 3600,
}


@dataclass
class Story:
    """What became of a message for one recipient.

    Attributes:
        status: ``accepted``, ``queued``, ``deferred``, ``delivered``, ``bounced`` or ``rejected``.
        reason: the class of the last failure.
        events: its events as they were published, oldest first; a failure's with ``class`` and ``hard``.
    """

    queue_id: str | None
    message_id: str | None
    sender: str | None
    recipient: str | None
    status: str = "accepted"
    reason: str | None = None
    hard: bool | None = None
    attempts: int = 0
    first: float = 0.0
    last: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)

    def take(self, moment: float, event: dict[str, Any]) -> None:
        """Note its next event."""
        self.events.append(event)
        self.first, self.last = self.first or moment, moment
        self.message_id = self.message_id or event.get("message_id")
        if self.sender is None:
            self.sender = event.get("sender")
        if event["event"] in STATUS:
            self.status = event["event"]
            self.reason, self.hard = event.get("class"), event.get("hard")
        self.attempts += event["event"] in {"deferred", "delivered", "bounced"}


@dataclass(frozen=True)
class Gap:
    """A time from which events may be missing: ``lost`` of them, where it is known how many."""

    since: float
    until: float
    lost: int | None


def trace(engine: Engine, what: str, most: int) -> list[Story]:
    """The newest ``most`` messages from or to an address, or of a Message-ID or queue id, oldest first.

    A message from the address, or named by an id, has all its recipients; one to the address only that recipient.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    address = what.lower()
    fits = or_(
        EVENTS.c.queue_id == what if what.isascii() else false(),  # not every database can be asked for the rest
        EVENTS.c.message_id.in_([what[:100], f"<{what}>"[:100]]),
        EVENTS.c.sender == address,
        EVENTS.c.recipient == address,
    )
    with engine.connect() as connection:
        found = connection.execute(
            select(EVENTS.c.queue_id, EVENTS.c.id, EVENTS.c.sender, EVENTS.c.recipient)
            .where(fits)
            .order_by(EVENTS.c.id.desc())
            .limit(most * 20)
        ).all()
        ids = list(dict.fromkeys(row.queue_id for row in found if row.queue_id))[:most]
        alone = [row.id for row in found if not row.queue_id][:most]
        rows = connection.execute(
            select(EVENTS.c.id, EVENTS.c.time, EVENTS.c.data)
            .where(or_(EVENTS.c.queue_id.in_(ids), EVENTS.c.id.in_(alone)))
            .order_by(EVENTS.c.id)
        ).all()
    whole = {row.queue_id for row in found if not row.recipient or row.recipient != address or row.sender == address}
    return [story for story in _stories(rows) if story.queue_id in whole or (story.recipient or "").lower() == address]


def _stories(rows: Any) -> list[Story]:
    """The rows as stories; what an event says of a whole message it says of each of its recipients."""
    events = [(row.id, row.time, json.loads(row.data)) for row in rows]
    stories: dict[tuple[object, str | None], Story] = {}
    for number, _, event in events:
        key = (event.get("queue_id") or number, event.get("recipient"))
        if event.get("recipient") is not None and key not in stories:
            stories[key] = Story(event.get("queue_id"), event.get("message_id"), event.get("sender"), key[1])
    told = {key[0] for key in stories}
    for number, _, event in events:
        if (event.get("queue_id") or number) not in told:  # nothing is known yet of its recipients
            stories.setdefault(
                (event.get("queue_id") or number, None),
                Story(event.get("queue_id"), event.get("message_id"), event.get("sender"), None),
            )
    of_message: dict[object, list[Story]] = {}
    for key, story in stories.items():
        of_message.setdefault(key[0], []).append(story)
    for number, moment, event in events:
        for story in of_message[event.get("queue_id") or number]:
            if event.get("recipient") in {None, story.recipient}:
                story.take(moment, event)
    return list(stories.values())


def gaps(engine: Engine, since: float) -> list[Gap]:
    """Where events may be missing, since a time."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(EVENTS.c.time, EVENTS.c.data).where(EVENTS.c.kind == "gap", EVENTS.c.time >= since)
        ).all()
    found = [(row.time, json.loads(row.data)) for row in rows]
    return [Gap(float(event["since"]), moment, event.get("lost")) for moment, event in found]


def counts(engine: Engine, since: float, group: str) -> list[dict[str, Any]]:
    """How many messages each came to what, since a time, by one of ``GROUPS``; the largest first.

    ``bounce_rate`` is the share of bounces in what came to an end, ``deferred`` counts attempts.
    """
    column = GROUPS[group]
    with engine.connect() as connection:
        rows = connection.execute(_counted(column, EVENTS.c.time >= since)).all()
    table: dict[object, dict[str, Any]] = {}
    for row in rows:
        entry = table.setdefault(row.label, {group.replace("-", "_"): row.label, **dict.fromkeys(COUNTED, 0)})
        entry[row.kind] = row.number
    for entry in table.values():
        ended = entry["bounced"] + entry["delivered"]
        entry["bounce_rate"] = round(entry["bounced"] / ended, 4) if ended else None
    return sorted(table.values(), key=lambda entry: -sum(entry[kind] for kind in COUNTED))


def _counted(column: ColumnElement[Any], when: ColumnElement[bool]) -> Any:
    return (
        select(column.label("label"), EVENTS.c.kind, func.count().label("number"))
        .where(and_(when, EVENTS.c.kind.in_(COUNTED)))
        .group_by("label", EVENTS.c.kind)
    )
