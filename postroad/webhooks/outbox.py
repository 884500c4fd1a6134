"""Events not yet accepted by webhooks: added in the transaction that stores them, removed when they are posted."""

import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, or_, select, true, update

from postroad.runtime.recording import Hook
from postroad.store import changes, counters, database, tags
from postroad.store.schema import EVENTS, OUTBOX
from postroad.webhooks.envelope import wants

MOST = 100_000
"""The most entries per webhook, dead letters included; the surplus is deleted, dead letters and the oldest first."""
FIRST_DELAY, LONGEST_DELAY = 2.0, 3600.0
LONGEST_ERROR = 300
CHUNK = 500


@dataclass(frozen=True)
class OutboxEvent:
    """An event that a webhook has not accepted.

    Attributes:
        uid: the event's ID for the receiver, the same at each attempt.
        time: when it happened; ``added`` is when it was added, ``failed`` when the last attempt failed: all in seconds
            since the epoch.
        attempts: the number of attempts so far.
    """

    id: int
    webhook: str
    uid: str
    time: float
    added: float
    attempts: int
    failed: float | None
    error: str | None
    event: dict[str, Any]


def put(
    connection: Connection, ids: Sequence[int], rows: Sequence[Mapping[str, Any]], hooks: Sequence[Hook]
) -> dict[str, int]:
    """Add stored events for the webhooks that want them; return how many entries were dropped to make room, by webhook.

    Args:
        connection: a connection in the transaction that stores the events.
        ids: the events' IDs.
        rows: the events' rows.
        hooks: the webhooks, from the recorder's settings.
    """
    now = time.time()
    lost: dict[str, int] = {}
    uids = [str(uuid.uuid4()) for _ in ids]
    for hook in hooks:
        wanted = [i for i, row in enumerate(rows) if wants(hook, row)]
        if not wanted:
            continue
        connection.execute(
            insert(OUTBOX),
            [
                {"webhook": hook.name, "event": ids[i], "time": rows[i]["time"], "uid": uids[i]}
                | {"added": now, "attempts": 0, "due": now}
                for i in wanted
            ],
        )
        changes.note(connection, changes.OUTBOX)
        if (surplus := _count(connection, hook.name) - MOST) > 0:
            lost[hook.name] = _drop(connection, hook.name, surplus)
    return lost


def _count(connection: Connection, webhook: str) -> int:
    return int(
        connection.execute(select(func.count()).select_from(OUTBOX).where(OUTBOX.c.webhook == webhook)).scalar_one()
    )


def _drop(connection: Connection, webhook: str, number: int) -> int:
    first = select(OUTBOX.c.id).where(OUTBOX.c.webhook == webhook).order_by(OUTBOX.c.due.is_not(None), OUTBOX.c.id)
    gone = connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(first.limit(number)))).rowcount
    counters.add(connection, {("webhook_events", f"{webhook},lost"): gone})
    return gone


def due(engine: Engine, webhook: str, most: int) -> list[OutboxEvent]:
    """The entries to post now, longest waiting first; of each message only the oldest event that waits."""
    older, same = OUTBOX.alias(), EVENTS.alias()
    waits = exists().where(older.c.event == same.c.id, older.c.webhook == webhook, older.c.due.is_not(None))
    message = and_(same.c.queue_id == EVENTS.c.queue_id, or_(same.c.relay.is_(None), same.c.relay == EVENTS.c.relay))
    behind = exists().where(message, same.c.id < EVENTS.c.id, waits)
    with engine.connect() as connection:
        return _entries(
            connection,
            and_(OUTBOX.c.webhook == webhook, OUTBOX.c.due <= time.time(), ~behind),
            (OUTBOX.c.due, OUTBOX.c.id),
            most,
        )


def dead(engine: Engine, webhook: str | None, most: int) -> list[OutboxEvent]:
    """The dead letters of one webhook or of all, newest first."""
    with engine.connect() as connection:
        return _entries(connection, _dead(webhook), (OUTBOX.c.id.desc(),), most)


def _dead(webhook: str | None) -> ColumnElement[bool]:
    return and_(OUTBOX.c.due.is_(None), true() if webhook is None else OUTBOX.c.webhook == webhook)


def until_due(engine: Engine, webhook: str, most: float) -> float:
    """Seconds until an entry becomes due, from 1 to ``most``; entries already due wait for an older event."""
    now = time.time()
    coming = select(func.min(OUTBOX.c.due)).where(OUTBOX.c.webhook == webhook, OUTBOX.c.due > now)
    with engine.connect() as connection:
        first = connection.execute(coming).scalar()
    return most if first is None else min(most, max(1.0, first - now))


def _entries(connection: Connection, where: Any, order: Sequence[Any], most: int) -> list[OutboxEvent]:
    names = ("id", "webhook", "uid", "time", "added", "attempts", "failed", "error")
    rows = connection.execute(
        select(*(OUTBOX.c[name] for name in names), EVENTS.c.data)
        .join(EVENTS, and_(EVENTS.c.id == OUTBOX.c.event, EVENTS.c.time == OUTBOX.c.time))
        .where(where)
        .order_by(*order)
        .limit(most)
    )
    found = rows.all()
    told = tags.with_tags(connection, [json.loads(row.data) for row in found])
    return [OutboxEvent(*[*row[:-1], event]) for row, event in zip(found, told, strict=True)]


def delivered(engine: Engine, entry: OutboxEvent) -> None:
    """Remove an entry that the webhook accepted."""
    with database.writing(engine) as connection:
        if connection.execute(delete(OUTBOX).where(OUTBOX.c.id == entry.id)).rowcount:
            counters.add(connection, {("webhook_events", f"{entry.webhook},delivered"): 1})


def failed(engine: Engine, entry: OutboxEvent, error: str, give_up_after: float, retry_after: float | None) -> bool:
    """Note a failed attempt: retry the entry later, or make it a dead letter; return whether it became one.

    Args:
        engine: the store's engine.
        entry: the entry.
        error: the reason, for people.
        give_up_after: seconds from when the entry was added.
        retry_after: seconds that the receiver asks for; None if it says nothing.
    """
    now = time.time()
    last = entry.added + give_up_after
    over = now >= last
    later = min(now + delay(entry.attempts + 1, retry_after), last)
    with database.writing(engine) as connection:
        connection.execute(
            update(OUTBOX)
            .where(OUTBOX.c.id == entry.id)
            .values(attempts=entry.attempts + 1, failed=now, error=error[:LONGEST_ERROR], due=None if over else later)
        )
        grown = {("webhook_attempts_failed", entry.webhook): 1}
        counters.add(connection, grown | ({("webhook_events", f"{entry.webhook},dead"): 1} if over else {}))
    return over


def delay(attempts: int, retry_after: float | None = None) -> float:
    """Seconds until the next attempt after this many: exponential with full jitter, or what the receiver asks for.

    Always from a second to an hour, whatever the receiver asks for.
    """
    most = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 30))
    found = max(random.uniform(0, most), retry_after or 0.0)  # noqa: S311 - not a secret
    return min(max(1.0, found), LONGEST_DELAY)


def give_up(engine: Engine, webhook: str, give_up_after: float, error: str) -> int:
    """Make dead letters of entries that waited too long for a webhook that accepts nothing; return how many."""
    old = and_(OUTBOX.c.webhook == webhook, OUTBOX.c.due.is_not(None), OUTBOX.c.added < time.time() - give_up_after)
    with database.writing(engine) as connection:
        values = {"due": None, "failed": time.time(), "error": func.coalesce(OUTBOX.c.error, error[:LONGEST_ERROR])}
        gone = connection.execute(update(OUTBOX).where(old).values(values)).rowcount
        counters.add(connection, {("webhook_events", f"{webhook},dead"): gone} if gone else {})
    return gone


def replay(connection: Connection, uids: Sequence[str] | None, webhook: str | None) -> int:
    """Post dead letters again, all or those with these IDs, of one webhook or of any; return how many."""
    now = time.time()
    where = _dead(webhook)
    values = {"due": now, "added": now, "attempts": 0}
    if uids is None:
        return connection.execute(update(OUTBOX).where(where).values(values)).rowcount
    return sum(
        connection.execute(update(OUTBOX).where(where, OUTBOX.c.uid.in_(uids[i : i + CHUNK])).values(values)).rowcount
        for i in range(0, len(uids), CHUNK)
    )


def tidy(engine: Engine) -> dict[str, int]:
    """Remove entries whose event is no longer in the store; return how many still waited, by webhook."""
    gone = ~exists().where(EVENTS.c.id == OUTBOX.c.event, EVENTS.c.time == OUTBOX.c.time)
    with database.writing(engine) as connection:
        waited = (
            select(OUTBOX.c.webhook, func.count()).where(gone, OUTBOX.c.due.is_not(None)).group_by(OUTBOX.c.webhook)
        )
        lost = {row[0]: int(row[1]) for row in connection.execute(waited)}
        connection.execute(delete(OUTBOX).where(gone))
        counters.add(connection, {("webhook_events", f"{name},lost"): number for name, number in lost.items()})
    return lost


def states(connection: Connection) -> dict[str, dict[str, Any]]:
    """By webhook: ``pending``, ``dead``, ``oldest`` (when the oldest pending was added), ``error`` and ``failed``."""
    waits = OUTBOX.c.due.is_not(None)
    found: dict[str, dict[str, Any]] = {}
    rows = connection.execute(
        select(
            OUTBOX.c.webhook,
            waits.label("waits"),
            func.count().label("number"),
            func.min(OUTBOX.c.added),
        ).group_by(OUTBOX.c.webhook, "waits")
    )
    for row in rows:
        state = found.setdefault(row.webhook, {"pending": 0, "dead": 0, "oldest": None, "error": None, "failed": None})
        if row.waits:
            state |= {"pending": row.number, "oldest": row[-1]}
        else:
            state["dead"] = row.number
    for name, state in found.items():
        last = connection.execute(
            select(OUTBOX.c.error, OUTBOX.c.failed)
            .where(OUTBOX.c.webhook == name, OUTBOX.c.failed.is_not(None))
            .order_by(OUTBOX.c.failed.desc())
            .limit(1)
        ).first()
        if last:
            state["error"], state["failed"] = last.error, last.failed
    return found
