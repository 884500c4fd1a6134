"""The database, and all in which SQLite and PostgreSQL differ.

SQLite lies on the state volume, in WAL mode, so that commands read while the recorder writes. PostgreSQL is where
``events.store`` says, and its driver is loaded only then.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from postroad import system
from postroad.errors import PostroadError
from postroad.runtime import plan, recording
from postroad.runtime.paths import CURRENT, EVENTS
from postroad.store.schema import ASCII_ONLY
from postroad.store.schema import EVENTS as TABLE

DATABASE = EVENTS / "events.db"
JOURNAL_ID = EVENTS / "journal-id"
REVISION = "0008"
"""The newest migration."""
VERSIONS = Path(__file__).with_name("migrations") / "versions"
CHECKPOINT = 200
"""Pages of 4 KiB in SQLite's write-ahead log after which they go into the database (PRAGMA wal_autocheckpoint). Only a
commit shortens the log, and on a full disk there is none.
"""
WRITERS_CACHE, READERS_CACHE = 2000, 256
"""KiB of pages that a connection to SQLite keeps: those of its transaction. A reader has the kernel's cache."""
SERVER_PATIENCE: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
    "application_name": "postroad",
}
"""libpq's parameters: a server that is gone is noticed within a minute; what stands in the URL goes first."""
MADE = 15.0
"""Seconds that a command waits for the recorder to make the tables, or to bring them up to date."""
SESSION: Mapping[str, Any] = {"client_encoding": "utf8", "prepare_threshold": None}
"""Of each session: text in UTF-8 whatever the database's encoding; no prepared statements, which a pooler may lose."""
ANY_TEXT = frozenset({"UTF8", "SQL_ASCII"})
"""Encodings of a database that hold any UTF-8: the second checks and converts nothing."""
WRITERS = 0x706F7374
"""The advisory lock that writers hold, one after the other: relays that share a database, and the commands."""
IDLE = 30.0
"""Seconds that a writer may be silent within its transaction."""
KEPT = "; mail goes on without it, and events wait on the state volume"
RETENTION = 0x706F7375
"""The advisory lock of the relay that removes what is too old."""
REQUESTERS = 0x706F7379
"""The advisory lock of those who note what the HTTP API is told: the recorder's batches hold up none of them."""
SAMPLE, OVERHEAD = 1000, 300
"""How many rows tell the size of all, and what one takes in its page and in the indexes, in octets."""


class NewerDatabaseError(PostroadError):
    """The tables were made by a newer Postroad."""


def connect(path: Path = DATABASE, cache: int = WRITERS_CACHE) -> Engine:
    """An engine for the SQLite database at ``path``, with a cache of so many KiB; nothing is opened yet."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # with WAL, a commit that is not synchronous may be lost with the power, but the journal still has its events
        for pragma in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"cache_size = -{cache}",
            "temp_store = MEMORY",
            f"wal_autocheckpoint = {CHECKPOINT}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def connect_server(url: str, password: str | None) -> Engine:
    """An engine for the PostgreSQL database at ``url``, which holds no password; nothing is opened yet."""
    full: URL = make_url(url).set(drivername="postgresql+psycopg", password=password)
    arguments = {name: value for name, value in SERVER_PATIENCE.items() if name not in full.query} | dict(SESSION)
    # pre-ping: a server that was restarted has closed what the pool holds
    pool = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 2, "pool_timeout": 5}
    engine = create_engine(full, connect_args=arguments, **pool)

    @event.listens_for(engine, "connect")
    def _note_encoding(connection: Any, _: Any) -> None:
        setattr(engine.dialect, ASCII_ONLY, connection.info.parameter_status("server_encoding") not in ANY_TEXT)

    return engine


def opened(settings: recording.Settings) -> Engine:
    """An engine for the database that the recorder's settings name; nothing is opened yet."""
    return connect_server(settings.store.url, settings.store.password) if settings.store else connect()


def unreachable(settings: recording.Settings) -> list[str]:
    """A warning where the PostgreSQL database that the recorder's settings name can't be reached just now."""
    if not settings.store:
        return []
    engine = opened(settings)
    try:
        is_current(engine)
    except (SQLAlchemyError, NewerDatabaseError) as error:
        why = str(error) if isinstance(error, NewerDatabaseError) else reason(error)
        return [f"At 'events.store': {place(engine)} can't be used: {' '.join(why.split())}{KEPT}"]
    finally:
        engine.dispose()
    return []


