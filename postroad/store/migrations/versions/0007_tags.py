"""Tags of messages."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "tags",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("sender_domain", sa.Text, primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
    )
    op.create_index("tags_tag", "tags", ["tag"])
    op.create_index("tags_time", "tags", ["time"])
