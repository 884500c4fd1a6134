"""A message from the net, parsed within bounds. Pure.

The standard library's parser recurses into parts and never says no: what is too deep, too much or too odd for it is
refused before, or raises the one error of this room.
"""

import email
import email.policy
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from typing import TYPE_CHECKING

from postroad.returns.found import UnreadableError

if TYPE_CHECKING:
    Parsed = Message[str, str]
else:
    Parsed = Message  # no generic class at run time

LONGEST_READ = 256 * 1024
"""Octets of a message that are read where it may be a bounce or a complaint: what they say stands at the top."""
MOST_PARTS = 50
"""Parts, with those within others."""
MOST_NESTED = 60
"""Words in it that may begin parts within parts, so that the parser does not recurse without end."""
LONGEST_HEADER = 128 * 1024
"""Octets of the header."""

_NESTING = re.compile(rb"boundary|message/(?:rfc822|global|partial|delivery-status|news|external-body)", re.IGNORECASE)
_BETWEEN = re.compile(rb"\r?\n\r?\n")
_SPACE = re.compile(r"\s+")


def parse(content: bytes, longest: int = LONGEST_READ) -> Parsed:
    """Parse a message, of which no more than ``longest`` octets are read.

    Raises:
        UnreadableError: it has too large a header, too many parts, or the parser gives up.
    """
    content = content[:longest]
    end = _BETWEEN.search(content)
    if (end.start() if end else len(content)) > LONGEST_HEADER:
        raise UnreadableError(f"the header has more than {LONGEST_HEADER} octets")
    if len(_NESTING.findall(content)) > MOST_NESTED:
        raise UnreadableError("too many parts within parts")
    try:
        message = email.message_from_bytes(content, policy=email.policy.compat32)
        number = sum(1 for _ in message.walk())
    except Exception as error:
        raise UnreadableError(f"it can't be parsed: {type(error).__name__}") from error
    if number > MOST_PARTS:
        raise UnreadableError(f"it has more than {MOST_PARTS} parts")
    return message


def field(message: Parsed, name: str, longest: int = 500) -> str:
    """A header field's value in one line, printable, without its end where it is too long; empty where there is none.

    Non-ASCII octets stand as U+FFFD.
    """
    try:
        value = str(message.get(name) or "")
    except Exception:  # noqa: BLE001 - the standard library's, on odd octets
        return ""
    return clean(value, longest)


def subject(message: Parsed) -> str:
    """The subject in one line, with its encoded words (RFC 2047) decoded."""
    return decoded(field(message, "Subject", 1000))


def decoded(raw: str) -> str:
    """A field's value with its encoded words (RFC 2047) decoded, up to 500 characters."""
    try:
        return clean(str(make_header(decode_header(raw))))
    except Exception:  # noqa: BLE001 - the standard library's: an unknown charset, broken base64
        return raw[:500]


def clean(value: str, longest: int = 500) -> str:
    """Text in one line, printable, and not longer than this."""
    line = _SPACE.sub(" ", value[: longest * 4]).strip()
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)[:longest]


def parts(message: Parsed) -> Iterator[tuple[str, Parsed]]:
    """The parts of a message, with their content types in lower case."""
    for part in message.walk():
        yield part.get_content_type(), part


def octets(part: Parsed, longest: int) -> bytes:
    """A part's content, decoded, up to this many octets.

    Raises:
        UnreadableError: it has more, or can't be decoded.
    """
    try:
        content = part.get_payload(decode=True)
    except Exception as error:
        raise UnreadableError(f"a part can't be decoded: {type(error).__name__}") from error
    if not isinstance(content, bytes):
        return b""
    if len(content) > longest:
        raise UnreadableError(f"a part has more than {longest} octets")
    return content


def text(message: Parsed, longest: int = 16_384) -> str:
    """The first text part, or nothing."""
    for kind, part in parts(message):
        if kind == "text/plain" and not part.is_multipart():
            try:
                return octets(part, LONGEST_READ).decode("utf-8", "replace")[:longest]
            except UnreadableError:
                return ""
    return ""


_ADDRESS = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.\[\]:_-]{1,255}")


def address(value: str) -> str | None:
    """The mail address in a field such as ``rfc822;<user@example.com>``, or None where there is no plain one."""
    value = value.rpartition(";")[2].strip()
    if value.endswith(">"):
        value = value.rpartition("<")[2][:-1]
    value = value.strip()
    return value if _ADDRESS.fullmatch(value) else None
