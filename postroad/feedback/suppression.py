"""The addresses that get no more mail, and the map of them that sendmail asks at each RCPT."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select

from postroad import system
from postroad.runtime import recording
from postroad.runtime.paths import SUPPRESSED
from postroad.store import changes, database
from postroad.store.schema import EVENTS, SUPPRESSIONS

CHUNK = 500
LONGEST = 320
"""Characters of an address: 64, an @, and 255 (RFC 5321, 4.5.3.1)."""
SOFT = ("mailboxfull", "suspend")
"""The soft failures that speak of the mailbox itself, and not of us, the message or the way to it."""
COMPLAINT = "complaint"
"""The reason of an address whose owner called our mail spam."""
UNSUBSCRIBED = "unsubscribed"
"""The reason of an address whose owner wants no more mail from a sender domain."""
ALL = ""
"""In place of a sender domain: whoever sends."""


@dataclass(frozen=True)
class SuppressedAddress:
    """An address that is suppressed.

    Attributes:
        recipient: in lower case.
        reason: the class of the bounce, or ``manual``, ``complaint``, ...
        added: seconds since the epoch; ``expires`` likewise, None: never.
        detail: what the receiving server said, or a person's note.
        sender_domain: whose mail is refused, in lower case; ``ALL``: everybody's.
    """

    recipient: str
    reason: str
    added: float
    expires: float | None
    detail: str | None
    sender_domain: str = ALL


def add(connection: Connection, entries: Sequence[SuppressedAddress]) -> int:
    """Put addresses on the list, each in place of an older entry; return how many were not on it.

    What the recipient wants stays: a bounce, which time would lift, does not take its place.
    """
    fresh = 0
    for i in range(0, len(entries), CHUNK):
        chunk = {(entry.recipient, entry.sender_domain): entry for entry in entries[i : i + CHUNK]}
        for key in _wishes(connection, [key[0] for key in chunk]):
            if key in chunk and chunk[key].expires is not None:
                del chunk[key]
        if not chunk:
            continue
        by_domain: dict[str, list[str]] = {}
        for recipient, domain in chunk:
            by_domain.setdefault(domain, []).append(recipient)
        gone = sum(_remove(connection, recipients, domain) for domain, recipients in by_domain.items())
        connection.execute(insert(SUPPRESSIONS), [vars(entry) for entry in chunk.values()])
        fresh += len(chunk) - gone
    if entries:
        changes.note(connection, changes.SUPPRESSIONS)
    return fresh


def _wishes(connection: Connection, recipients: Sequence[str]) -> list[tuple[str, str]]:
    columns = SUPPRESSIONS.c
    wish = (columns.reason.in_((COMPLAINT, UNSUBSCRIBED)), columns.expires.is_(None))
    found = connection.execute(select(SUPPRESSIONS).where(columns.recipient.in_(recipients), *wish))
    return [(row.recipient, row.sender_domain) for row in found]


def remove(connection: Connection, recipients: Sequence[str], domain: str | None = None) -> int:
    """Take addresses from the list, for one sender domain or wherever they are; return how many entries that were."""
    if gone := _remove(connection, [recipient.lower() for recipient in recipients], domain):
        changes.note(connection, changes.SUPPRESSIONS)
    return gone


def _remove(connection: Connection, recipients: Sequence[str], domain: str | None) -> int:
    gone = delete(SUPPRESSIONS).where(SUPPRESSIONS.c.recipient.in_(recipients))
    if domain is not None:
        gone = gone.where(SUPPRESSIONS.c.sender_domain == domain)
    return connection.execute(gone).rowcount


def entries(connection: Connection) -> list[SuppressedAddress]:
    """The list, newest first, without what has expired."""
    now = time.time()
    columns = SUPPRESSIONS.c
    rows = connection.execute(
        select(*(columns[field.name] for field in fields(SuppressedAddress)))
        .where(or_(columns.expires.is_(None), columns.expires > now))
        .order_by(columns.added.desc())
    )
    return [SuppressedAddress(*row) for row in rows]


def of_bounces(rows: Iterable[Mapping[str, Any]], settings: recording.SuppressionRules) -> list[SuppressedAddress]:
    """The entries for bounces, less those that are never suppressed: for the sender's domain, or for all."""
    never, by_domain, keep = settings.never, settings.scope == "sender_domain", settings.keep
    if keep is None:
        return []
    return [
        SuppressedAddress(
            row["recipient"],
            row["reason"],
            row["time"],
            row["time"] + keep,
            row["detail"],
            row["sender_domain"] if by_domain else ALL,
        )
        for row in rows
        if row["recipient"]
        and row["recipient"] not in never
        and row["recipient_domain"] not in never
        and (row["sender_domain"] or not by_domain)  # a bounce of a bounce is nobody's
        and is_plain(row["recipient"])
    ]