def existing(patience: float = MADE) -> Engine:
    """An engine for the running server's database; waits some seconds for the tables of one that has just begun.

    Raises:
        PostroadError: there is none, it can't be read, or its tables are not made.
    """
    settings = recording.load(CURRENT) if (CURRENT / recording.FILE).exists() else None
    until = time.monotonic() + patience
    in_file = not (settings and settings.store)
    while in_file and not DATABASE.exists() and _is_recorded() and time.monotonic() < until:
        time.sleep(0.1)
    if in_file and not DATABASE.exists():
        raise PostroadError(
            f"no events are kept in {EVENTS}: run this in the server's container (`docker compose exec postroad"
            " postroad ...`) after its first start; with events.enabled: false there are none"
        )
    engine = opened(settings) if settings and settings.store else connect(cache=READERS_CACHE)
    with told("read"):
        while not is_current(engine):
            if time.monotonic() > until:
                raise PostroadError(
                    f"the tables of {place(engine)} are not those of this version yet: the server makes them at its"
                    " start; its log says what keeps it from that"
                )
            time.sleep(0.1)
    return engine


def _is_recorded() -> bool:
    """Whether a server that keeps events runs in this container."""
    try:
        return plan.load(CURRENT / plan.FILE).journal
    except (OSError, ValueError):
        return False


def is_server(engine: Engine | Connection) -> bool:
    """Whether this is PostgreSQL: it may be slow or gone, and others may write to it."""
    return engine.dialect.name == "postgresql"


def place(engine: Engine) -> str:
    """Where the database is, for a message: the file, or the URL without its password."""
    if not is_server(engine):
        return str(engine.url.database)
    url = engine.url
    return str(URL.create("postgresql", url.username, None, url.host, url.port, url.database))


def reason(error: Exception) -> str:
    """What the database itself said, where SQLAlchemy wraps it; a server's without the statement and its values."""
    said = getattr(error, "orig", None) or error
    return str(getattr(getattr(said, "diag", None), "message_primary", None) or said)


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


@contextmanager
def writing(engine: Engine, task: int = WRITERS) -> Iterator[Connection]:
    """A transaction that writes. Writers, or those at ``task``, go one after the other, as SQLite has it by itself.

    A server ends a transaction in which nothing is asked for ``IDLE``: a relay whose host is gone would hold up the
    others until TCP gives it up, by default after two hours.
    """
    with engine.begin() as connection:
        if is_server(engine):
            limit = func.set_config("idle_in_transaction_session_timeout", f"{IDLE * 1000:.0f}", True)
            connection.execute(select(limit, func.pg_advisory_xact_lock(task)))
        yield connection


@contextmanager
def alone(engine: Engine, task: int) -> Iterator[bool]:
    """Whether this relay may do a task that one does at a time: until the end, it has the task's advisory lock."""
    if not is_server(engine):
        yield True
        return
    with engine.begin() as connection:
        yield bool(connection.execute(select(func.pg_try_advisory_xact_lock(task))).scalar())


def journal(engine: Engine) -> int:
    """Which row of ``position`` is this state volume's journal's: relays may share a server's database.

    Raises:
        OSError, InstallError: the state volume can't be read or written.
    """
    if not is_server(engine):
        return 1
    if not JOURNAL_ID.exists():
        system.write(JOURNAL_ID, f"{secrets.randbelow(2**31 - 2) + 2}\n")
    return int(JOURNAL_ID.read_text())


def settle(connection: Connection) -> None:
    """Let all that was committed be on the disk; a server sees to that itself."""
    if not is_server(connection):
        connection.execute(text("PRAGMA wal_checkpoint(FULL)"))


def size(connection: Connection) -> int:
    """Octets that the events and their indexes take, without other tables and what removed events left free.

    SQLite counts its pages (https://sqlite.org/dbstat.html). A server's file does not shrink: there the size is
    estimated from the number of rows and the size of the newest.
    """
    if not is_server(connection):
        trees = {f"tree{i}": name for i, name in enumerate([TABLE.name, *(str(index.name) for index in TABLE.indexes)])}
        names = ", ".join(f":{key}" for key in trees)
        counted = f"SELECT sum(pgsize - unused) FROM dbstat WHERE aggregate = TRUE AND name IN ({names})"  # noqa: S608
        return int(connection.execute(text(counted), trees).scalar() or 0)
    number = connection.execute(select(func.count()).select_from(TABLE)).scalar_one()
    newest = select(func.pg_column_size(text("events.*")).label("octets")).select_from(TABLE)
    sample = newest.order_by(TABLE.c.id.desc()).limit(SAMPLE).subquery()
    return int(number * (float(connection.execute(select(func.avg(sample.c.octets))).scalar() or 0) + OVERHEAD))


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this Postroad.

    Raises:
        NewerDatabaseError: they are a newer one's.
    """
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found and not any(VERSIONS.glob(f"{found}_*.py")):
        raise NewerDatabaseError(
            f"{place(engine)} was made by a newer Postroad (its tables are {found}, these are {REVISION}): run that"
            " version or a newer one, or let events begin anew in another database"
        )
    return found == REVISION


def upgrade(engine: Engine) -> None:
    """Bring the tables up to date."""
    from alembic import command  # noqa: PLC0415 - needed once, and large
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    with writing(engine) as connection:
        if not is_server(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each statement would stand for itself
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
