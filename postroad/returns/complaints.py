"""Complaints of feedback loops: the Abuse Reporting Format (RFC 5965). Pure."""

import email
import email.policy
import re

from postroad.returns.found import Complaint
from postroad.returns.message import Parsed, address, field, parts

KINDS = frozenset({"abuse", "fraud", "not-spam", "opt-out", "virus", "other"})
"""RFC 5965 (section 7.3), RFC 6430 for ``not-spam``; ``opt-out`` is Yahoo's and others'."""

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


def read(message: Parsed) -> Complaint | None:
    """What a report says; None where the message is none.

    Providers redact: of the addressee, the envelope and the Message-ID, one at least is usually left.
    """
    report = next((part for kind, part in parts(message) if kind == "message/feedback-report"), None)
    if report is None:
        return _of_microsoft(message)
    # the standard library takes the fields of this type for a message's, in which they are the header
    payload = report.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else None
    fields: Parsed = inner if isinstance(inner, type(message)) else _fields(report)
    original = _original(message)
    kind = field(fields, "Feedback-Type", 40).lower()
    senders = [address(field(fields, "Original-Mail-From"))]
    recipient = address(field(fields, "Original-Rcpt-To")) or address(field(fields, "Removal-Recipient"))
    message_id = None
    if original is not None:
        senders += [address(field(original, name)) for name in ("Return-Path", "X-Original-Mail-From")]
        found = _MESSAGE_ID.search(field(original, "Message-ID"))
        message_id = found[0] if found else None
    reporter = field(fields, "Reporting-MTA", 200).rpartition(";")[2].strip() or field(fields, "User-Agent", 200)
    return Complaint(
        kind if kind in KINDS else "other",
        recipient,
        tuple(dict.fromkeys(each for each in senders if each)),
        message_id,
        reporter or None,
    )


def _of_microsoft(message: Parsed) -> Complaint | None:
    """Outlook's loop (JMRP) sends the message itself, with the addressee in a field of its own."""
    original = _original(message)
    recipient = None if original is None else address(field(original, "X-HmXmrOriginalRecipient"))
    if original is None or recipient is None:
        return None
    senders = tuple(filter(None, [address(field(original, "Return-Path"))]))
    found = _MESSAGE_ID.search(field(original, "Message-ID"))
    return Complaint("abuse", recipient, senders, found[0] if found else None, "Outlook.com JMRP")


def _fields(report: Parsed) -> Parsed:
    content = report.get_payload(decode=True)
    return email.message_from_bytes(
        content.lstrip() if isinstance(content, bytes) else b"", policy=email.policy.compat32
    )


def _original(message: Parsed) -> Parsed | None:
    """The message that the complaint is about, or its header."""
    for kind, part in parts(message):
        payload = part.get_payload()
        if kind == "message/rfc822" and isinstance(payload, list) and payload and isinstance(payload[0], type(message)):
            return payload[0]
        if kind in {"text/rfc822-headers", "text/rfc822", "message/rfc822-headers"}:
            return _fields(part)
    return None
