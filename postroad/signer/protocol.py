"""The milter protocol (version 6), as sendmail speaks it: one session's packets in, answers out. No I/O.

The steps that are not needed are switched off, so that sendmail waits for an answer at MAIL, RCPT and the end
of the message only. Numbers and names are those of ``libmilter/mfdef.h``.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from postroad.signer.canonical import BodyHash
from postroad.signer.envelope import PARAMETER, refused_recipient, refused_sender
from postroad.signer.policy import Refusal

_VERSION = 6
_ADD_HEADERS, _CHANGE_HEADERS, _SET_MACROS = 0x1, 0x10, 0x100
_ACTIONS = _ADD_HEADERS | _CHANGE_HEADERS | _SET_MACROS
# NOCONNECT, NOHELO, NOUNKNOWN, NODATA, NOEOH; NR_HDR, NR_BODY: no answer; HDR_LEADSPC: values whole
_STEPS = 0x1 | 0x2 | 0x100 | 0x200 | 0x40 | 0x80 | 0x80000 | 0x100000
_STAGES = 7
_RESOLVED = b"{rcpt_addr}"
# by stage: at RCPT the address that sendmail will name to the receiver, and at the message's end who it is from
_MACROS = {3: _RESOLVED, 5: b"i {auth_authen}"}

LARGEST_PACKET = 1 << 24
"""Octets: sendmail sends a body in pieces of 64 KB and each header field whole."""


class ProtocolError(Exception):
    """sendmail said something that can't be answered: the session is over, and sendmail answers 451."""


@dataclass
class Envelope:
    """A message as it arrives.

    Attributes:
        headers: its fields in order: name, and value whole.
        body: the hash of its body.
        macros: what sendmail says of it, by their names.
        spoilt: why it is refused at its end, whatever is in it. sendmail keeps the ORCPT of a recipient that was
            refused where the same recipient was taken before, and puts it into bounces.
        sender: MAIL's path as the client gave it.
        recipients: RCPT's paths as the client gave them, and the address that sendmail names to the receiver.
    """

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: BodyHash = field(default_factory=BodyHash)
    macros: dict[bytes, bytes] = field(default_factory=dict)
    spoilt: Refusal | None = None
    recipients: list[tuple[bytes, bytes]] = field(default_factory=list)
    sender: bytes = b""


Answer = Sequence[bytes]
"""Packets, the last of which says what becomes of the message."""


def packet(command: bytes, data: bytes = b"") -> bytes:
    """A packet as it goes over the socket."""
    return struct.pack(">I", len(data) + 1) + command + data


def insert(name: bytes, value: bytes) -> bytes:
    """Put a field above all others; the value has its own leading space (HDR_LEADSPC)."""
    return packet(b"i", struct.pack(">I", 0) + name + b"\0" + value + b"\0")


def add(name: bytes, value: bytes) -> bytes:
    """Put a field below all others."""
    return packet(b"h", name + b"\0" + value + b"\0")


def change(name: bytes, index: int, value: bytes | None) -> bytes:
    """Give the ``index``-th field of that name, from 1, another value; without one remove it."""
    return packet(b"m", struct.pack(">I", index) + name + b"\0" + (value or b"") + b"\0")


def refuse(code: str, status: str, text: str) -> bytes:
    """Refuse the message for good. A percent sign would be sendmail's own."""
    return packet(b"y", f"{code} {status} {text}".replace("%", "%%").encode("ascii", "replace") + b"\0")


ACCEPT = packet(b"a")
TRY_AGAIN = packet(b"t")


def _answer(refusal: Refusal | None) -> bytes:
    return packet(b"c") if refusal is None else refuse(refusal.code, refusal.status, refusal.text)


class MilterSession:
    """One connection of sendmail's: a client's session, with any number of messages."""

    def __init__(self, judge: Callable[[Envelope], Answer]) -> None:
        """Begin; ``judge`` answers for each message at its end."""
        self._judge = judge
        self._buffer = b""
        self._message = Envelope()

    def feed(self, data: bytes) -> bytes | None:
        """Take what arrived; return what is to be sent, or None where the session is over.

        Raises:
            ProtocolError: it can't go on.
        """
        buffer = self._buffer + data if self._buffer else data
        at, end, out = 0, len(buffer), []
        while end - at >= 5:
            size = int.from_bytes(buffer[at : at + 4], "big")
            if not 0 < size <= LARGEST_PACKET:
                raise ProtocolError(f"a packet of {size} octets")
            if end - at - 4 < size:
                break
            command, content = buffer[at + 4 : at + 5], buffer[at + 5 : at + 4 + size]
            at += 4 + size
            if command == b"Q":
                return None
            out.append(self._take(command, content))
        self._buffer = buffer[at:]
        return b"".join(out)

    def _take(self, command: bytes, content: bytes) -> bytes:
        match command:
            case b"O":
                return self._negotiate(content)
            case b"D":
                parts = content[1:].split(b"\0")
                self._message.macros.update(zip(parts[::2], parts[1::2], strict=False))
            case b"M":
                arguments = content.removesuffix(b"\0").split(b"\0")
                self._message = Envelope(sender=arguments[0])
                return _answer(refused_sender(arguments))
            case b"R":
                return self._recipient(content)
            case b"L":
                name, _, rest = content.partition(b"\0")
                self._message.headers.append((name, rest.removesuffix(b"\0")))
            case b"B":
                self._message.body.update(content)
            case b"E":
                return self._end(content)
            case b"A" | b"K":
                self._message = Envelope()
            case _:
                raise ProtocolError(f"command {command!r}")
        return b""

    def _recipient(self, content: bytes) -> bytes:
        arguments = content.removesuffix(b"\0").split(b"\0")
        refusal = refused_recipient(arguments)
        resolved = self._message.macros.pop(_RESOLVED, b"")
        if refusal is None:
            self._message.recipients.append((arguments[0], resolved))
        if refusal and refusal.status == PARAMETER:
            self._message.spoilt = refusal
        return _answer(refusal)

    def _end(self, content: bytes) -> bytes:
        self._message.body.update(content)
        message, self._message = self._message, Envelope()
        if message.spoilt:
            return refuse("550", message.spoilt.status, message.spoilt.text)
        return b"".join(self._judge(message))

    @staticmethod
    def _negotiate(content: bytes) -> bytes:
        version, actions, steps = struct.unpack(">III", content[:12])
        if version < _VERSION or actions & _ACTIONS != _ACTIONS or steps & _STEPS != _STEPS:
            raise ProtocolError(f"sendmail offers version {version}, actions {actions:#x}, steps {steps:#x}")
        wanted = (_MACROS.get(stage, b"") for stage in range(_STAGES))
        macros = b"".join(struct.pack(">I", stage) + names + b"\0" for stage, names in enumerate(wanted))
        return packet(b"O", struct.pack(">III", _VERSION, _ACTIONS, _STEPS) + macros)
