"""What a person wrote to a return address, as a message to the one address that ``returns.forward_to`` names. Pure.

It leaves as a message of ours, signed by a domain of ours, with what was written attached octet by octet: so DMARC
passes for the outer message, and the signature within stays whole. Its envelope sender is empty, so nobody bounces it
or answers it by the envelope, and what has an empty sender is not forwarded, here or in another relay: no loop.
"""

import email.policy
import re
import secrets
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from postroad.returns import message
from postroad.returns.found import UnreadableError
from postroad.returns.message import Parsed, address, clean, field
from postroad.returns.spool import Waiting
from postroad.runtime.returning import Settings

MOST_HOPS = 25
"""``Received:`` fields; a reply has passed a few servers."""
LOOP = "X-Loop"
"""The field by which a forwarded message is known, with the domain of return addresses; as procmail's users have it."""

_LISTS = ("List-Id", "List-Post", "List-Unsubscribe", LOOP)
_BULK = frozenset({"bulk", "junk", "list"})
_UNLIKE_RFC822 = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n|[^\n]{990,}")
"""What a server on the way would change in an attached message: the content of ``message/rfc822`` is not encoded."""
_REPORT = re.compile(r"report domain:", re.IGNORECASE)
"""The subject of a DMARC or TLS report (RFC 7489, 7.2.1.1; RFC 8460, 5.3), also where it goes to the wrong address."""
_PLAIN = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,250}>")


def unfit(waiting: Waiting, to: str) -> str:
    """Why something that a person may have written is not forwarded to this address; empty where it is.

    Args:
        waiting: the message.
        to: who would get it, a mail address.
    """
    try:
        parsed = message.parse(waiting.content)
    except UnreadableError as error:
        return str(error)
    writers = {waiting.sender.lower(), (address(field(parsed, "From")) or "").lower()}
    reasons = {
        "its envelope sender is empty": not waiting.sender,
        "a machine wrote it": _is_automatic(parsed) or any(each.startswith("mailer-daemon@") for each in writers),
        "it is a receipt or a report": parsed.get_content_type() == "multipart/report"
        or bool(_REPORT.match(message.subject(parsed))),
        "it is from a list, or was forwarded before": field(parsed, "Precedence", 40).lower() in _BULK
        or any(parsed.get(name) is not None for name in _LISTS),
        f"it has passed more than {MOST_HOPS} servers": len(parsed.get_all("Received") or []) > MOST_HOPS,
        "it is from the address that would get it": to.lower() in writers,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _is_automatic(parsed: Parsed) -> bool:
    return field(parsed, "Auto-Submitted", 100).lower().partition(";")[0].strip() not in {"", "no"}


def letter(waiting: Waiting, about: str | None, settings: Settings, now: datetime) -> bytes:
    """The message to hand on, with CRLF at each line's end.

    Args:
        waiting: what was written.
        about: the queue id of the message that it replies to; None: it was written to ``abuse@`` or ``postmaster@``.
        settings: with ``forwarding``.
        now: the date.

    Raises:
        UnreadableError: what was written can't be read.
        ValueError: ``settings`` has no ``forwarding``.
    """
    if settings.forwarding is None:
        raise ValueError("nothing is forwarded")
    parsed = message.parse(waiting.content)
    answer_to = _answer_to(parsed, waiting)
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"] = Address(f"{_name(parsed, waiting)} via {settings.domain}", addr_spec=settings.forwarding.sender)
    made["To"] = settings.forwarding.to
    if answer_to:
        made["Reply-To"] = answer_to
    made["Subject"] = message.subject(parsed)[:200] or "(no subject)"
    made["Date"] = format_datetime(now)
    made["Message-ID"] = make_msgid(domain=settings.hostname)
    original = field(parsed, "Message-ID", 300)
    if _MESSAGE_ID.fullmatch(original):
        made["References"] = original  # so that an answer has its place where it is read
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies, and no other relay forwards it
    made["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    made[LOOP] = settings.domain
    note = EmailMessage(policy=email.policy.SMTP)
    note.set_content(_note(parsed, waiting, about, answer_to), cte="quoted-printable")
    del note["MIME-Version"]
    return _mixed(made, note, waiting.content)


def _mixed(head: EmailMessage, note: EmailMessage, content: bytes) -> bytes:
    """The message of both parts. The standard library would write an attached one anew, which ends its signature."""
    boundary = f"=_{secrets.token_hex(16)}".encode()
    if _UNLIKE_RFC822.search(content):
        whole = EmailMessage(policy=email.policy.SMTP)
        whole.set_content(content, "application", "octet-stream", filename="message.eml")
        del whole["MIME-Version"]
        attached, encoding = whole.as_bytes(), b"7bit"
    else:
        encoding = b"7bit" if content.isascii() else b"8bit"
        attached = b'Content-Type: message/rfc822\r\nContent-Disposition: inline; filename="message.eml"\r\n'
        attached += b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + content
    return b"".join(
        (
            head.as_bytes().removesuffix(b"\r\n"),  # that is the empty line after the header
            b"MIME-Version: 1.0\r\n",
            b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n',
            b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n",
            b"--" + boundary + b"\r\n" + note.as_bytes(),
            b"\r\n--" + boundary + b"\r\n" + attached,
            b"\r\n--" + boundary + b"--\r\n",
        )
    )


def _note(parsed: Parsed, waiting: Waiting, about: str | None, answer_to: str | None) -> str:
    to = f"a reply to the message {about}" if about else f"a message to {', '.join(waiting.recipients)}"
    answer = f"To answer, reply to this message: your reply goes to {answer_to}." if answer_to else ""
    return (
        f"The attached message came back here as {to}.\n\n"
        f"From: {clean(message.decoded(field(parsed, 'From', 1000)), 300) or '(none)'}\n"
        f"Envelope sender: {clean(waiting.sender) or '<>'}\n"
        f"Client: {clean(waiting.peer)}\n\n"
        "Nobody has checked who wrote it, or what is in it.\n"
        f"{answer}\n"
    )


def _answer_to(parsed: Parsed, waiting: Waiting) -> str | None:
    """The first plain address of those that an answer may go to."""
    named = (address(field(parsed, "Reply-To")), address(field(parsed, "From")), waiting.sender)
    return next((each for each in named if each and _PLAIN.fullmatch(each)), None)


def _name(parsed: Parsed, waiting: Waiting) -> str:
    """A name for who wrote, without anything that may be taken for an address."""
    shown = message.decoded(field(parsed, "From", 1000))
    name = shown.rpartition("<")[0].strip().strip('"') or (address(shown) or waiting.sender).partition("@")[0]
    return clean(re.sub(r'[<>"\\@]', " ", name), 60) or "somebody"
