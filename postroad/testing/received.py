"""A message as a receiver of the pretend internet filed it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from typing import Any, Self


@dataclass(frozen=True)
class ReceivedMessage:
    """One message for one recipient.

    Attributes:
        raw: as it was filed: the receiver's own header fields on top, lines ending in LF.
        delivered_at: seconds since the epoch.
        sender: the envelope sender, empty for the null sender.
        recipient: the envelope recipient, spelt as it came.
        mx: the host name of the receiver that took it.
        tls_version: for instance TLSv1.3; empty when it came in the clear.
        verdicts: what the receiver found, by method: see ``verdict``.
        message_id: its Message-ID.
    """

    raw: bytes
    delivered_at: float
    sender: str
    recipient: str
    mx: str
    tls_version: str
    message_id: str
    verdicts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Of what the container's ``fetch`` prints."""
        same = ("delivered_at", "sender", "recipient", "mx", "message_id", "verdicts")
        return cls(raw=base64.b64decode(found["raw"]), tls_version=found["tls"], **{name: found[name] for name in same})

    @cached_property
    def message(self) -> EmailMessage:
        """The message, parsed: its fields by name, its parts."""
        return message_from_bytes(self.raw, policy=policy.default)

    @cached_property
    def body(self) -> bytes:
        """What follows the first empty line, undecoded."""
        return self.raw.partition(b"\n\n")[2]

    def verdict(self, method: str) -> str:
        """The receiver's own result for dkim, spf or dmarc: pass, fail, none ... (RFC 8601); of several the first.

        Empty when the receiver did not check.
        """
        return self.verdicts.get(method, "")
