"""SPF macros (RFC 7208, section 7)."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

_PART = re.compile(
    r"%(?:(?P<escape>[%_-])|\{(?P<letter>[A-Za-z])(?P<digits>\d*)(?P<reverse>[rR]?)(?P<delimiters>[.+,/_=-]*)\})|[^%]+"
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
LONGEST = 253


class MacroError(ValueError):
    """Text with a ``%`` that is no macro."""


@dataclass(frozen=True)
class Who:
    """The client that is judged: its address, the envelope sender, the name in HELO."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    sender: str
    helo: str


def expand(text: str, who: Who, domain: str) -> str:
    """A domain-spec with its macros replaced, cut to what a name may hold (section 7.3).

    Raises:
        MacroError: there is something that is no macro.
    """
    parts, end = [], 0
    for match in _PART.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        if match["escape"]:
            parts.append(_ESCAPES[match["escape"]])
        elif match["letter"]:
            parts.append(_macro(match, who, domain))
        else:
            parts.append(match[0])
    if end != len(text):
        raise MacroError(f"{text[end:]!r} is no macro")
    name = "".join(parts)
    while len(name.rstrip(".")) > LONGEST:
        name = name.partition(".")[2]
    return name


def _macro(match: re.Match[str], who: Who, domain: str) -> str:
    local, _, sender_domain = who.sender.rpartition("@")
    letter = match["letter"]
    values = {
        "s": who.sender,
        "l": local or "postmaster",
        "o": sender_domain,
        "d": domain,
        "i": _dotted(who.address),
        "p": "unknown",  # asks the DNS for every client; receivers may answer so (section 7.3)
        "v": "in-addr" if who.address.version == 4 else "ip6",
        "h": who.helo,
    }
    value = values.get(letter.lower())
    if value is None or match["digits"] == "0":
        raise MacroError(f"{match[0]!r} is no macro")
    pieces = re.split(f"[{re.escape(match['delimiters'] or '.')}]", value)
    if match["reverse"]:
        pieces.reverse()
    if match["digits"]:
        pieces = pieces[-int(match["digits"]) :]
    text = ".".join(pieces)
    return quote(text, safe="-._~") if letter.isupper() else text


def _dotted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return str(address) if address.version == 4 else ".".join(address.exploded.replace(":", ""))
