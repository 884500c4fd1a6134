"""The signed link of one-click unsubscribing (RFC 8058): who wants no more mail from which domain. Pure.

It says so by itself: a link is followed months later, when nothing else is known of the message. It does not expire.
Standard library only.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

LONGEST = 900
"""Characters of a link: a header field's line has 998 at most (RFC 5322, 2.1.1)."""

_TAG = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]{24,1200}")


class TokenError(Exception):
    """A link is none of ours."""


@dataclass(frozen=True)
class Wish:
    """Who wants no more mail, and from which sender domain; both in lower case."""

    recipient: str
    domain: str


def token(key: bytes, wish: Wish) -> str:
    """What stands at the end of a link: letters, digits, hyphens, underscores."""
    content = f"{wish.domain}\0{wish.recipient}".encode()
    return base64.urlsafe_b64encode(_tag(key, content) + content).decode("ascii").rstrip("=")


def read(key: bytes, text: str) -> Wish:
    """What a link says.

    Raises:
        TokenError: it is not ours.
    """
    if not _TOKEN.fullmatch(text):
        raise TokenError
    try:
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise TokenError from error
    tag, content = whole[:_TAG], whole[_TAG:]
    if not hmac.compare_digest(tag, _tag(key, content)):
        raise TokenError
    domain, _, recipient = content.decode("utf-8", "replace").partition("\0")
    return Wish(recipient, domain)


def _tag(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, b"unsubscribe\0" + content, hashlib.sha256)[:_TAG]
