"""A message as a receiver of the pretend internet filed it: its envelope, and what the receiver found. Pure."""

import re
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
    headers = [(name, _unfolded(value)) for name, value in BytesHeaderParser().parsebytes(raw).raw_items()]
    first = {name.lower(): value for name, value in reversed(headers)}
    received = first.get("received", "")
    mx = _search(r"\bby (\S+) ", received)
    # of this receiver alone: what came along in others' names says nothing
    results = [value for name, value in headers if name.lower() == "authentication-results"]
    own = " ".join(value for value in results if value.startswith(f"{mx};"))
    methods = {method: _search(rf"; {method}=(\w+)", own) for method in ("dkim", "spf", "dmarc")}
    return {
        "sender": first.get("return-path", "").strip("<>"),
        "recipient": first.get("x-original-to", ""),
        "mx": mx,
        "tls": _search(r"\(using (\S+) ", received),
        "verdicts": {method: verdict for method, verdict in methods.items() if verdict},
        "message_id": first.get("message-id", ""),
        "headers": headers,
    }


def _unfolded(value: str) -> str:
    # octets that are not ASCII come as surrogates, which JSON and a terminal would not take
    return " ".join(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())


def _search(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
