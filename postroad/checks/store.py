"""Whether the event database, where it is a server, answers, has our tables, and tells of other relays' changes."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.errors import plainly
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT
from postroad.store import database, relays

ID = "store"
SHORT = False

KEPT = "mail goes on without it, and events wait on the state volume; look at events.store"


def run(context: Context) -> Iterator[Finding]:
    """One finding; none where events are kept in SQLite."""
    if not context.config.events.store:
        return
    try:
        settings = recording.load(CURRENT)
    except (OSError, ValueError) as error:
        message = "it is not known how the event database is reached: there is no running server here"
        yield Finding(ID, Level.INFO, message, plainly(error), "run this in the server's container", unknown=True)
        return
    yield look(settings)


def look(settings: recording.Settings) -> Finding:
    """What is so of the database that these settings name."""
    if unreachable := database.unreachable(settings):
        why = unreachable[0].removeprefix("At 'events.store': ").removesuffix(database.KEPT)
        return Finding(ID, Level.WARNING, "the event database can't be used", why, KEPT)
    from postroad.store import watch  # noqa: PLC0415 - it needs PostgreSQL's driver

    engine = database.opened(settings)
    where = database.place(engine)
    try:
        if not database.is_current(engine):
            return Finding(ID, Level.WARNING, "the event database has not got our tables yet", where, KEPT)
        with engine.connect() as connection:
            encoding = connection.execute(text("SHOW server_encoding")).scalar()
            names = ", ".join(sorted(relays.names(connection).values()))
        hears = watch.hears(engine)
    except SQLAlchemyError as error:
        why = " ".join(database.reason(error).split())
        return Finding(ID, Level.WARNING, "the event database can't be used", f"{where}: {why}", KEPT)
    finally:
        engine.dispose()
    how = (
        "at once" if hears else f"within {watch.POLL:g} s, as notifications do not pass (a pooler in transaction mode)"
    )
    seen = f"{where}, encoding {encoding}; relays: {names or 'none yet'}; changes by others are seen {how}"
    return Finding(ID, Level.OK, "the event database answers", seen)
