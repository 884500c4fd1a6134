"""The return address of a message: who it is about, until when it counts, signed. Pure; standard library only.

It is the envelope sender that a receiver sees (VERP with an HMAC). The local part is ``b`` and base32 (RFC 4648) of the
day of issue, the queue id and a tag. Base32 because receivers may change the case of a local part, and queue ids differ
by case; RFC 5321 (4.5.3.1.1) leaves it 64 octets.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import date

LIFETIME = 40
"""Days for which an address counts: five that a message may wait here, and five weeks in which receivers bounce."""
LONGEST_LOCAL = 64
"""Octets of a local part (RFC 5321, 4.5.3.1.1)."""
LONGEST_QUEUE_ID = 26
"""Characters of a queue id that fit; sendmail's have 14, or a few more where process ids are long."""

_TAG = 10
"""Octets of the HMAC: 80 bits. It can be guessed only by asking the listener, which counts refusals."""
_DAY = 2
_PREFIX = "b"
_EPOCH = date(1970, 1, 1)
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{8,26}")
_LOCAL = re.compile(r"b[a-z2-7]{32,63}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"


class ReturnAddressError(Exception):
    """An address is none of ours, or none any more; the message says why."""


@dataclass(frozen=True)
class ReturnAddress:
    """What an address says: the queue id of the message, and the day of issue (days since the epoch)."""

    queue_id: str
    day: int


def day_of(seconds: float) -> int:
    """Days since the epoch, of seconds since it."""
    return int(seconds // 86400)


def local_part(key: bytes, domain: str, queue_id: str, day: int) -> str:
    """The local part for a message.

    Args:
        key: the secret.
        domain: the domain of the address, in lower case; the tag covers it.
        queue_id: sendmail's id of the message.
        day: the day of issue, in days since the epoch.

    Raises:
        ReturnAddressError: the queue id is not one of sendmail's.
    """
    if not _QUEUE_ID.fullmatch(queue_id):
        raise ReturnAddressError("not a queue id")
    content = day.to_bytes(_DAY, "big") + queue_id.encode("ascii")
    whole = content + _tag(key, domain, content)
    return _PREFIX + base64.b32encode(whole).decode("ascii").rstrip("=").lower()


def read(key: bytes, domain: str, local: str, today: int) -> ReturnAddress:
    """What the local part of an address says; its case does not matter.

    Args:
        key: the secret.
        domain: the domain of the address, in lower case.
        local: the local part.
        today: days since the epoch.

    Raises:
        ReturnAddressError: it is not ours, was changed, or is too old.
    """
    lower = local.lower() if local.isascii() else ""
    if not _LOCAL.fullmatch(lower):
        raise ReturnAddressError("not a return address")
    digits = lower[len(_PREFIX) :].upper()
    try:
        whole = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except ValueError as error:
        raise ReturnAddressError("not a return address") from error
    content, tag = whole[:-_TAG], whole[-_TAG:]
    if not hmac.compare_digest(tag, _tag(key, domain, content)):
        raise ReturnAddressError("not signed by this relay")
    day = int.from_bytes(content[:_DAY], "big")
    address = ReturnAddress(content[_DAY:].decode("ascii", "replace"), day)
    if local_part(key, domain, address.queue_id, day) != lower:
        raise ReturnAddressError("not a return address")  # base32 with bits at its end that mean nothing
    if not -1 <= today - day <= LIFETIME:
        raise ReturnAddressError("too old")
    return address


def issued(queue_id: str, today: int) -> int:
    """The day for an address: that of the message, so that each attempt has the same one, as greylisting wants it.

    sendmail's queue ids begin with year, month and day in base 60 (queue.c, assign_queueid). Where that is no day of
    the last weeks, it is today.
    """
    try:
        year, month, day = (_DIGITS.index(digit) for digit in queue_id[:3])
        now = date.fromordinal(_EPOCH.toordinal() + today)
        full = next(each for each in range(now.year, now.year - 60, -1) if (each - 1900) % 60 == year)
        found = date(full, month + 1, day).toordinal() - _EPOCH.toordinal()
    except (ValueError, StopIteration):
        return today
    return found if today - LIFETIME < found <= today else today


def _tag(key: bytes, domain: str, content: bytes) -> bytes:
    return hmac.digest(key, b"return\0" + domain.encode("ascii", "replace") + b"\0" + content, hashlib.sha256)[:_TAG]
