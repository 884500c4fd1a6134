"""SMTP as far as the front reads it: commands, answers, the end of a message. Pure: octets in, octets out."""

from typing import NamedTuple

LONGEST = 2048
"""Octets of a command, with its end. RFC 5321 (4.5.3.1.4) asks for 512; sendmail takes more."""

END = b"\r\n.\r\n"
"""The end of a message (RFC 5321, 4.1.1.4); nothing else is."""


class Command(NamedTuple):
    """A command line.

    Attributes:
        line: all of it, with its end.
        verb: its first word, in capitals; empty where the line is not one that the front reads itself.
        rest: what follows the verb and a space.
    """

    line: bytes
    verb: bytes
    rest: bytes


def command(buffer: bytearray) -> Command | None:
    """Take a command from the beginning of a buffer; None: it is not whole yet.

    One that is too long, whole or not, or does not end in CRLF, or holds octets that are not printable ASCII, comes
    with an empty verb: how such a one is answered is for sendmail to say.
    """
    end = buffer.find(b"\n", 0, LONGEST)
    if end < 0:
        if len(buffer) < LONGEST:
            return None
        line = bytes(buffer)
        buffer.clear()
        return Command(line, b"", b"")
    line = bytes(buffer[: end + 1])
    del buffer[: end + 1]
    text = line[:-2]
    if line[-2:] != b"\r\n" or not text.isascii() or not text.decode("ascii").isprintable():
        return Command(line, b"", b"")
    verb, _, rest = text.partition(b" ")
    return Command(line, verb.upper(), rest)


class EndOfData:
    """Looks for the end of a message in text that comes in pieces."""

    def __init__(self) -> None:
        """Begin after the answer to DATA: a dot may be the first that comes."""
        self._before = b"\r\n"

    def find(self, piece: bytes) -> int:
        """How many octets of the piece belong to the message, its end included; -1: all, and the end is yet to come."""
        held = len(self._before)
        seam = (self._before + piece[: len(END) - 1]).find(END)
        if seam >= 0:
            return seam + len(END) - held
        at = piece.find(END)
        if at >= 0:
            return at + len(END)
        self._before = (self._before + piece[1 - len(END) :])[1 - len(END) :]
        return -1


class Reply(NamedTuple):
    """What a session says: an answer, or what the preload tells of it.

    Attributes:
        text: the whole answer, all lines of it; for a message on the disk, its queue id.
        code: the answer's code; 0: the message of this queue id is on the disk, or, without an id, a delivery
            failed; -1: this is no SMTP.
    """

    text: bytes
    code: int


class Answers:
    """Cuts what comes from a session into whole answers."""

    def __init__(self) -> None:
        """Begin without any."""
        self._buffer = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The answers that are whole by now."""
        buffer = self._buffer + data
        found: list[Reply] = []
        begin = at = 0
        while (end := buffer.find(b"\n", at)) >= 0:
            line = buffer[at : end + 1]
            if line[:1] == b"\1" and begin == at:  # the preload's, which writes when no answer is half out
                found.append(Reply(line[1:-1], 0))
                begin = at = end + 1
                continue
            at = end + 1
            if line[3:4] == b"-":
                continue
            code = int(line[:3]) if line[:3].isdigit() else -1
            found.append(Reply(buffer[begin:at], code))
            begin = at
        self._buffer = buffer[begin:]
        return found
