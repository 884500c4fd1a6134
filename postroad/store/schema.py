"""The tables, for SQLAlchemy. A change here is a migration; a test holds the two together."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
)

METADATA = MetaData()
LONGEST = 600
"""Characters of what the world sends that are kept in a column of its own: PostgreSQL indexes 2,700 octets at most."""
ASCII_ONLY = "postroad_ascii_only"
"""An attribute of a dialect: its database has an encoding that does not hold every character."""


class Line(TypeDecorator[str]):
    r"""Text of any content as every database takes it, without NUL and surrogates, and not longer than ``LONGEST``.

    In a database whose encoding does not hold every character, those beyond ASCII stand as ``\xe9`` or ``\u20ac``.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """What is stored, or compared with what is."""
        if value is None:
            return None
        line = value.replace("\0", "\ufffd").encode(errors="replace").decode()
        if getattr(dialect, ASCII_ONLY, False):
            line = line.encode("ascii", errors="backslashreplace").decode()
        return line[:LONGEST]


EVENTS = Table(
    "events",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Float, nullable=False),  # seconds since the epoch
    Column("kind", String(32), nullable=False),
    Column("queue_id", String(64)),
    Column("message_id", Line),
    Column("sender", Line),  # lower case, as are the next three
    Column("recipient", Line),
    Column("sender_domain", Line),
    Column("recipient_domain", Line),
    Column("reason", String(32)),  # the class of a failure
    Column("hard", Boolean),
    Column("provider", String(16)),  # who receives, where an attempt was made
    Column("data", Text, nullable=False),  # the event as it was published: JSON
    Column("relay", Integer),  # in a server's database: at which of the relays that share it
    Index("events_time", "time"),
    Index("events_queue_id", "queue_id"),
    Index("events_message_id", "message_id"),
    Index("events_sender", "sender"),
    Index("events_recipient", "recipient"),
)

IS_LATE = and_(EVENTS.c.kind == "bounced", EVENTS.c.data.contains('"late": true'))
"""A bounce that came back after the delivery. No text in JSON can hold these octets: its quotes have backslashes."""

IS_COMPLAINT = and_(EVENTS.c.kind == "complained", ~EVENTS.c.data.contains('"feedback": "not-spam"'))
"""A complaint, not one that takes another back."""

SUPPRESSIONS = Table(
    "suppressions",
    METADATA,
    Column("recipient", String(320), primary_key=True),
    Column("sender_domain", String(255), primary_key=True),  # empty: all
    Column("reason", String(32), nullable=False),
    Column("added", Float, nullable=False),
    Column("expires", Float),
    Column("detail", Line),
)

BRAKES = Table(
    "brakes",
    METADATA,
    Column("sender_domain", Text, primary_key=True),
    Column("state", String(16), nullable=False),  # normal, warning or braked
    Column("since", Float, nullable=False),
    Column("bounced", Integer, nullable=False),  # when the state began
    Column("ended", Integer, nullable=False),
    Column("counted_from", Float),  # what ended before was forgiven by a person
)

COMPLAINT_BRAKES = Table(
    "complaint_brakes",
    METADATA,
    Column("sender_domain", Text, primary_key=True),
    Column("state", String(16), nullable=False),  # normal, warning or braked
    Column("since", Float, nullable=False),
    Column("complained", Integer, nullable=False),  # when the state began
    Column("delivered", Integer, nullable=False),
    Column("counted_from", Float),  # what came before was forgiven by a person
)

COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("labels", String(128), primary_key=True),  # their values, in order, with commas between
    Column("value", BigInteger, nullable=False),
)

POSITION = Table(
    "position",
    METADATA,
    Column("id", Integer, primary_key=True),  # the journal's: 1, or in a server's database a number of its own
    Column("segment", Text, nullable=False),  # the journal's, up to which all is in the store
    Column("offset", BigInteger, nullable=False),
)

RELAYS = Table(
    "relays",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # its journal's, as in position
    Column("name", String(64), nullable=False),  # the container's host name when it started last
)

CHANGES = Table(
    "changes",
    METADATA,
    Column("subject", String(32), primary_key=True),  # what relays that share the database have in common
    Column("number", BigInteger, nullable=False),  # grows with each change of it
)

LEASES = Table(
    "leases",
    METADATA,
    Column("name", String(64), primary_key=True),  # of a task that one relay does for all
    Column("holder", BigInteger, nullable=False),  # the relay's journal, as in position; 0: nobody
    Column("renewals", BigInteger, nullable=False),  # grows while the holder is alive
)

PARTS = Table(
    "parts",
    METADATA,
    Column("name", String(64), primary_key=True),  # of a limit that relays share
    Column("holder", Integer, primary_key=True, autoincrement=False),  # the relay's journal, as in position
    Column("amount", BigInteger, nullable=False),  # what it may have at most, as the others have to assume
    Column("keeps", BigInteger, nullable=False),  # what it may still have while it is cut off
    Column("wants", BigInteger, nullable=False),  # what it would use
    Column("needs", BigInteger, nullable=False),  # what its next message takes
    Column("period", Float, nullable=False),  # seconds for which what was used counts
    Column("renewals", BigInteger, nullable=False),  # grows while the holder is alive
    Column("renewed", Float, nullable=False),  # when it did last, by the server's clock
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("webhook", String(32), nullable=False),
    Column("event", BigInteger, nullable=False),  # its id in events; what is forgotten there is not posted
    Column("time", Float, nullable=False),  # the event's: SQLite may give an id twice
    Column("uid", String(36), nullable=False),  # what receivers know it by
    Column("added", Float, nullable=False),  # when its tries began
    Column("attempts", Integer, nullable=False),
    Column("due", Float),  # when to post it; null: given up, a dead letter
    Column("failed", Float),  # when the last attempt failed
    Column("error", Line),
    Index("outbox_due", "webhook", "due"),
    Index("outbox_event", "event"),
)

TAGS = Table(
    "tags",
    METADATA,
    Column("message_id", Line, primary_key=True),  # as sendmail logs it
    Column("sender_domain", Line, primary_key=True),
    Column("tag", Line, primary_key=True),
    Column("time", Float, nullable=False),  # when the message was handed over
    Index("tags_tag", "tag"),
    Index("tags_time", "time"),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("api_key", String(32), primary_key=True),  # the key's name
    Column("idempotency_key", String(255), primary_key=True),
    Column("time", Float, nullable=False),  # when it came
    Column("digest", String(64), nullable=False),  # of its body: SHA-256, in hexadecimal
    Column("message_id", Line),
    Column("answer", Text),  # JSON; null while it is under way, or where it broke off
    Index("requests_time", "time"),
)
