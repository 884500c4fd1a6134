"""What people and programs ask of webhooks, by the command and by the HTTP API: their states, dead letters, a test."""

import time
import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, select

from postroad.runtime.recording import Hook
from postroad.store.schema import COUNTERS
from postroad.times import stamp
from postroad.webhooks import envelope, outbox
from postroad.webhooks.outbox import OutboxEvent

RESULTS = ("delivered", "lost")


def states(engine: Engine, webhooks: Iterable[Hook]) -> list[dict[str, Any]]:
    """Each webhook, configured or with events that wait: what waits, what it took, why it took no more.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the store can't be read.
    """
    hooks = {hook.name: hook for hook in webhooks}
    with engine.connect() as connection:
        waiting = outbox.states(connection)
        rows = connection.execute(select(COUNTERS).where(COUNTERS.c.name.like("webhook!_%", escape="!"))).all()
    counted = {(row.name, row.labels): row.value for row in rows}
    nothing = {"pending": 0, "dead": 0, "oldest": None, "error": None, "failed": None}
    return [
        {
            "name": name,
            "url": hooks[name].url if name in hooks else None,
            "types": list(hooks[name].types) if name in hooks else [],
            "pending": (state := waiting.get(name, nothing))["pending"],
            "dead": state["dead"],
            **{result: counted.get(("webhook_events", f"{name},{result}"), 0) for result in RESULTS},
            "failed": counted.get(("webhook_attempts_failed", name), 0),
            "oldest": _when(state["oldest"]),
            "error": state["error"],
            "failed_at": _when(state["failed"]),
        }
        for name in [*hooks, *sorted(set(waiting) - set(hooks))]
    ]


def letter(entry: OutboxEvent) -> dict[str, Any]:
    """A dead letter, with its event."""
    return {
        "id": entry.uid,
        "webhook": entry.webhook,
        "type": envelope.type_of(entry.event["event"]),
        "attempts": entry.attempts,
        "added": _when(entry.added),
        "failed": _when(entry.failed),
        "error": entry.error,
        "event": entry.event,
    }


def ping(hook: Hook, hostname: str) -> dict[str, Any]:
    """Post a signed ``postroad.ping.v1``, and tell what is answered."""
    from postroad.webhooks.post import Receiver  # noqa: PLC0415 - TLS is slow to load

    begun, uid = time.monotonic(), str(uuid.uuid4())
    receiver = Receiver(hook, hostname)
    try:
        answer = receiver.post(uid, time.time(), {"event": envelope.PING})
    finally:
        receiver.close()
    seconds = round(time.monotonic() - begun, 3)
    return {"name": hook.name, "id": uid, "status": answer.status, "error": answer.error or None, "seconds": seconds}


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else stamp(seconds)
