"""The MIME message for a request with fields (RFC 5322, RFC 2045), and addresses as requests have them."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from postroad.config.names import is_name

POLICY = policy.SMTP.clone(max_line_length=998, cte_type="7bit")
"""Lines as long as may be: the email package would write the long URL of a List-Unsubscribe as an encoded word.
7 bit: nothing has to be changed on the way to a receiver without 8BITMIME, which would break the signature."""
LONGEST_ADDRESS, LONGEST_LOCAL = 320, 64
LONGEST_WORD = 900
"""Octets of a header field's longest part without a space: a line has 998 at most."""
OWN = frozenset((
    "from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to", "mime-version", "return-path",
    "received", "dkim-signature",
))  # fmt: skip
"""Fields that the API writes itself, or that are the relay's."""
ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL = re.compile(rf"{ATEXT}(\.{ATEXT})*")
NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>\s*")
FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,75}")
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
CONTENT_ID = re.compile(r"[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?")


def _address(value: str) -> str:
    """An address as the envelope takes it: a dot-string and a domain (RFC 5321, 4.1.2), in ASCII."""
    local, at, domain = value.rpartition("@")
    if not value.isascii():
        raise ValueError("an ASCII address; write the domain in its xn-- form (SMTPUTF8 is not supported)")
    if not at or len(value) > LONGEST_ADDRESS or len(local) > LONGEST_LOCAL:
        raise ValueError("an address such as user@example.com")
    if not LOCAL.fullmatch(local) or not is_name(domain.lower()):
        raise ValueError("an address such as user@example.com")
    return value


def line(value: str) -> str:
    """The text, where it is one line.

    Raises:
        ValueError: it has line breaks, or control characters.
    """
    if not value.isprintable():
        raise ValueError("text without line breaks and control characters")
    return value


def _text(value: str) -> str:
    if any(ord(char) < 32 and char not in "\t\n\r" for char in value) or "\x7f" in value:
        raise ValueError("text without control characters other than tabs and line breaks")
    return value


Envelope = Annotated[str, Field(max_length=LONGEST_ADDRESS), AfterValidator(_address)]
"""An address: ``user@example.com``."""
Line = Annotated[str, AfterValidator(line)]
Content = Annotated[str, AfterValidator(_text)]


def _octets(value: Any) -> bytes:
    """Octets of base64 with or without line breaks; pydantic's own type skips whatever is none. JSON has no octets."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode("".join(value.split()) if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("base64") from None


Octets = Annotated[
    bytes, BeforeValidator(_octets), WithJsonSchema({"type": "string", "contentEncoding": "base64"}, mode="validation")
]


def _mailbox(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    named = NAMED.fullmatch(value)
    if named is None:
        return {"address": value}
    name = named["name"].strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return {"name": name, "address": named["address"]}


class Mailbox(BaseModel):
    """An address with a name."""

    model_config = ConfigDict(extra="forbid")

    address: Envelope = Field(description="The address, such as `user@example.com`.")
    name: Annotated[Line, Field(max_length=200)] = Field("", description="The name that is shown beside it.")

    def in_header(self) -> Address:
        """The mailbox as the email package takes it."""
        local, _, domain = self.address.rpartition("@")
        return Address(self.name, local, domain)


Recipient = Annotated[Mailbox, BeforeValidator(_mailbox, json_schema_input_type=str | Mailbox)]
"""A mailbox, or text: ``user@example.com``, ``User Name <user@example.com>``."""


class Attachment(BaseModel):
    """A file that goes with the message."""

    model_config = ConfigDict(extra="forbid")

    filename: Annotated[Line, Field(min_length=1, max_length=200)] = Field(description="Its name.")
    content: Octets = Field(description="Its octets, in base64.")
    type: str = Field("application/octet-stream", description="Its media type.")
    content_id: str | None = Field(
        None, max_length=200, description="For a picture in the HTML, which refers to it as `cid:CONTENT_ID`."
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not MEDIA_TYPE.fullmatch(self.type) or self.type.startswith(("multipart/", "message/")):
            raise ValueError("a type such as application/pdf, in lower case; neither multipart nor message")
        if self.content_id is not None and not CONTENT_ID.fullmatch(self.content_id):
            raise ValueError("a content_id such as logo, or logo@example.com")
        return self


def _headers(value: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name, text in value.items():
        lower = name.lower()
        if not FIELD.fullmatch(name):
            raise ValueError("names of header fields such as List-Unsubscribe")
        if lower in OWN or lower.startswith(("content-", "resent-", "arc-")):
            raise ValueError(f"other header fields than {name}, which is made from the rest of the request")
        if lower in seen:
            raise ValueError(f"{name} once")
        seen.add(lower)
        if not text.strip() or not text.isprintable():
            raise ValueError(f"a value of {name} without line breaks and control characters")
        if max(len(word.encode()) for word in text.split(" ")) > LONGEST_WORD:
            raise ValueError(f"a value of {name} with a space after {LONGEST_WORD} octets at most")
    return value


Headers = Annotated[dict[str, Annotated[str, Field(max_length=4000)]], Field(max_length=50), AfterValidator(_headers)]


@dataclass(frozen=True)
class Fields:
    """What a message is made of."""

    from_: Recipient
    to: Sequence[Recipient]
    cc: Sequence[Recipient]
    reply_to: Sequence[Recipient]
    subject: str
    text: str | None
    html: str | None
    attachments: Sequence[Attachment]
    headers: dict[str, str]


def message(fields: Fields, message_id: str) -> bytes:
    """The message, with CRLF at each line's end.

    Raises:
        ValueError: the email package can't write it.
    """
    made = EmailMessage(POLICY)
    made["From"] = fields.from_.in_header()
    for name, mailboxes in (("To", fields.to), ("Cc", fields.cc), ("Reply-To", fields.reply_to)):
        if mailboxes:
            made[name] = [each.in_header() for each in mailboxes]
    if not (fields.to or fields.cc):
        made["To"] = "undisclosed-recipients:;"
    made["Subject"] = fields.subject
    made["Date"] = format_datetime(datetime.now(UTC))
    made["Message-ID"] = message_id
    for name, value in fields.headers.items():
        made[name] = value
    _fill(made, fields)
    return made.as_bytes()


def _fill(made: EmailMessage, fields: Fields) -> None:
    related = [each for each in fields.attachments if each.content_id and fields.html is not None]
    if fields.text is not None:
        made.set_content(fields.text)
    if fields.html is not None:
        if fields.text is None:
            made.set_content(fields.html, subtype="html")
            html: Any = made
        else:
            made.add_alternative(fields.html, subtype="html")
            html = made.get_payload(1)
        _attach(html.add_related, related, "inline")
    _attach(made.add_attachment, [each for each in fields.attachments if each not in related], "attachment")


def _attach(add: Any, attachments: Iterable[Attachment], disposition: str) -> None:
    for each in attachments:
        kind, _, subtype = each.type.partition("/")
        about: dict[str, Any] = {"filename": each.filename, "disposition": disposition}
        if each.content_id:
            about["cid"] = f"<{each.content_id}>"
        add(each.content, maintype=kind, subtype=subtype, **about)
