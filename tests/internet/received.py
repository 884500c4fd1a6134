"""A message as a receiving MX of the pretend internet stored it."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from functools import cached_property


@dataclass(frozen=True)
class ReceivedMessage:
    """One message for one recipient: the MX's own header fields on top, lines ending in LF."""

    raw: bytes
    delivered_at: float  # seconds since the epoch

    @cached_property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.raw, policy=policy.default)

    @cached_property
    def _header(self) -> Message:
        # as it stands: the fields of the policy above are parsed, and a broken one may raise
        return BytesHeaderParser().parsebytes(self.raw)

    @cached_property
    def body(self) -> bytes:
        """What follows the first empty line, undecoded."""
        return self.raw.partition(b"\n\n")[2]

    @property
    def sender(self) -> str:
        """The envelope sender, empty for the null sender."""
        return self._field("Return-Path").strip("<>")

    @property
    def recipient(self) -> str:
        """The envelope recipient, spelt as it came."""
        return self._field("X-Original-To")

    @property
    def message_id(self) -> str:
        return self._field("Message-ID")

    @property
    def mx(self) -> str:
        """The host name of the MX that took it."""
        return _search(r"\bby (\S+) ", self._field("Received"))

    @property
    def tls_version(self) -> str:
        """For instance TLSv1.3; empty when it came in the clear."""
        return _search(r"\(using (\S+) ", self._field("Received"))

    def verdict(self, method: str) -> str:
        """The MX's own result for dkim, spf or dmarc: pass, fail, none ... (RFC 8601); of several the first.

        Empty when the MX did not check.
        """
        fields = (" ".join(str(field).split()) for field in self._header.get_all("Authentication-Results", []))
        return _search(rf"; {method}=(\w+)", " ".join(field for field in fields if field.startswith(f"{self.mx};")))

    def _field(self, name: str) -> str:
        return " ".join(str(self._header.get(name, "")).split())


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
