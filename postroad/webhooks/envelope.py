"""What is posted to a webhook: the choice of events, the CloudEvents envelope, the signature."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from postroad import domains
from postroad.runtime.recording import Hook

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
GAP, PING = "gap", "ping"
OF_SERVER = frozenset({GAP, PING, "doctor", "reported", "bounce_rate", "complaint_rate", "slowed", "paused", "resumed"})
"""Event kinds about the server rather than a message."""


def wants(hook: Hook, row: Mapping[str, Any]) -> bool:
    """Whether a webhook gets the event of this row of the store.

    Events about the server pass the domain filters, but where they are about a sender domain and it is another one.
    """
    if row["kind"] not in hook.types:
        return False
    return all(
        not patterns
        or (row["kind"] in OF_SERVER if row[column] is None else any(domains.fits(row[column], p) for p in patterns))
        for patterns, column in ((hook.senders, "sender_domain"), (hook.recipients, "recipient_domain"))
    )


def type_of(kind: str) -> str:
    """The CloudEvents type of an event kind. A change that would break receivers needs a new version."""
    return f"postroad.{kind}.v1" if kind in OF_SERVER else f"postroad.message.{kind}.v1"


def body(source: str, uid: str, seconds: float, event: Mapping[str, Any]) -> bytes:
    """A CloudEvent in JSON format (CloudEvents 1.0, structured mode); docs/events.md describes ``data``.

    Args:
        source: the host name of this server.
        uid: the event's ID, the same at every attempt.
        seconds: when it happened, in seconds since the epoch.
        event: the event's fields, its kind as ``event``.
    """
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    subject = {"subject": event["queue_id"]} if event.get("queue_id") else {}
    whole = {"specversion": "1.0", "id": uid, "source": source, "type": type_of(event["event"]), **subject}
    whole |= {"time": event.get("time", stamp), "datacontenttype": "application/json", "data": event}
    return json.dumps(whole).encode()


def headers(uid: str, seconds: int, content: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The header fields of the Standard Webhooks specification, 1.0: HMAC-SHA256 over id, time and body.

    Args:
        uid: the event's ID.
        seconds: when it is sent, in seconds since the epoch.
        content: the body.
        secrets: the secrets in base64; each gives one signature.
    """
    signed = b".".join([uid.encode(), str(seconds).encode(), content])
    signatures = [hmac.digest(base64.b64decode(secret), signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": uid,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in signatures),
    }
