"""What came back, made part of the story of its message: whose it is, which recipient's, and whether it is new.

A return address is known to whoever got the message, and a complaint may be about a Message-ID: both are a stranger's
word. So only recipients count that the message had, each once; all else becomes ``returned`` and changes nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from postroad.store.schema import EVENTS

LONGEST_ID = 100
"""Octets of a Message-ID that sendmail logs, and so the store knows."""
ATTRIBUTED = frozenset({"bounced", "complained", "returned"})
RELAY = "_relay"
"""A field for the writer: the number of the relay whose message an event is about, where it is another one."""
Event = dict[str, Any]


@dataclass
class _Message:
    """What the store has of a message: its recipients in lower case, and what came back of them already."""

    message_id: str | None = None
    sender: str | None = None
    recipients: dict[str, str] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    there: bool = False
    relay: int | None = None

    def learn(self, event: Event) -> None:
        """Take an event of the message."""
        self.there = self.there or not (came_back(event) or event["event"] == "returned")
        self.message_id = self.message_id or event.get("message_id")
        if self.sender is None:
            self.sender = event.get("sender")
        recipient = event.get("recipient")
        if not isinstance(recipient, str) or event["event"] in {"rejected", "returned"}:
            return
        if came_back(event):
            self.told.add((event["event"], recipient.lower()))
        else:
            self.recipients.setdefault(recipient.lower(), recipient)
            if event["event"] == "redirected":
                self.targets.setdefault(str(event.get("redirected_to")).lower(), recipient)

    def find(self, named: str | None) -> str | None:
        """The recipient that is meant; the only one where another is named: it forwards its mail, or hides."""
        lower = (named or "").lower()
        found = self.recipients.get(lower) or self.targets.get(lower)
        if found is None and len(self.recipients) == 1:
            (found,) = self.recipients.values()
        return found


def came_back(event: Event) -> bool:
    """Whether an event is a late bounce or a complaint."""
    return bool(event["event"] == "complained" or (event["event"] == "bounced" and event.get("late")))


def attributed(connection: Connection, events: Iterable[Event], relay: int | None) -> list[Event]:
    """The events, of which those that came back name their message and recipient as the store knows them.

    Args:
        connection: the store.
        events: a batch, in order.
        relay: the number of this relay, where relays share the store.
    """
    events = list(events)
    if not any(came_back(event) or event["event"] == "returned" for event in events):
        return events
    wanted = [event for event in events if came_back(event) or event["event"] == "returned"]
    by_id = _queue_ids(connection, [event for event in wanted if not event.get("queue_id")], events)
    for event in wanted:
        if not event.get("queue_id") and (found := by_id.get(str(event.get("message_id"))[:LONGEST_ID])):
            event["queue_id"] = found
    known = _messages(connection, {event["queue_id"] for event in wanted if event.get("queue_id")}, relay)
    result = []
    for each in events:
        message, event = known.get(str(each.get("queue_id"))), each
        if came_back(each):
            event = _resolved(each, message)
        elif each["event"] == "returned" and message is not None:
            event = _about(message) | each
        if message is not None:
            message.learn(event)
            if message.relay != relay and event is not each:
                event[RELAY] = message.relay
        result.append(event)
    return result


def _about(message: _Message) -> Event:
    about = {"message_id": message.message_id, "sender": message.sender}
    return {name: value for name, value in about.items() if value is not None}


def _resolved(event: Event, message: _Message | None) -> Event:
    if message is None or not message.there:
        return _unknown(event, "of a message that the store does not have")
    event = event | _about(message)
    named = event.get("recipient")
    found = message.find(named)
    if found is None:
        if event["event"] == "complained" and named is None:
            return event  # one of several: that it was somebody counts
        return _unknown(event, "of a recipient that the message does not have")
    if (event["event"], found.lower()) in message.told:
        return _other(event | {"recipient": found}, "repeated", event["event"])
    if named and event["event"] == "bounced" and named.lower() not in {found.lower(), *message.targets}:
        # the words are about another mailbox, to which this one forwards: no proof that this one is gone
        said = event.pop("reply", None) or event.get("status")
        event |= {"status": said} if said else {}
    return event | {"recipient": found}


def _unknown(event: Event, why: str) -> Event:
    """The recipient is named in words alone: as a field it would give a stranger's word a story of its own."""
    named = event.get("recipient")
    rest = {name: value for name, value in event.items() if name != "recipient"}
    return _other(rest, "unknown", f"{why}: {named}" if named else why)


def _other(event: Event, what: str, why: str) -> Event:
    kept = ("time", "program", "pid", "queue_id", "message_id", "sender", "recipient")
    about = {name: event[name] for name in kept if event.get(name) is not None}
    return {"event": "returned"} | about | {"what": what, "status": f"{event['event']}: {why}"}


def _queue_ids(connection: Connection, lacking: list[Event], batch: list[Event]) -> dict[str, str]:
    """The queue ids of messages by their Message-IDs, of several the newest."""
    ids = {str(event["message_id"])[:LONGEST_ID] for event in lacking if event.get("message_id")}
    if not ids:
        return {}
    found = connection.execute(
        select(EVENTS.c.message_id, EVENTS.c.queue_id)
        .where(EVENTS.c.message_id.in_(ids), EVENTS.c.queue_id.is_not(None))
        .order_by(EVENTS.c.id)
    )
    result = {row.message_id: row.queue_id for row in found}
    return result | {
        event["message_id"]: event["queue_id"]
        for event in batch
        if event.get("message_id") in ids and event.get("queue_id")
    }


def _messages(connection: Connection, ids: set[str], relay: int | None) -> dict[str, _Message]:
    """The messages with these queue ids: where relays share the store, this one's before the newest of another."""
    query = select(EVENTS.c.queue_id, EVENTS.c.relay, EVENTS.c.data).where(EVENTS.c.queue_id.in_(ids))
    found: dict[tuple[str, int | None], _Message] = {}
    for row in connection.execute(query.order_by(EVENTS.c.id)):
        message = found.setdefault((row.queue_id, row.relay), _Message(relay=row.relay))
        message.learn(json.loads(row.data))
    known = {queue_id: _Message(relay=relay) for queue_id in ids}
    for (queue_id, _), message in sorted(found.items(), key=lambda item: item[0][1] == relay):
        if message.there:
            known[queue_id] = message
    return known
