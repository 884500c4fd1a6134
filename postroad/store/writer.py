"""Puts events into the database, each once: the journal's position is written in the same transaction."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from postroad.events.classify import classify
from postroad.store import database, metrics, suppression
from postroad.store.reader import Batch, Position
from postroad.store.schema import EVENTS, POSITION

FAILURES = frozenset({"bounced", "deferred"})
ABOUT = ("message_id", "sender")
SUPPRESSED = "is suppressed ("
"""What the rule in ``sendmail.mc`` says at RCPT."""


def position(connection: Connection, journal: int = 1) -> Position:
    """Up to where the journal is in the store."""
    row = connection.execute(select(POSITION.c.segment, POSITION.c.offset).where(POSITION.c.id == journal)).first()
    return Position(*row) if row else Position()


def write(engine: Engine, batch: Batch, settings: Mapping[str, Any], journal: int = 1) -> bool:
    """Put a batch into the store, whole or not at all; return whether an address was suppressed for it.

    ``settings`` holds ``suppress``, the seconds that an address is suppressed for after its mailbox was found not to
    exist, or None, and ``never``, the addresses and domains that are not.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it can't be written.
    """
    with database.writing(engine) as connection:
        rows = [_row(event) for event in _completed(connection, batch.events)]
        if rows:
            connection.execute(insert(EVENTS), [row.stored for row in rows])
        dead = [row.stored | {"detail": row.said} for row in rows if row.mailbox]
        found = suppression.of_bounces(dead, settings) if settings["suppress"] else []
        suppression.add(connection, found)
        metrics.add(connection, metrics.count(row.event for row in rows))
        place = {"segment": batch.position.segment, "offset": batch.position.offset}
        if not connection.execute(update(POSITION).where(POSITION.c.id == journal).values(place)).rowcount:
            connection.execute(insert(POSITION).values(id=journal, **place))
    return bool(found)


def _completed(connection: Connection, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events with the Message-ID and sender of their message, which a server that was restarted has forgotten."""
    lacking = {event["queue_id"] for event in events if event.get("queue_id") and "sender" not in event}
    if not lacking:
        return list(events)
    columns = (EVENTS.c.queue_id, EVENTS.c.message_id, EVENTS.c.sender)
    known = connection.execute(select(*columns).where(EVENTS.c.queue_id.in_(lacking), EVENTS.c.kind == "accepted"))
    about = {
        row.queue_id: {name: getattr(row, name) for name in ABOUT if getattr(row, name) is not None} for row in known
    }
    return [about.get(event.get("queue_id"), {}) | event for event in events]


class _Row(NamedTuple):
    stored: dict[str, Any]
    event: dict[str, Any]
    mailbox: bool
    said: str | None


def _row(event: dict[str, Any]) -> _Row:
    kind = event["event"]
    sender, recipient = (_lower(event.get(name)) for name in ("sender", "recipient"))
    row = {
        "time": _seconds(event.get("time")),
        "kind": kind,
        "queue_id": event.get("queue_id"),
        "message_id": event.get("message_id"),
        "sender": sender,
        "recipient": recipient,
        "sender_domain": _domain(sender),
        "recipient_domain": _domain(recipient),
        "reason": None,
        "hard": None,
    }
    mailbox = False
    if kind == "rejected" and SUPPRESSED in str(event.get("reply")):
        row["reason"] = "suppressed"
        event = event | {"class": "suppressed"}
    if kind in FAILURES:
        found = classify(
            kind, event.get("dsn"), event.get("reply"), event.get("status"), relay_host=event.get("relay_host")
        )
        row |= {"reason": found.reason, "hard": found.hard}
        event = event | {"class": found.reason, "hard": found.hard}
        mailbox = kind == "bounced" and found.mailbox
    return _Row(row | {"data": json.dumps(event)}, event, mailbox, event.get("reply") or event.get("status"))


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
    while True:
        with database.writing(engine) as connection:
            least, most = connection.execute(select(func.min(EVENTS.c.id), func.max(EVENTS.c.id))).one()
            if least is None or database.size(connection) <= max_size:
                return gone
            gone += connection.execute(delete(EVENTS).where(EVENTS.c.id <= least + (most - least) // 10)).rowcount
