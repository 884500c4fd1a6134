"""The TLS sessions of attempts at delivery. sendmail logs a session beside its message: the same process has both."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from postroad.store.schema import EVENTS

ATTEMPTS = frozenset(("deferred", "delivered", "bounced"))
BEFORE = 300.0
"""Seconds before the end of an attempt in which its session may have begun."""
MOST_ATTEMPTS, MOST_SESSIONS = 20, 1000
"""Attempts whose sessions are looked for, the newest; and sessions that are looked at for one of them."""


def of_attempts(engine: Engine, events: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The event ``tls`` of each attempt among a message's events, by the attempt's number among these.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    found: dict[int, dict[str, Any]] = {}
    tried = [(i, each) for i, each in enumerate(events) if each.get("event") in ATTEMPTS and each.get("relay_host")]
    with engine.connect() as connection:
        for i, attempt in tried[-MOST_ATTEMPTS:]:
            end = datetime.fromisoformat(str(attempt["time"])).timestamp()
            sessions = connection.execute(
                select(EVENTS.c.data)
                .where(EVENTS.c.kind == "tls", EVENTS.c.time > end - BEFORE, EVENTS.c.time <= end)
                .order_by(EVENTS.c.time.desc())
                .limit(MOST_SESSIONS)
            )
            if (session := _session(attempt, (row.data for row in sessions))) is not None:
                found[i] = session
    return found


def _session(attempt: Mapping[str, Any], sessions: Iterable[str]) -> dict[str, Any] | None:
    for data in sessions:
        session: dict[str, Any] = json.loads(data)
        if (
            session.get("side") == "client"
            and session.get("pid") == attempt.get("pid")
            and session.get("relay_host") in {None, attempt["relay_host"]}
        ):
            return session
    return None
