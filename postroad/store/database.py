"""The database: SQLite on the state volume, in WAL mode, so that commands read while the recorder writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from postroad.errors import PostroadError
from postroad.render.paths import EVENTS

DATABASE = EVENTS / "events.db"
REVISION = "0003"
"""The newest migration."""


def connect(path: Path = DATABASE) -> Engine:
    """An engine for the database at ``path``; nothing is opened yet."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # with WAL, a commit that is not synchronous may be lost with the power, but the journal still has its events
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -2000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def existing() -> Engine:
    """An engine for the running server's database.

    Raises:
        PostroadError: there is none.
    """
    if not DATABASE.exists():
        raise PostroadError(f"no events are kept in {EVENTS}: events.enabled is false, or the server has not run yet")
    return connect()


def reason(error: Exception) -> str:
    """What the database itself said, where SQLAlchemy wraps it."""
    return str(getattr(error, "orig", None) or error)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Make an error of the database one that a person can act on: it can't be ``what``, such as ``read``.

    Raises:
        PostroadError: there was one.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise PostroadError(f"the event store can't be {what}: {reason(error)}") from error


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this Postroad."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == REVISION


def upgrade(engine: Engine) -> None:
    """Bring the tables up to date.

    Raises:
        alembic.util.CommandError: they are a newer Postroad's.
    """
    from alembic import command  # noqa: PLC0415 - needed once, and large
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each statement would stand for itself
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
