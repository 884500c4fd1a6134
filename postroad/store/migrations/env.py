"""Alembic's entry: brings the database of the connection that ``postroad.store.database`` hands over up to date."""

from alembic import context

from postroad.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
