"""Mailboxes as vendors' requests have them: in text, as in a header's field."""

from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message as Header
from email.parser import BytesHeaderParser

from postroad.signer import addresses
from postroad.web.vendor import refusal


def mailboxes(text: str, where: str) -> list[dict[str, str]]:
    """The mailboxes of an address list (RFC 5322, 3.4), read as strictly as the policy reads a header.

    Args:
        text: the list; names may be encoded words (RFC 2047).
        where: the vendor's name of the value.

    Raises:
        Problem: it is no such list, or has groups.
    """
    octets = text.encode(errors="replace").decode("latin-1")
    try:
        found = addresses.recipients(octets)
    except addresses.FieldError as error:
        raise refusal(where, f"mailboxes such as User Name <user@example.com>: this one {error}") from None
    boxes, end = [], 0
    for box in found:
        before = octets[end : box.start].strip(" \t\r\n,>")
        if not box.domain or ":" in _unquoted(before) or ";" in _unquoted(before):
            raise refusal(where, "addresses with a domain such as user@example.com, and no groups")
        name = _name(before[:-1].strip()) if before.endswith("<") else ""
        boxes.append({"name": name, "address": f"{box.local}@{box.domain}"})
        end = box.end
    return boxes


def mailbox(text: str, where: str) -> dict[str, str]:
    """One mailbox.

    Raises:
        Problem: it is something else.
    """
    found = mailboxes(text, where)
    if len(found) != 1:
        raise refusal(where, "one mailbox such as User Name <user@example.com>")
    return found[0]


def header_of(data: bytes) -> Header:
    """The header of a message that is MIME already."""
    return BytesHeaderParser(policy=policy.compat32).parsebytes(data)


def in_header(found: Header, name: str, where: str) -> list[dict[str, str]]:
    """The mailboxes in a header's fields of this name.

    Raises:
        Problem: they are not plain.
    """
    folded = [str(value).replace("\r\n", "\n") for value in found.get_all(name, [])]
    return [box for value in folded for box in mailboxes(value, f"{where}: {name}")]


def _unquoted(text: str) -> str:
    """The text without what is in quotes."""
    return "".join(text.replace('\\"', "").split('"')[::2])


def _name(octets: str) -> str:
    text = octets.encode("latin-1").decode(errors="replace")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    try:
        return " ".join(str(make_header(decode_header(text))).split()) if "=?" in text else text
    except (HeaderParseError, LookupError, ValueError):
        return text
