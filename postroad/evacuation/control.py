"""What of a control file goes to another relay; pure.

All of it goes as it is, except for lines that name places of the queue it leaves. What sendmail could take for a
command to run, or for mail of another user, is refused: the sender is a peer, but a file may be damaged.
sendmail's Installation and Operation Guide, appendix B, has the lines; ``readqf()`` in queue.c reads them.
"""

import re
from dataclasses import dataclass

VERSION = b"V8"
"""The version that sendmail 8.18.1 writes first."""
LARGEST = 1 << 24
"""Octets of a control file; those of sendmail's have a message's header, and a line or two for each recipient."""
_KNOWN = frozenset(b"VTKNPFBAZSQrRM$H!")
_PLACES = frozenset(b"Id")
"""The body's inode, and the folder that it is in where that is another one."""
_UNSAFE = (b"|", b"/", b":")
_MESSAGE_ID = re.compile(rb"Message-Id:[ \t]*(.*)", re.IGNORECASE | re.DOTALL)
_FLAGS = re.compile(rb"\?[^?]*\?")


class ControlError(ValueError):
    """A control file that can't go to another relay; the message says why."""


@dataclass(frozen=True)
class Control:
    """A control file that can go.

    Attributes:
        octets: the file as the receiving relay writes it.
        message_id: the value of the header's Message-ID, up to 100 characters; None if it has none.
    """

    octets: bytes
    message_id: str | None


def read(octets: bytes) -> Control:
    """Check a control file, and leave out what names a place.

    Raises:
        ControlError: it is damaged, of another version, or holds what is never in mail of ours.
    """
    if len(octets) > LARGEST:
        raise ControlError(f"it has more than {LARGEST} octets")
    if not octets.endswith(b"\n.\n") or octets.startswith((b" ", b"\t")) or b"\0" in octets:
        raise ControlError("it is damaged: it has no beginning or no end")
    lines = _folded(octets.removesuffix(b".\n"))
    if lines[0] != VERSION:
        raise ControlError(f"its version is not {VERSION.decode()}: another sendmail wrote it")
    codes = {line[:1] for line in lines}
    if not {b"T", b"S", b"R"} <= codes:
        raise ControlError("it is damaged: its time, its sender or its recipients are not there")
    for line in lines:
        _check(line)
    kept = [line for line in lines if line[0] not in _PLACES]
    return Control(b"\n".join([*kept, b".", b""]), _message_id(kept))


def _folded(text: bytes) -> list[bytes]:
    """The lines, each with its continuation lines."""
    found: list[bytes] = []
    for line in text.removesuffix(b"\n").split(b"\n"):
        if line.startswith((b" ", b"\t")):
            found[-1] += b"\n" + line
        else:
            found.append(line)
    return found


def _check(line: bytes) -> None:
    if not line or line[0] not in _KNOWN | _PLACES:
        raise ControlError(f"it has a line {line[:1].decode('ascii', 'replace')!r}, which is in no mail of ours")
    if b"\n" in line and line[:1] != b"H":
        raise ControlError(
            f"its line {line[:1].decode()!r} goes on in the next one, which sendmail writes of fields alone"
        )
    if line[:1] == b"R":
        _, colon, address = line.partition(b":")
        if not colon or address.lstrip(b'<" \\').startswith(_UNSAFE):
            raise ControlError("one of its recipients is no mail address")


def _message_id(lines: list[bytes]) -> str | None:
    for line in lines:
        if line[:1] == b"H" and (match := _MESSAGE_ID.match(_FLAGS.sub(b"", line[1:], count=1))):
            return match[1].decode("ascii", "replace").strip()[:100]
    return None
