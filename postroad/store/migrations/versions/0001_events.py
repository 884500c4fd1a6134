"""The events, how far the journal is read, and the addresses that get no more mail."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("queue_id", sa.String(64)),
        *(sa.Column(name, sa.Text) for name in ("message_id", "sender", "recipient")),
        *(sa.Column(name, sa.Text) for name in ("sender_domain", "recipient_domain")),
        sa.Column("reason", sa.String(32)),
        sa.Column("hard", sa.Boolean),
        sa.Column("data", sa.Text, nullable=False),
    )
    for name in ("time", "queue_id", "message_id", "sender", "recipient"):
        op.create_index(f"events_{name}", "events", [name])
    op.create_table(
        "suppressions",
        sa.Column("recipient", sa.String(320), primary_key=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("added", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("detail", sa.Text),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("labels", sa.String(128), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "position",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )
