"""A message as a receiver of the pretend internet filed it: its envelope, and what the receiver found. Pure."""

import re
from email.message import Message
from email.parser import BytesHeaderParser
from typing import TypedDict


class Found(TypedDict):
    """What is known of a stored message, for JSON.

    Attributes:
        sender: the envelope's, empty for the null sender; ``recipient`` likewise, spelt as it came.
        mx: the receiver's name.
        tls: such as TLSv1.3; empty where it came in the clear.
        verdicts: ``dkim``, ``spf`` and ``dmarc``: pass, fail, none ... (RFC 8601), of several the first; without those
            that the receiver did not check.
        message_id: its Message-ID.
        headers: names and values, unfolded, in order.
    """

    sender: str
    recipient: str
    mx: str
    tls: str
    verdicts: dict[str, str]
    message_id: str
    headers: list[tuple[str, str]]


def found(raw: bytes) -> Found:
    """Read a stored message: the receiver's own header fields are on top, lines end in LF."""
    header = BytesHeaderParser().parsebytes(raw)
    received = _field(header, "Received")
    mx = _search(r"\bby (\S+) ", received)
    results = [_unfolded(field) for field in header.get_all("Authentication-Results", [])]
    # of this receiver alone: what came along in others' names says nothing
    own = " ".join(field for field in results if field.startswith(f"{mx};"))
    methods = {method: _search(rf"; {method}=(\w+)", own) for method in ("dkim", "spf", "dmarc")}
    return {
        "sender": _field(header, "Return-Path").strip("<>"),
        "recipient": _field(header, "X-Original-To"),
        "mx": mx,
        "tls": _search(r"\(using (\S+) ", received),
        "verdicts": {method: verdict for method, verdict in methods.items() if verdict},
        "message_id": _field(header, "Message-ID"),
        "headers": [(name, _unfolded(value)) for name, value in header.items()],
    }


def _field(header: Message, name: str) -> str:
    return _unfolded(header.get(name, ""))


def _unfolded(value: object) -> str:
    # what is not ASCII comes as surrogates, which JSON and a terminal would not take
    return " ".join(str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
