"""The JSON Schema of what webhooks get, from the events' classes: ``docs/webhook.schema.json``.

``python -m dev.webhook_schema`` prints it.
"""

import json
import sys
from dataclasses import fields
from typing import Any, get_type_hints

from postroad.events import model
from postroad.webhooks.envelope import GAP, PING, type_of

KINDS: tuple[type[model.Event], ...] = (
    model.Accepted,
    model.Rejected,
    model.Signed,
    model.Queued,
    model.Deferred,
    model.Delivered,
    model.Bounced,
    model.Complained,
    model.Unsubscribed,
    model.Notified,
    model.Reported,
    model.BounceRate,
    model.ComplaintRate,
    model.Slowed,
    model.Paused,
    model.Resumed,
    model.Doctor,
)
"""What a webhook can ask for, besides ``gap``."""
TYPES: dict[object, str] = {str: "string", int: "integer", bool: "boolean", float: "number"}
ADDED = {
    "deferred": {"class": "string", "hard": "boolean"},
    "bounced": {"class": "string", "hard": "boolean"},
    "rejected": {"class": "string"},
}
"""What the store adds to an event: the class of a failure."""


def schema() -> dict[str, Any]:
    """The schema of one CloudEvent; further fields may come, so none is forbidden."""
    data = {kind.kind: _data(kind) for kind in KINDS}
    data[GAP] = {"since": {"type": "number"}, "lost": {"type": ["integer", "null"]}}
    data[PING] = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a webhook of Postroad gets: a CloudEvent (1.0, JSON format)",
        "description": "docs/events.md says what the fields of data mean.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid", "description": "The same each time this event is sent."},
            "source": {"type": "string", "format": "uri-reference", "description": "hostname, as configured."},
            "subject": {"type": "string", "description": "The queue id, where there is one."},
            "time": {"type": "string", "format": "date-time", "description": "When it happened."},
            "datacontenttype": {"const": "application/json"},
        },
        "oneOf": [
            {
                "properties": {
                    "type": {"const": type_of(kind)},
                    "data": {
                        "type": "object",
                        "required": ["event"],
                        "properties": {"event": {"const": kind}, **properties},
                    },
                }
            }
            for kind, properties in data.items()
        ],
    }


def _data(kind: type[model.Event]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    found: dict[str, Any] = {"time": {"type": "string", "format": "date-time"}}
    for field in fields(kind):
        if field.name != "time":
            (hint,) = (hints[field.name],) if hints[field.name] in TYPES else (hints[field.name].__args__[0],)
            found[field.name] = {"type": TYPES[hint]}
    if "message_id" in found:
        found["tags"] = {"type": "array", "items": {"type": "string"}}
    return found | {name: {"type": of} for name, of in ADDED.get(kind.kind, {}).items()}


def text() -> str:
    """The schema as it is kept."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
