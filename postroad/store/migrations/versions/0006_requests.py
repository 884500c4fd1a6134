"""Requests of the HTTP API that are made once."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "requests",
        sa.Column("api_key", sa.String(32), primary_key=True),
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("message_id", sa.Text),
        sa.Column("answer", sa.Text),
    )
    op.create_index("requests_time", "requests", ["time"])