def of_complaints(rows: Iterable[Mapping[str, Any]], settings: recording.SuppressionRules) -> list[SuppressedAddress]:
    """The entries for complaints, likewise; time does not lift them."""
    found = of_bounces([{**row, "reason": COMPLAINT} for row in rows], settings)
    return [replace(entry, expires=None) for entry in found]


def of_wishes(rows: Iterable[Mapping[str, Any]]) -> list[SuppressedAddress]:
    """The entries for those who unsubscribed, from a sender domain whatever the scope; time does not lift them."""
    return [
        SuppressedAddress(row["recipient"], UNSUBSCRIBED, row["time"], None, None, row["sender_domain"])
        for row in rows
        if row["recipient"] and row["sender_domain"] and is_plain(row["recipient"])
    ]


def too_often(
    connection: Connection, rows: Iterable[Mapping[str, Any]], settings: recording.SuppressionRules
) -> list[Mapping[str, Any]]:
    """The last failure of each mailbox that was found full or disabled by too many messages, one after the other.

    ``rows`` are failures that are in the store already. A message counts once, however often it was tried; one that was
    delivered lets the count begin anew.
    """
    by_domain = settings.scope == "sender_domain"
    if settings.keep is None or not settings.soft_count:
        return []
    last = {
        (row["recipient"], row["sender_domain"] if by_domain else ALL): row
        for row in rows
        if row["recipient"] and row["reason"] in SOFT
    }
    found = []
    for (recipient, domain), row in last.items():
        of_it = [EVENTS.c.recipient == recipient, EVENTS.c.time >= row["time"] - settings.soft_within]
        if by_domain:
            of_it.append(EVENTS.c.sender_domain == domain)
        delivered = select(func.max(EVENTS.c.time)).where(EVENTS.c.kind == "delivered", *of_it)
        since = connection.execute(delivered).scalar() or 0.0
        failed = select(func.count(EVENTS.c.queue_id.distinct())).where(
            EVENTS.c.kind.in_(("bounced", "deferred")), EVENTS.c.reason.in_(SOFT), EVENTS.c.time > since, *of_it
        )
        if connection.execute(failed).scalar_one() >= settings.soft_count:
            found.append(row)
    return found


def is_plain(address: str) -> bool:
    """Whether sendmail may be asked to send to this address at all: ASCII without spaces, and not too long."""
    return 0 < len(address) <= LONGEST and address.isascii() and address.isprintable() and " " not in address


def forget(engine: Engine) -> int:
    """Remove what has expired; return how many."""
    with database.writing(engine) as connection:
        gone = connection.execute(delete(SUPPRESSIONS).where(SUPPRESSIONS.c.expires <= time.time())).rowcount
        if gone:
            changes.note(connection, changes.SUPPRESSIONS)
    return gone


def publish(engine: Engine) -> int:
    """Write the map anew, for the next RCPT to see; return how many entries are in it.

    A key is the address, for one sender domain with a slash and that behind it. The list is read under the lock, so
    the last writer's map is the newest.

    Raises:
        OSError: it can't be written; sendmail goes on with the one before.
    """
    with system.locked(SUPPRESSED.with_suffix(".lock")), engine.connect() as connection:
        found = {_key(entry): entry.reason.encode() for entry in entries(connection)}
        system.write_database(SUPPRESSED.with_suffix(".db"), found)
    return len(found)


def _key(entry: SuppressedAddress) -> bytes:
    return f"{entry.recipient}/{entry.sender_domain}".encode() if entry.sender_domain else entry.recipient.encode()
