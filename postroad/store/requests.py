"""Requests of the HTTP API that are made once, however often they are sent: idempotency keys, kept for a day."""

import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, and_, delete, insert, select, update

from postroad.store import database
from postroad.store.schema import REQUESTS

KEEP = 24 * 3600.0
"""Seconds for which a request is known."""


@dataclass(frozen=True)
class Request:
    """A request that came before under the same key.

    Attributes:
        digest: of its body.
        message_id: the Message-ID of its message; may be empty.
        answer: what was answered; None: that is not known, as it is under way, or broke off.
    """

    digest: str
    message_id: str
    answer: str | None


def begin(engine: Engine, api_key: str, key: str, digest: str, message_id: str) -> Request | None:
    """Note a request; return the one that came before under the same key, of which nothing changes.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    now = time.time()
    with database.writing(engine, database.REQUESTERS) as connection:
        # a write comes first: SQLite gives no lock to a transaction that has read what another has changed since
        connection.execute(delete(REQUESTS).where(REQUESTS.c.time < now - KEEP))
        columns = (REQUESTS.c.digest, REQUESTS.c.message_id, REQUESTS.c.answer)
        found = connection.execute(select(*columns).where(_is(api_key, key))).one_or_none()
        if found is not None:
            return Request(found.digest, found.message_id or "", found.answer)
        about = {"api_key": api_key, "idempotency_key": key, "digest": digest, "message_id": message_id}
        connection.execute(insert(REQUESTS).values(time=now, **about))
    return None


def finish(engine: Engine, api_key: str, key: str, answer: str) -> None:
    """Note what was answered.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    with database.writing(engine, database.REQUESTERS) as connection:
        connection.execute(update(REQUESTS).where(_is(api_key, key)).values(answer=answer))


def abandon(engine: Engine, api_key: str, key: str) -> None:
    """Forget a request that came to nothing: it may be made again.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be written.
    """
    with database.writing(engine, database.REQUESTERS) as connection:
        connection.execute(delete(REQUESTS).where(_is(api_key, key)))


def _is(api_key: str, key: str) -> ColumnElement[bool]:
    return and_(REQUESTS.c.api_key == api_key, REQUESTS.c.idempotency_key == key)
