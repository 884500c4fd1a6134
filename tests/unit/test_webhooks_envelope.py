"""What webhooks get: the signature against openssl's, the filters, the envelope against its schema."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from dev import webhook_schema as envelope_schema
from postroad.config.webhooks import EventType
from postroad.events import own
from postroad.webhooks import envelope
from tests.unit import handed

HOOK = replace(handed.HOOK, types=("delivered", "bounced", "gap"))


def row(kind: str = "delivered", **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "sender_domain": "sender.example", "recipient_domain": "rcpt.example", **fields}


def test_the_signature_is_what_openssl_computes() -> None:
    """As `printf %s ID.TIME.BODY | openssl dgst -sha256 -mac HMAC -macopt hexkey:706f... -binary | base64` has it."""
    secret = "cG9zdHJvYWQgdGVzdCBzZWNyZXQsIDMyIGJ5dGVzIG8="
    assert base64.b64decode(secret).hex() == "706f7374726f61642074657374207365637265742c203332206279746573206f"
    fields = envelope.headers(
        "e3b0c442-98fc-4c14-9afb-f4c8996fb924", 1795514400, b'{"specversion": "1.0"}', [secret, "c2Vjb25k"]
    )
    first, second = fields.pop("webhook-signature").split(" ")
    assert first == "v1,h7AyNeO4NTOD7J1Ku/mXJxiE3jiSoqS6Hp/g8fVRsHQ="
    assert second.startswith("v1,")
    assert second != first
    assert fields == {"webhook-id": "e3b0c442-98fc-4c14-9afb-f4c8996fb924", "webhook-timestamp": "1795514400"}


@pytest.mark.parametrize(
    ("filters", "event", "expected"),
    [
        ({}, row(), True),
        ({}, row("deferred"), False),
        ({"senders": ["sender.example"]}, row(), True),
        ({"senders": ["other.example"]}, row(), False),
        ({"senders": [".example"]}, row(), True),
        ({"senders": [".sender.example"]}, row(), False),
        ({"senders": [".sender.example"]}, row(sender_domain="a.sender.example"), True),
        ({"senders": ["sender.example"]}, row(sender_domain="notsender.example"), False),
        ({"senders": ["sender.example"]}, row(sender_domain=None), False),
        ({"recipients": ["x.example", "rcpt.example"]}, row(), True),
        ({"senders": ["sender.example"], "recipients": ["x.example"]}, row(), False),
        ({"senders": ["sender.example"]}, row("gap", sender_domain=None, recipient_domain=None), True),
        ({"types": ["delivered"]}, row("gap"), False),
        ({"types": ["doctor"], "senders": ["sender.example"]}, row("doctor", sender_domain=None), True),
        ({}, row("doctor", sender_domain=None), False),
        ({"types": ["bounce_rate"], "senders": ["sender.example"]}, row("bounce_rate", recipient_domain=None), True),
        ({"types": ["bounce_rate"], "senders": ["other.example"]}, row("bounce_rate", recipient_domain=None), False),
        ({"types": ["bounce_rate"], "recipients": ["x.example"]}, row("bounce_rate", recipient_domain=None), True),
    ],
)
def test_filters(filters: dict[str, Any], event: dict[str, Any], expected: bool) -> None:
    assert envelope.wants(replace(HOOK, **filters), event) is expected


RECORDED = [
    event
    for path in sorted((Path(__file__).parents[1] / "logs").glob("*.json"))
    for event in json.loads(path.read_text())
    if event["event"] in get_args(EventType)
]


def test_every_recorded_event_fits_the_schema() -> None:
    check = jsonschema.Draft202012Validator(envelope_schema.schema(), format_checker=jsonschema.FormatChecker())
    assert {event["event"] for event in RECORDED} == set(get_args(EventType)) - {
        "gap", "doctor", "complained", "unsubscribed", "reported", "bounce_rate", "complaint_rate", "slowed", "paused", "resumed"
    }  # fmt: skip
    gap = {"event": "gap", "since": 1795514400.5, "lost": 3}
    doctor = {"event": "doctor", "check": "spf", "level": "ok", "message": "SPF passes", "failed_for": 3600}
    reported = {"event": "reported", "report": "tls", "domain": "x.example", "count": 7, "result": "success"}
    complained = {"event": "complained", "queue_id": "6AQI1x0d000048", "recipient": "a@y.example", "feedback": "abuse"}
    rates = [
        own.bounce_rate("braked", "x.example", 3, 7, 3600.0),
        own.complaint_rate("warning", "x.example", 2, 1500, 9.0),
    ]
    said = [{"event": kind, **json.loads(text)} for kind, text in (line.split(" ", 1) for line in rates)]
    others = [*said, doctor, complained, reported]
    for event in [*RECORDED, *others, {"event": "gap", "since": 1795514400.5}, gap, {"event": "ping"}]:
        whole = json.loads(
            envelope.body("mail.example.com", "e3b0c442-98fc-4c14-9afb-f4c8996fb924", 1795514400.25, event)
        )
        check.validate(whole)
        assert whole["data"] == event
        assert whole["time"] == event.get("time", "2026-11-24T10:00:00.250Z")
    for bad in ({"id": 7}, {"type": "postroad.message.opened.v1"}, {"data": {"event": "bounced"}}):
        assert not check.is_valid(whole | bad)


def test_the_schema_that_is_kept_is_current() -> None:
    kept = Path(__file__).parents[2] / "docs" / "webhook.schema.json"
    assert kept.read_text() == envelope_schema.text(), "run make generate"


def test_what_can_be_asked_for_is_what_the_schema_has() -> None:
    assert {kind.kind for kind in envelope_schema.KINDS} | {"gap"} == set(get_args(EventType))
