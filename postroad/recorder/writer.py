"""Puts events into the database, each once: the journal's position is written in the same transaction."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update

from postroad.events.classify import classify
from postroad.feedback import suppression
from postroad.journal.reader import Batch, Position
from postroad.recorder import returned
from postroad.runtime import recording, refusals
from postroad.store import counters, database, tags
from postroad.store.schema import EVENTS, POSITION
from postroad.webhooks import outbox

FAILURES = frozenset({"bounced", "deferred"})
ATTEMPTS = FAILURES | {"delivered"}
ABOUT = ("message_id", "sender")
SENDER_DOMAINS = {
    "unsubscribed": "sender_domain",
    "bounce_rate": "sender_domain",
    "complaint_rate": "sender_domain",
    "reported": "domain",
}
"""The fields that name a domain whose mail an event is about, where it names no sender."""


def position(connection: Connection, journal: int = 1) -> Position:
    """The journal's position up to which the store has its events."""
    row = connection.execute(select(POSITION.c.segment, POSITION.c.offset).where(POSITION.c.id == journal)).first()
    return Position(*row) if row else Position()


class Written(NamedTuple):
    """What a batch brought with it: an address that was suppressed; by webhook, how many posts had to go for it."""

    suppressed: bool
    lost: dict[str, int]


def write(engine: Engine, batch: Batch, settings: recording.Settings, journal: int = 1) -> Written:
    """Write a batch into the store, whole or not at all.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it can't be written.
    """
    with database.writing(engine) as connection:
        relay = journal if database.is_server(connection) else None
        events = returned.attributed(connection, batch.events, relay)
        rows = [_row(event, relay) for event in _completed(connection, events, relay)]
        lost: dict[str, int] = {}
        if rows:
            stored = [row.stored for row in rows]
            ids = connection.scalars(insert(EVENTS).returning(EVENTS.c.id, sort_by_parameter_order=True), stored).all()
            lost = outbox.put(connection, ids, stored, settings.webhooks)
        failed = [row.stored | {"detail": row.said} for row in rows if row.stored["kind"] in FAILURES]
        dead = [row.stored | {"detail": row.said} for row in rows if row.mailbox]
        over_limit = suppression.too_often(connection, failed, settings.suppression)
        found = suppression.of_bounces([*over_limit, *dead], settings.suppression)
        complaints = [row.stored | {"detail": row.said} for row in rows if row.complaint]
        found += suppression.of_complaints(complaints, settings.suppression)
        found += suppression.of_wishes(row.stored for row in rows if row.event["event"] == "unsubscribed")
        suppression.add(connection, found)
        counters.add(connection, counters.count(row.event for row in rows))
        place = {"segment": batch.position.segment, "offset": batch.position.offset}
        if not connection.execute(update(POSITION).where(POSITION.c.id == journal).values(place)).rowcount:
            connection.execute(insert(POSITION).values(id=journal, **place))
    return Written(bool(found), lost)


def _completed(connection: Connection, events: Iterable[dict[str, Any]], relay: int | None) -> list[dict[str, Any]]:
    """The events with the Message-ID and sender of their message, which a server that was restarted has forgotten."""
    lacking = {event["queue_id"] for event in events if event.get("queue_id") and "sender" not in event}
    if not lacking:
        return list(events)
    columns = (EVENTS.c.queue_id, EVENTS.c.message_id, EVENTS.c.sender)
    ours = or_(EVENTS.c.relay.is_(None), EVENTS.c.relay == relay)
    accepted = (EVENTS.c.queue_id.in_(lacking), EVENTS.c.kind.in_(("accepted", "taken_over")), ours)
    known = connection.execute(select(*columns).where(*accepted))
    about = {
        row.queue_id: {name: getattr(row, name) for name in ABOUT if getattr(row, name) is not None} for row in known
    }
    return [about.get(event.get("queue_id"), {}) | event for event in events]


class _Row(NamedTuple):
    stored: dict[str, Any]
    event: dict[str, Any]
    mailbox: bool
    said: str | None

    @property
    def complaint(self) -> bool:
        """Whether a recipient wants no more mail."""
        return self.event["event"] == "complained" and self.event.get("feedback") != "not-spam"


def _row(event: dict[str, Any], relay: int | None) -> _Row:
    relay = event.pop(returned.RELAY, relay)
    kind = event["event"]
    sender, recipient = (_lower(event.get(name)) for name in ("sender", "recipient"))
    row = {
        "time": _seconds(event.get("time")),
        "kind": kind,
        "queue_id": event.get("queue_id"),
        "message_id": event.get("message_id"),
        "sender": sender,
        "recipient": recipient,
        "sender_domain": _domain(sender) or _lower(event.get(SENDER_DOMAINS.get(kind, ""))),
        "recipient_domain": _domain(recipient),
        "reason": None,
        "hard": None,
        "provider": counters.provider(event.get("relay_host")) if kind in ATTEMPTS else None,
        "relay": relay,
    }
    mailbox = False
    if kind == "rejected":
        said = str(event.get("reply"))
        if ours := refusals.class_of(said):
            row["reason"] = ours
            event = event | {"class": ours}
    if kind in FAILURES:
        found = classify(
            kind, event.get("dsn"), event.get("reply"), event.get("status"), relay_host=event.get("relay_host")
        )
        row |= {"reason": found.reason, "hard": found.hard}
        event = event | {"class": found.reason, "hard": found.hard}
        mailbox = kind == "bounced" and found.mailbox
    return _Row(
        row | {"data": json.dumps(event)},
        event,
        mailbox,
        event.get("reply") or event.get("status") or event.get("reporter"),
    )


def _seconds(stamp: object) -> float:
    if isinstance(stamp, str):
        return datetime.fromisoformat(stamp).timestamp()
    return time.time()


def _lower(value: object) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _domain(address: str | None) -> str | None:
    return address.rpartition("@")[2] if address else None


def forget(engine: Engine, keep: float, max_size: int) -> int:
    """Remove events older than ``keep`` seconds, then the oldest ones above ``max_size`` octets; return how many."""
    gone = 0
    with database.writing(engine) as connection:
        gone += connection.execute(delete(EVENTS).where(EVENTS.c.time < time.time() - keep)).rowcount
        tags.forget(connection)
    while True:
        with database.writing(engine) as connection:
            least, most = connection.execute(select(func.min(EVENTS.c.id), func.max(EVENTS.c.id))).one()
            if least is None or database.size(connection) <= max_size:
                return gone
            gone += connection.execute(delete(EVENTS).where(EVENTS.c.id <= least + (most - least) // 10)).rowcount
