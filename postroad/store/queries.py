"""What the store says: the story of a message, and counts."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Integer, and_, case, cast, false, func, or_, select, true

from postroad.runtime.signing import SenderDomain
from postroad.store import relays, tags
from postroad.store.schema import EVENTS, IS_COMPLAINT, IS_LATE, TAGS
from postroad.times import stamp

STATUS = frozenset(("accepted", "queued", "deferred", "delivered", "bounced", "rejected", "evacuated", "taken_over"))
"""The events that change what became of a message."""
TRIED = frozenset(("queued", "deferred", "delivered", "bounced"))
"""What became of a delivery: it is the same for all recipients whose mail goes to one address."""
WARN, ACT = 0.05, 0.10
"""Bounce rates at which big providers begin to look, and to act: SES reviews at 5 %, may stop at 10 %."""
SPAM_WARN, SPAM_ACT = 0.001, 0.003
"""Complaint rates likewise: Gmail and Yahoo want less than 0.1 %, and never 0.3 % (their rules for senders)."""
COUNTED = ("accepted", "delivered", "deferred", "bounced", "rejected")
CAME_BACK = ("late", "complained")
"""What is counted besides: the bounces of these that came back after the delivery, and complaints."""
GROUPS = {
    "sender-domain": EVENTS.c.sender_domain,
    "recipient-domain": EVENTS.c.recipient_domain,
    "provider": EVENTS.c.provider,
    "class": EVENTS.c.reason,
    "relay": EVENTS.c.relay,
    "tag": TAGS.c.tag,
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
        tags: what the HTTP API was told to find it by.
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
    tags: list[str] = field(default_factory=list)

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

    def own(self) -> "Story":
        """The story; of a recipient who was refused, without what the message came to for others."""
        own = [event for event in self.events if event.get("recipient")]
        if not own or any(event["event"] != "rejected" for event in own):
            return self
        return replace(self, status="rejected", reason=own[-1].get("class"), hard=own[-1].get("hard"), events=own)

    def fields(self) -> dict[str, Any]:
        """The story as JSON has it: ``reason`` is called ``class``, times are text, no tags are not there."""
        fields = asdict(self)
        if not self.tags:
            del fields["tags"]
        fields["class"] = fields.pop("reason")
        return fields | {name: stamp(fields[name]) for name in ("first", "last")}


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
    return _traced(engine, or_(_named(what), EVENTS.c.sender == address, EVENTS.c.recipient == address), address, most)


def by_id(engine: Engine, what: str, most: int) -> list[Story]:
    """The newest ``most`` messages of a Message-ID or queue id, oldest first, each with all its recipients.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    return _traced(engine, _named(what), None, most)


def _named(what: str) -> ColumnElement[bool]:
    """Whether an event is of the message with this Message-ID or queue id."""
    return or_(
        EVENTS.c.queue_id == what if what.isascii() else false(),  # not every database can be asked for the rest
        EVENTS.c.message_id.in_([what[:100], f"<{what}>"[:100]]),
    )


def _traced(engine: Engine, fits: ColumnElement[bool], address: str | None, most: int) -> list[Story]:
    """The newest ``most`` messages with an event that fits; of those to the address that recipient alone."""
    with engine.connect() as connection:
        found = connection.execute(
            select(EVENTS.c.queue_id, EVENTS.c.id, EVENTS.c.sender, EVENTS.c.recipient, EVENTS.c.relay)
            .where(fits)
            .order_by(EVENTS.c.id.desc())
            .limit(most * 20)
        ).all()
        ids = list(dict.fromkeys(row.queue_id for row in found if row.queue_id))[:most]
        alone = [row.id for row in found if not row.queue_id][:most]
        return told(connection, found, ids, alone, address)


def told(
    connection: Connection, found: Iterable[Any], ids: Collection[str], alone: Collection[int], address: str | None
) -> list[Story]:
    """The stories of messages, oldest first.

    Args:
        connection: to the store.
        found: rows of their events, with ``id``, ``queue_id``, ``relay``, ``sender`` and ``recipient``.
        ids: the queue ids of those that are wanted.
        alone: likewise, the numbers of events without a queue id.
        address: of messages to this address that recipient alone is told; None: all.
    """
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
        if address is None or not row.recipient or row.recipient != address or row.sender == address:
            whole.add(message(row))
    events = [(message(row), row.time, json.loads(row.data)) for row in rows if message(row) in wanted]
    stories = [
        story for key, story in _stories(events, names) if key in whole or (story.recipient or "").lower() == address
    ]
    known = tags.of(connection, ((story.message_id, story.sender) for story in stories))
    for story in stories:
        story.tags = tags.among(known, story.message_id, story.sender)
    return stories


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


