"""Bounce rates, suppression by sender domain, and who receives."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of rates, add the columns; what was suppressed is so for all sender domains."""
    op.create_table(
        "brakes",
        sa.Column("sender_domain", sa.Text, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("bounced", sa.Integer, nullable=False),
        sa.Column("ended", sa.Integer, nullable=False),
        sa.Column("counted_from", sa.Float),
    )
    op.add_column("events", sa.Column("provider", sa.String(16)))
    # a column of the primary key: SQLite can't add one, so the table is made anew
    op.rename_table("suppressions", "suppressions_0001")
    columns = [
        sa.Column("recipient", sa.String(320)),
        sa.Column("sender_domain", sa.String(255)),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("added", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("recipient", "sender_domain", name="suppressions_by_domain"),
    ]
    op.create_table("suppressions", *columns)
    op.execute(
        "INSERT INTO suppressions (recipient, sender_domain, reason, added, expires, detail)"
        " SELECT recipient, '', reason, added, expires, detail FROM suppressions_0001"
    )
    op.drop_table("suppressions_0001")
