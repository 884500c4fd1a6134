"""SPF macros (RFC 7208, section 7)."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

MACRO = r"%(?:[%_-]|\{[slodiphv][0-9]*r?[-.+,/_=]*\})"
"""A macro or an escape in a domain-spec; letters of either case."""
_PART = re.compile(
    r"%(?:(?P<escape>[%_-])|\{(?P<letter>[A-Za-z])(?P<digits>[0-9]*)(?P<reverse>[rR]?)(?P<delimiters>[-.+,/_=]*)\})|[^%]+"
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
LETTERS = frozenset("slodiphv")
EXPLANATION_ONLY = frozenset("crt")
"""Macros allowed only in the text that ``exp`` points to (section 7.2)."""
LONGEST = 253


class MacroError(ValueError):
    """Text with a ``%`` that does not begin a macro."""


@dataclass(frozen=True)
class Who:
    """The client under evaluation: its address, the envelope sender, the name in HELO."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    sender: str
    helo: str


def check(text: str) -> None:
    """Check that a macro-string follows the grammar, before any client is known.

    Raises:
        MacroError: a ``%`` begins no macro, or a macro is not allowed in a record; says which.
    """
    for match in _parts(text):
        letter = (match["letter"] or "").lower()
        if letter in EXPLANATION_ONLY:
            raise MacroError(f"the macro {match[0]} is allowed only in the text that exp= points to")
        if letter and letter not in LETTERS:
            raise MacroError(f"unknown macro {match[0]}")
        if match["digits"] and not match["digits"].strip("0"):
            raise MacroError(f"{match[0]} keeps 0 labels; the number is at least 1")


def numbered(text: str) -> list[re.Match[str]]:
    """The macros with a number of labels, in a text that passed ``check``; the group ``digits`` is the number."""
    return [match for match in _parts(text) if match["digits"]]


def _parts(text: str) -> Iterator[re.Match[str]]:
    end = 0
    for match in _PART.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        yield match
    if end != len(text):
        begun = re.match(r"%\{[^}]*\}?|%.?", text[end:])
        raise MacroError(f"{begun[0] if begun else text[end:]} is not a macro; write %% for a percent sign")


def expand(text: str, who: Who, domain: str, validated: str = "unknown") -> str:
    """A domain-spec with its macros replaced, shortened to the longest legal name (section 7.3).

    Args:
        text: the domain-spec.
        who: the client.
        domain: the domain whose record holds the text.
        validated: the client's name for the macro ``p``.

    Raises:
        MacroError: the text has a ``%`` that begins no macro.
    """
    check(text)
    parts = []
    for match in _parts(text):
        if match["escape"]:
            parts.append(_ESCAPES[match["escape"]])
        elif match["letter"]:
            parts.append(_macro(match, who, domain, validated))
        else:
            parts.append(match[0])
    name = "".join(parts)
    while len(name.rstrip(".")) > LONGEST:
        name = name.partition(".")[2]
    return name


def _macro(match: re.Match[str], who: Who, domain: str, validated: str) -> str:
    local, _, sender_domain = who.sender.rpartition("@")
    letter = match["letter"]
    values = {
        "s": who.sender,
        "l": local or "postmaster",
        "o": sender_domain,
        "d": domain,
        "i": _dotted(who.address),
        "p": validated,
        "v": "in-addr" if who.address.version == 4 else "ip6",
        "h": who.helo,
    }
    pieces = re.split(f"[{re.escape(match['delimiters'] or '.')}]", values[letter.lower()])
    if match["reverse"]:
        pieces.reverse()
    if match["digits"]:
        pieces = pieces[-int(match["digits"].lstrip("0")[:4]) :]
    text = ".".join(pieces)
    return quote(text, safe="-._~") if letter.isupper() else text


def _dotted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(address) if address.version == 4 else ".".join(address.exploded.replace(":", ""))
