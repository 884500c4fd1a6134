"""DNS names as people write them: host names, domains, DKIM selectors."""

import ipaddress
import re
import unicodedata
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, WithJsonSchema

from postroad.config.values import refuse

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LOCAL_PART = re.compile(r"[A-Za-z0-9_+=-]+(\.[A-Za-z0-9_+=-]+)*")
LONGEST_NAME = 253
EGRESS = re.compile(r"([A-Za-z0-9.-]+) ((?:(?:CH )?TXT )?)@([A-Za-z0-9.:-]+)")


def is_name(text: str) -> bool:
    """Whether this is a lower-case fully qualified domain name: RFC 1123 labels and at least one dot."""
    labels = text.split(".")
    return len(text) <= LONGEST_NAME and len(labels) > 1 and all(map(LABEL.fullmatch, labels))


def to_ascii(text: str) -> str:
    """The ``xn--`` form (RFC 5891 A-labels) of a name, for a message; not checked against the IDNA tables.

    Python's own ``idna`` codec implements IDNA 2003 and turns ``straße`` into ``strasse``, another person's domain.
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
    # no top-level domain is numeric, so this is an address or a slip (RFC 3696, section 2)
    if ":" in name or name.rstrip("]").rpartition(".")[2].isdigit():
        refuse(f"a domain name such as {example}, not an IP address")
    if not is_name(name):
        refuse(f"a fully qualified domain name such as {example} (letters, digits, hyphens, at least one dot)")
    return name


def _hostname(value: str) -> str:
    return check_name(value, "mail.example.com")


def _egress(value: str) -> str:
    accepted = "a name and its server such as whoami.akamai.net @ns1-1.akamaitech.net, with TXT or CH TXT between"
    match = EGRESS.fullmatch(value)
    if not match:
        refuse(accepted)
    name, server = match[1].lower(), match[3].lower()
    if not is_name(name):
        refuse(accepted)
    if not is_name(server) or server.rpartition(".")[2].isdigit():
        try:
            ipaddress.ip_address(server)
        except ValueError:
            refuse(accepted)
    return " ".join([name, *match[2].split(), f"@{server}"])


def _domain(value: str) -> str:
    return value if value == "*" else check_name(value, "example.com")


def check_address(value: str, *, short_host: bool = False) -> str:
    """A mail address, its domain in lower case.

    The local part is narrower than RFC 5321's: all its characters are inert in m4 and in sendmail's rules.

    Args:
        value: the address.
        short_host: also accept a host name without a dot, such as ``root@web1``.

    Raises:
        PydanticCustomError: the value is not a mail address.
    """
    local, at, domain = value.rpartition("@")
    domain = domain.lower()
    if not at or not LOCAL_PART.fullmatch(local) or not (is_name(domain) or (short_host and is_host(domain))):
        refuse("a mail address such as app@example.com (before the @ letters, digits and . _ + = - only)")
    return f"{local}@{domain}"


def is_host(text: str) -> bool:
    """Whether this is a lower-case host name, with or without dots."""
    return len(text) <= LONGEST_NAME and all(map(LABEL.fullmatch, text.split(".")))


def _host(value: str) -> str:
    host = value.lower()
    if not is_host(host):
        refuse("a host name or domain such as web1 or internal.example.com")
    return host


def _recipient(value: str) -> str:
    return check_address(value) if "@" in value else check_name(value, "example.com")


def _server(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return check_name(value, "time.example.com")


LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<v4>[0-9.]+)):(?P<port>[0-9]{1,5})")


def host_and_port(value: str) -> tuple[str, int]:
    """An IP address and a port, from ``0.0.0.0:8025`` or ``[::]:8025``."""
    match = LISTEN.fullmatch(value)
    try:
        address = ipaddress.ip_address(match["v6"] or match["v4"]) if match else None
    except ValueError:
        address = None
    if match is None or address is None or not 1 <= int(match["port"]) <= 65535:
        refuse("an IP address and a port, such as 0.0.0.0:8025, 127.0.0.1:8025 or [::]:8025")
    return str(address), int(match["port"])


def _listen(value: str) -> str:
    host_and_port(value)
    return value


def _selector(value: str) -> str:
    name = value.lower()
    if len(name) > 63 or not all(map(LABEL.fullmatch, name.split("."))):
        refuse("a DNS label such as postroad (letters, digits, hyphens; 63 characters at most)")
    return name


USER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def _user(value: str) -> str:
    user, at, realm = value.partition("@")
    if not USER.fullmatch(user) or (at and not is_name(realm)):
        refuse(
            "a user name such as app or app@example.com: letters, digits, dots, hyphens, underscores,"
            " and the domain in lower case"
        )
    return value


def check_server(value: str) -> str:
    """A server to connect to: a name, with or without a dot, in lower case, or an IP address.

    Raises:
        PydanticCustomError: the value is neither.
    """
    name = value.lower()
    if name.startswith("[") or "/" in name:
        refuse("a host name or an address, without brackets or a prefix length")
    if ":" in name or name.rpartition(".")[2].isdigit():
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            refuse("a host name, or an IP address such as 192.0.2.1 or 2001:db8::1")
    # no dot: a service in the same Compose project
    return name if LABEL.fullmatch(name) else check_name(value, "smtp.example.net")


def _pattern(value: str) -> str:
    if value.startswith("*.") and is_name(value[2:].lower()):
        refuse("a domain, or all names below one with a dot before it", hint=f": {value[1:].lower()}")
    below = value.startswith(".")
    return "." * below + check_name(value[below:], "example.com")


_NAME_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"

LIBPQ = (
    *("application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives_count", "keepalives_idle"),
    *("keepalives_interval", "options", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert"),
    *("target_session_attrs", "tcp_user_timeout"),
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _database_url(value: str) -> str:
    # the value is never shown, since it may contain a password
    accepted = "a URL such as postgresql://user@host/database?sslmode=verify-full"
    try:
        parts = urlsplit(value)
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        whole = parts.scheme == "postgresql" and parts.username and parts.hostname and parts.port != 0
    except ValueError:
        refuse(accepted, found="something else")
    if parts.password is not None or parts.netloc.count("@") > 1:
        refuse("a URL without a password: it stands in the file that store_password_file names", found="one with it")
    if not whole or not re.fullmatch("/[^/]+", parts.path) or parts.fragment:
        refuse(accepted, found="something else")
    names = [name for name, _ in parameters]
    if unknown := sorted({*names} - {*LIBPQ}):
        refuse(f"parameters of {', '.join(LIBPQ)}", found=f"the parameter {unknown[0][:40]!r}")
    if len({*names}) < len(names):
        refuse("each parameter once", found="one twice")
    if dict(parameters).get("sslmode", "prefer") not in SSL_MODES:
        refuse(f"sslmode of {', '.join(SSL_MODES)}", found="another")
    return value


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

Address = Annotated[
    str,
    AfterValidator(check_address),
    WithJsonSchema({"$comment": "mail address", "type": "string", "maxLength": 320}),
]
"""A mail address (RFC 5321), its domain in lower case."""

OldAddress = Annotated[
    str,
    AfterValidator(lambda value: check_address(value, short_host=True).lower()),
    WithJsonSchema({"$comment": "mail address", "type": "string", "maxLength": 320}),
]
"""A mail address whose domain may be a host name without a dot, in lower case."""

Host = Annotated[
    str,
    AfterValidator(_host),
    WithJsonSchema({"$comment": "host name or domain", "type": "string", "maxLength": 253}),
]
"""A host name with or without dots, in lower case."""

Recipient = Annotated[
    str,
    AfterValidator(_recipient),
    WithJsonSchema({"$comment": "mail address or domain", "type": "string", "maxLength": 320}),
]
"""A mail address, or a domain that stands for all addresses in it."""

Listen = Annotated[str, AfterValidator(_listen)]
"""An IP address and a port: ``0.0.0.0:8025``."""

Server = Annotated[
    str,
    AfterValidator(_server),
    WithJsonSchema({"$comment": "host name or address", "type": "string"}),
]
"""A fully qualified domain name, or an IP address."""

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

UserName = Annotated[
    str,
    AfterValidator(_user),
    WithJsonSchema(
        {
            "$comment": "user name",
            "type": "string",
            "maxLength": 318,
            "pattern": r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?(@[a-z0-9.-]+)?$",
        }
    ),
]
"""A SASL user name (RFC 4422), with or without a realm; in plain characters only, since sendmail's rules contain it."""

EgressName = Annotated[
    str,
    AfterValidator(_egress),
    WithJsonSchema({"$comment": "name and server", "type": "string", "pattern": f"^{EGRESS.pattern}$"}),
]
"""``NAME [[CH] TXT] @SERVER`` in dig's syntax: a DNS name that returns the client's address."""

ServerName = Annotated[
    str,
    AfterValidator(check_server),
    WithJsonSchema({"$comment": "host name or address", "type": "string", "maxLength": 253}),
]
"""A server to connect to: a name, with or without a dot, in lower case, or an IP address."""

DatabaseUrl = Annotated[
    str,
    AfterValidator(_database_url),
    WithJsonSchema(
        {"$comment": "PostgreSQL URL", "type": "string", "pattern": r"^postgresql://[^:@/]+@[^@/]+/[^/?]+([?].*)?$"}
    ),
]
"""A PostgreSQL database: a URL without a password, optionally with libpq parameters."""

DomainPattern = Annotated[
    str,
    AfterValidator(_pattern),
    WithJsonSchema(
        {"$comment": "domain", "type": "string", "maxLength": 254, "pattern": _NAME_PATTERN.replace("^", r"^\.?", 1)}
    ),
]
"""A fully qualified domain name, or a dot and a name for all names below it."""