def last_deferrals(connection: Connection, queue_ids: Collection[str]) -> dict[str, str]:
    """Of those of these messages that were put off, the receiver's words at the last time, or else sendmail's."""
    rows = connection.execute(
        select(EVENTS.c.queue_id, EVENTS.c.data)
        .where(EVENTS.c.queue_id.in_(queue_ids), EVENTS.c.kind == "deferred")
        .order_by(EVENTS.c.time, EVENTS.c.id)
    )
    found = {row.queue_id: json.loads(row.data) for row in rows}
    return {queue_id: event.get("reply") or event.get("status") or "" for queue_id, event in found.items()}


def counts(engine: Engine, since: float, group: str, senders: Sequence[SenderDomain] = ()) -> list[dict[str, Any]]:
    """How many messages each came to what, since a time, by one of ``GROUPS``; the largest first.

    ``senders`` are the sender domains that count; none: all. By tag, a message counts at each of its tags.

    ``bounce_rate`` is the share of bounces in what came to an end, with those that came back late (``late`` of them),
    ``complaint_rate`` that of complaints in what was delivered; ``deferred`` counts attempts. Where relays share the
    database, ``relays`` has the same of each, with its name as ``relay``.
    """
    return counts_by(engine, since, (group,), senders)[group]


def counts_by(
    engine: Engine, since: float, groups: Sequence[str], senders: Sequence[SenderDomain] = ()
) -> dict[str, list[dict[str, Any]]]:
    """What ``counts`` tells by each of some groups, of one look at the events; ``tag`` can only be alone."""
    when = and_(EVENTS.c.time >= since, from_senders(senders), tags.joined() if "tag" in groups else true())
    with engine.connect() as connection:
        return grouped_by(rows_by(connection, groups, when), groups, relays.names(connection))


def rows_by(connection: Connection, groups: Sequence[str], when: ColumnElement[bool]) -> Sequence[Any]:
    """How many of the events that are meant there are of each kind, by all of the groups together."""
    columns = [GROUPS[group].label(f"label{i}") for i, group in enumerate(groups)]
    return connection.execute(_counted(columns, when)).all()


def grouped_by(rows: Sequence[Any], groups: Sequence[str], names: Mapping[int, str]) -> dict[str, list[dict[str, Any]]]:
    """What ``rows_by`` found, by each of the groups; ``names`` are the relays'."""
    return {group: _grouped(rows, i, group, names) for i, group in enumerate(groups)}


def _grouped(rows: Iterable[Any], number: int, group: str, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The rows, of which column ``number`` is the group's, as ``counts`` tells them."""
    table: dict[object, dict[str, Any]] = {}
    for row in rows:
        label = names.get(row[number]) if group == "relay" else row[number]
        entry = table.setdefault(label, {group.replace("-", "_"): label, **_none()})
        _count(entry, row)
        if names and group != "relay":
            name = names.get(row.relay)
            each = entry.setdefault("relays", {}).setdefault(name, {"relay": name, **_none()})
            _count(each, row)
    for entry in table.values():
        if "relays" in entry:
            entry["relays"] = [_rated(each) for each in sorted(entry["relays"].values(), key=_largest)]
        _rated(entry)
    return sorted(table.values(), key=_largest)


def from_senders(senders: Sequence[SenderDomain]) -> ColumnElement[bool]:
    """Whether an event is of a message from one of these domains; none: any."""
    column = EVENTS.c.sender_domain
    below = [column.endswith(f".{each.name}", autoescape=True) for each in senders if each.subdomains]
    return or_(column.in_([each.name for each in senders]), *below) if senders else true()


def total(groups: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of what ``counts`` found."""
    groups = list(groups)
    return _rated({kind: sum(entry[kind] for entry in groups) for kind in _none()})


def _none() -> dict[str, Any]:
    return dict.fromkeys((*COUNTED, *CAME_BACK), 0)


def _count(entry: dict[str, Any], row: Any) -> None:
    entry[row.kind] += row.number
    entry["late"] += row.number if row.late else 0


def _largest(entry: Mapping[str, Any]) -> int:
    return -sum(int(entry[kind]) for kind in COUNTED)


def _rated(entry: dict[str, Any]) -> dict[str, Any]:
    """The counts with their rates: of bounces in what came to an end, of complaints in what was delivered."""
    ended = max(entry["bounced"], entry["bounced"] - entry["late"] + entry["delivered"])
    delivered = max(entry["complained"], entry["delivered"])
    entry["complaint_rate"] = round(entry["complained"] / delivered, 5) if delivered else None
    entry["bounce_rate"] = round(entry["bounced"] / ended, 4) if ended else None
    return entry


def _counted(columns: Sequence[ColumnElement[Any]], when: ColumnElement[bool]) -> Any:
    labels = [column.name for column in columns]
    late = case((IS_LATE, 1), else_=0)
    return (
        select(*columns, EVENTS.c.relay, EVENTS.c.kind, late.label("late"), func.count().label("number"))
        .where(and_(when, or_(EVENTS.c.kind.in_(COUNTED), IS_COMPLAINT)))
        .group_by(*labels, EVENTS.c.relay, EVENTS.c.kind, "late")
    )
