"""Replies of SMTP servers, and which speak of the account and not of the message. Pure; the data is read at import."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from re import Pattern

MOST_LINES = 100
"""Lines of a reply; EHLO's has a dozen or two."""
LONGEST = 400
"""Characters of another's words that a reply of ours holds: it has 512 octets (RFC 5321, 4.5.3.1.5)."""

CREDENTIALS, QUOTA = "credentials", "quota"

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


class ReplyError(Exception):
    """What a server says is no SMTP reply."""


@dataclass(frozen=True)
class Reply:
    """A whole reply.

    Attributes:
        code: its three digits.
        lines: the texts after them.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """In one line, printable."""
        return printable(" ".join((str(self.code), *self.lines)))


@dataclass(frozen=True)
class _Rule:
    kind: str
    codes: frozenset[int]
    text: Pattern[str] | None


def _rules() -> tuple[_Rule, ...]:
    data = tomllib.loads(Path(__file__).with_name("replies.toml").read_text("utf-8"))
    return tuple(
        _Rule(
            rule["kind"],
            frozenset(rule["codes"]),
            re.compile("|".join(f"(?:{each})" for each in rule["text"])) if "text" in rule else None,
        )
        for rule in data["reply"]
    )


_RULES = _rules()


def parse_line(line: bytes) -> tuple[int, bool, str]:
    """A line of a reply, without its end: the code, whether more lines follow, the text.

    Raises:
        ReplyError: it is none.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ReplyError(f"no SMTP reply: {printable(line[:80].decode(errors='replace'))}")
    return int(match[1]), match[2] == b"-", (match[3] or b"").decode(errors="replace")


def kind_of(reply: Reply) -> str | None:
    """What a refusal says of the account: ``CREDENTIALS``, ``QUOTA`` or nothing."""
    if reply.code < 400:
        return None
    text = " ".join(reply.lines).lower()
    for rule in _RULES:
        if reply.code in rule.codes and (rule.text is None or rule.text.search(text)):
            return rule.kind
    return None


def for_now(host: str, reply: Reply, kind: str) -> bytes:
    """The reply that sendmail gets in place of one that speaks of the account: mail waits, and the words are kept."""
    what = "has no more quota for this account" if kind == QUOTA else "refuses the credentials"
    code = "452 4.7.0" if kind == QUOTA else "454 4.7.0"
    return f"{code} {host} {what}: {reply.text[:LONGEST]}\r\n".encode()


def printable(text: str) -> str:
    """Text of others in one line of ASCII, with single spaces."""
    return " ".join("".join(each if " " <= each <= "~" else " " for each in text).split())
