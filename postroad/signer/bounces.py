"""The signatures and dates of bounces, which sendmail makes itself and shows no milter.

It asks for a signature by a socket map (``templates/mc/bounces.j2``) before it delivers one, when the bounce is in the
queue already: the header as it will leave in the control file, the body in the data file (sendmail's Installation and
Operation Guide, appendix B). What is no bounce of ours gets no signature here. A bounce that can't be signed leaves all
the same: its reader would else learn of nothing.

sendmail's dates end in GMT, and its rules know no other time than when the message that bounces was read. They ask
for the time by another map on the same socket.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from postroad.signer.addresses import FieldError, mailboxes
from postroad.signer.canonical import BodyHash

LARGEST = 1 << 22
"""Octets of a file that are read."""

_ID = re.compile(r"[0-9A-Za-z]{8,32}")
_FIELD = re.compile(rb"H\?[^?\n]*\?([!-9;-~]+):((?:.*)(?:\n[ \t].*)*)")


@dataclass(frozen=True)
class Bounce:
    """A bounce in the queue.

    Attributes:
        header: its fields as they leave: name and value.
        body_hash: of the relaxed body; empty where there is a signature.
        signature: the value of its DKIM-Signature field, where it was tried before; sendmail sends that field only
            where it is given the value once more.
    """

    header: list[tuple[bytes, bytes]]
    body_hash: bytes
    signature: bytes


def read(queue: Path, queue_id: str, hostname: str) -> Bounce | None:
    """A bounce of ours; None: there is no such.

    Raises:
        OSError: its files can't be read.
    """
    if not _ID.fullmatch(queue_id):
        return None
    for folder in (queue, *(each for each in queue.iterdir() if each.is_dir())):
        control = folder / f"qf{queue_id}"
        if control.exists():
            header = fields(_content(control), hostname)
            if header is None:
                return None
            signed = next((value.strip() for name, value in header if name.lower() == b"dkim-signature"), b"")
            if signed:
                return Bounce(header, b"", signed)
            body = BodyHash()
            body.update(_content(folder / f"df{queue_id}").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            return Bounce(header, body.digest(), b"")
    return None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"{path} has more than {LARGEST} octets")
    return content


def fields(control: bytes, hostname: str) -> list[tuple[bytes, bytes]] | None:
    """The header in the control file of a bounce of ours; None where it is something else."""
    lines = control.split(b"\n")
    ours = f"MAILER-DAEMON@{hostname}"
    if f"S{ours}".encode() not in lines or not any(line[:1] == b"F" and b"r" in line for line in lines):
        return None
    found = [(match[1], match[2]) for match in _FIELD.finditer(control)]
    senders = [value for name, value in found if name.lower() == b"from"]
    if len(senders) != 1:
        return None
    try:
        named = mailboxes(senders[0].decode("latin-1"))
    except FieldError:
        return None
    return found if [f"{each.local}@{each.domain}" for each in named] == [ours] else None


def clock(_key: str) -> bytes:
    """The time now, in the form that ``SUtcDate`` reads: sendmail's own, as of ``$b``."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode("ascii")


class MapSession:
    """One connection of sendmail's socket maps: netstrings ``MAP KEY`` in, ``OK VALUE`` or ``NOTFOUND`` out."""

    def __init__(self, maps: Mapping[bytes, Callable[[str], bytes]]) -> None:
        """Begin; ``maps`` has for each map's name what gives the value of a key, or nothing."""
        self._maps = maps
        self._buffer = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take what arrived; return what is to be sent, or None where the session is over."""
        self._buffer += data
        out = []
        while match := re.match(rb"([0-9]{1,4}):", self._buffer):
            end = match.end() + int(match[1])
            if len(self._buffer) <= end:
                break
            name, _, key = self._buffer[match.end() : end].partition(b" ")
            self._buffer = self._buffer[end + 1 :]
            find = self._maps.get(name)
            value = find(key.decode("latin-1")) if find else b""
            answer = b"OK " + value if value else b"NOTFOUND "
            out.append(b"%d:%s," % (len(answer), answer))
        return None if len(self._buffer) > 10_000 else b"".join(out)
