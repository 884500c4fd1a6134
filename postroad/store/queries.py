"""What the store says: the story of a message, and counts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Integer, and_, cast, false, func, or_, select

from postroad.store import relays
from postroad.store.schema import EVENTS

STATUS = frozenset(("accepted", "queued", "deferred", "delivered", "bounced", "rejected", "evacuated", "taken_over"))
"""The events that change what became of a message."""
TRIED = frozenset(("queued", "deferred", "delivered", "bounced"))
"""What became of a delivery: it is the same for all recipients whose mail goes to one address."""
COUNTED = ("accepted", "delivered", "deferred", "bounced", "rejected")
GROUPS = {
    "sender-domain": EVENTS.c.sender_domain,
    "recipient-domain": EVENTS.c.recipient_domain,
    "provider": EVENTS.c.provider,
    "class": EVENTS.c.reason,
    "relay": EVENTS.c.relay,
    "hour": cast(func.floor(EVENTS.c.time / 3600), Integer) * 3600,
}


@dataclass
class Story:
    """What became of a message for one recipient.

    Attributes:
        status: ``accepted``, ``queued``, ``deferred``, ``delivered``, ``bounced`` or ``rejected``; ``taken_over`` from
            another relay, ``evacuated`` to another one.
        relay: the name of the relay that it was handed to; None where relays share no database.
        redirected_to: the address that the mail of this recipient goes to instead; None where it is the same one.
        reason: the class of the last failure.
        events: its events as they were published, oldest first; a failure's with ``class`` and ``hard``.
    """

    queue_id: str | None
    message_id: str | None
    sender: str | None
    recipient: str | None
    relay: str | None = None
    redirected_to: str | None = None
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
            select(EVENTS.c.queue_id, EVENTS.c.id, EVENTS.c.sender, EVENTS.c.recipient, EVENTS.c.relay)
            .where(fits)
            .order_by(EVENTS.c.id.desc())
            .limit(most * 20)
        ).all()
        ids = list(dict.fromkeys(row.queue_id for row in found if row.queue_id))[:most]
        alone = [row.id for row in found if not row.queue_id][:most]
        rows = connection.execute(
            select(EVENTS.c.id, EVENTS.c.time, EVENTS.c.data, EVENTS.c.queue_id, EVENTS.c.relay)
            .where(or_(EVENTS.c.queue_id.in_(ids), EVENTS.c.id.in_(alone)))
            .order_by(EVENTS.c.id)
        ).all()
        names = relays.names(connection)
    # a queue id is unique at one relay; what an older Postroad stored says of none
    at = {row.queue_id: row.relay for row in rows if row.relay is not None}

    def message(row: Any) -> _Message:
        return _Message(row.queue_id or row.id, at.get(row.queue_id) if row.relay is None else row.relay)

    whole, wanted = set(), set()
    for row in found:
        wanted.add(message(row))
        if not row.recipient or row.recipient != address or row.sender == address:
            whole.add(message(row))
    events = [(message(row), row.time, json.loads(row.data)) for row in rows if message(row) in wanted]
    return [
        story for key, story in _stories(events, names) if key in whole or (story.recipient or "").lower() == address
    ]


class _Message(NamedTuple):
    """A message: its queue id, or the number of an event without one; and the number of its relay, where it has one."""

    id: str | int
    relay: int | None


class _Redirections:
    """Where the mail of redirected recipients goes."""

    def __init__(self, events: Iterable[tuple[_Message, float, dict[str, Any]]]) -> None:
        self._targets: dict[tuple[_Message, str], str] = {
            (message, event["recipient"]): event["redirected_to"]
            for message, _, event in events
            if event["event"] == "redirected"
        }

    def of(self, message: _Message, recipient: str | None) -> str | None:
        """The other address; None for a recipient who is not redirected."""
        return None if recipient is None else self._targets.get((message, recipient))

    def concerns(self, event: Mapping[str, Any], message: _Message, recipient: str | None) -> bool:
        """Whether an event of a message says what became of a recipient."""
        named = event.get("recipient")
        if named in {None, recipient}:
            return True
        if event["event"] not in TRIED or recipient is None:
            return False
        one, other = self.of(message, named), self.of(message, recipient)
        return bool(one or other) and (one or named).lower() == (other or recipient).lower()


def _stories(
    events: Sequence[tuple[_Message, float, dict[str, Any]]], names: Mapping[int, str]
) -> list[tuple[_Message, Story]]:
    """The events as stories; what an event says of a whole message it says of each of its recipients.

    A delivery to one address belongs to each recipient that was redirected to it: sendmail logs the first of them.
    """
    redirections = _Redirections(events)

    def begin(message: _Message, event: Mapping[str, Any], recipient: str | None) -> Story:
        relay = None if message.relay is None else names.get(message.relay)
        about = event.get("queue_id"), event.get("message_id"), event.get("sender")
        return Story(*about, recipient, relay, redirections.of(message, recipient))

    stories: dict[tuple[_Message, str | None], Story] = {}
    for message, _, event in events:
        key = (message, event.get("recipient"))
        if event.get("recipient") is not None and key not in stories:
            stories[key] = begin(message, event, key[1])
    told = {key[0] for key in stories}
    for message, _, event in events:
        if message not in told:  # nothing is known yet of its recipients
            stories.setdefault((message, None), begin(message, event, None))
    of_message: dict[_Message, list[Story]] = {}
    for key, story in stories.items():
        of_message.setdefault(key[0], []).append(story)
    for message, moment, event in events:
        for story in of_message[message]:
            if redirections.concerns(event, message, story.recipient):
                story.take(moment, event)
    return [(key[0], story) for key, story in stories.items()]


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

    ``bounce_rate`` is the share of bounces in what came to an end, ``deferred`` counts attempts. Where relays share the
    database, ``relays`` has the same of each, with its name as ``relay``.
    """
    column = GROUPS[group]
    with engine.connect() as connection:
        rows = connection.execute(_counted(column, EVENTS.c.time >= since)).all()
        names = relays.names(connection)
    table: dict[object, dict[str, Any]] = {}
    for row in rows:
        label = names.get(row.label) if group == "relay" else row.label
        entry = table.setdefault(label, {group.replace("-", "_"): label, **dict.fromkeys(COUNTED, 0)})
        entry[row.kind] += row.number
        if names and group != "relay":
            name = names.get(row.relay)
            each = entry.setdefault("relays", {}).setdefault(name, {"relay": name, **dict.fromkeys(COUNTED, 0)})
            each[row.kind] += row.number
    for entry in table.values():
        if "relays" in entry:
            entry["relays"] = [_rated(each) for each in sorted(entry["relays"].values(), key=_largest)]
        _rated(entry)
    return sorted(table.values(), key=_largest)


def total(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of what ``counts`` found."""
    groups = list(groups)
    return _rated({kind: sum(entry[kind] for entry in groups) for kind in COUNTED})


def _largest(entry: Mapping[str, Any]) -> int:
    return -sum(int(entry[kind]) for kind in COUNTED)


def _rated(entry: dict[str, Any]) -> dict[str, Any]:
    """The counts with their bounce rate."""
    ended = entry["bounced"] + entry["delivered"]
    entry["bounce_rate"] = round(entry["bounced"] / ended, 4) if ended else None
    return entry


def _counted(column: ColumnElement[Any], when: ColumnElement[bool]) -> Any:
    return (
        select(column.label("label"), EVENTS.c.relay, EVENTS.c.kind, func.count().label("number"))
        .where(and_(when, EVENTS.c.kind.in_(COUNTED)))
        .group_by("label", EVENTS.c.relay, EVENTS.c.kind)
    )
