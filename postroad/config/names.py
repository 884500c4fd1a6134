"""DNS names as people write them: host names, domains, DKIM selectors."""

import ipaddress
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from postroad.config.values import refuse

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_NAME = 253


def is_name(text: str) -> bool:
    """Whether this is a lower-case fully qualified domain name: RFC 1123 labels and at least one dot."""
    labels = text.split(".")
    return len(text) <= LONGEST_NAME and len(labels) > 1 and all(map(LABEL.fullmatch, labels))


def to_ascii(text: str) -> str:
    """The ``xn--`` form (RFC 5891 A-labels) of a name, for a message; not checked against the IDNA tables.

    Python's own ``idna`` codec is of 2003 and turns another person's ``straße`` into ``strasse``.
    """
    labels = unicodedata.normalize("NFC", text.lower()).split(".")
    return ".".join(x if x.isascii() else f"xn--{x.encode('punycode').decode('ascii')}" for x in labels)


def check_name(value: str, example: str) -> str:
    """The name in lower case.

    Raises:
        PydanticCustomError: it is not a fully qualified domain name.
    """
    if not value.isascii():
        known = to_ascii(value) if len(value) <= LONGEST_NAME and value.isprintable() else ""
        refuse("a domain name in ASCII", hint=f": {known}" if is_name(known) else f", such as {example}")
    name = value.lower()
    if name.endswith(".") and is_name(name[:-1]):
        refuse("the name without the dot at its end", hint=f": {name[:-1]}")
    if "@" in name and is_name(name.rpartition("@")[2]):
        refuse("a domain, not an address", hint=f": {name.rpartition('@')[2]}")
    if name.startswith("*.") and is_name(name[2:]):
        refuse("a domain", hint=f"; for all below it too, write {{name: {name[2:]}, subdomains: true}}")
    # no top-level domain is a number, so this is an address or a slip (RFC 3696, section 2)
    if ":" in name or name.rstrip("]").rpartition(".")[2].isdigit():
        refuse(f"a domain name such as {example}, not an IP address")
    if not is_name(name):
        refuse(f"a fully qualified domain name such as {example} (letters, digits, hyphens, at least one dot)")
    return name


def _hostname(value: str) -> str:
    return check_name(value, "mail.example.com")


def _domain(value: str) -> str:
    return value if value == "*" else check_name(value, "example.com")


def _selector(value: str) -> str:
    name = value.lower()
    if len(name) > 63 or not all(map(LABEL.fullmatch, name.split("."))):
        refuse("a DNS label such as postroad (letters, digits, hyphens; 63 characters at most)")
    return name


def _server(value: str) -> str:
    name = value.lower()
    if name.startswith("[") or "/" in name:
        refuse("a host name or an address, without brackets or a prefix length")
    if ":" in name or name.rpartition(".")[2].isdigit():
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            refuse("a host name, or an IP address such as 192.0.2.1 or 2001:db8::1")
    # no dot: a service beside us in compose
    return name if LABEL.fullmatch(name) else check_name(value, "smtp.example.net")


def _pattern(value: str) -> str:
    if value.startswith("*.") and is_name(value[2:].lower()):
        refuse("a domain, or all names below one with a dot before it", hint=f": {value[1:].lower()}")
    below = value.startswith(".")
    return "." * below + check_name(value[below:], "example.com")


_NAME_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"

Hostname = Annotated[
    str,
    AfterValidator(_hostname),
    WithJsonSchema({"$comment": "host name", "type": "string", "maxLength": 253, "pattern": _NAME_PATTERN}),
]
"""A fully qualified domain name (RFC 1123), held in lower case."""

DomainName = Annotated[
    str,
    AfterValidator(_domain),
    WithJsonSchema({"$comment": "domain", "type": "string", "maxLength": 253, "pattern": rf"^\*$|{_NAME_PATTERN}"}),
]
"""A fully qualified domain name, or ``*`` for any."""

Selector = Annotated[
    str,
    AfterValidator(_selector),
    WithJsonSchema(
        {
            "$comment": "selector",
            "type": "string",
            "maxLength": 63,
            "pattern": r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        }
    ),
]
"""A DKIM selector (RFC 6376, section 3.1): one or more DNS labels, held in lower case."""

ServerName = Annotated[
    str,
    AfterValidator(_server),
    WithJsonSchema({"$comment": "host name or address", "type": "string", "maxLength": 253}),
]
"""A server to connect to: a name, with or without a dot, in lower case, or an IP address."""

DomainPattern = Annotated[
    str,
    AfterValidator(_pattern),
    WithJsonSchema(
        {"$comment": "domain", "type": "string", "maxLength": 254, "pattern": _NAME_PATTERN.replace("^", r"^\.?", 1)}
    ),
]
"""A fully qualified domain name, or one after a dot for all names below it."""
