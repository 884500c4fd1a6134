"""What relays that share a database may have of the limits of routes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    numbers = [sa.Column(name, sa.BigInteger, nullable=False) for name in ("amount", "keeps", "wants", "needs")]
    op.create_table(
        "parts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.Integer, primary_key=True, autoincrement=False),
        *numbers,
        sa.Column("period", sa.Float, nullable=False),
        sa.Column("renewals", sa.BigInteger, nullable=False),
        sa.Column("renewed", sa.Float, nullable=False),
    )
