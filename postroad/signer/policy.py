"""Whether a message may leave, and what changes in its header. Pure: no I/O and no clock.

It is told by the octets that leave: sendmail passes a header on as it is (``preload/headers.c``), so nothing stands
between this decision and the receiver. What can't be read is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from postroad.runtime.signing import SenderDomain, Settings
from postroad.signer import rewriting
from postroad.signer.addresses import FieldError, Mailbox, mailboxes, recipients

ONCE = {
    name.lower().encode(): name
    for name in (
        *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject"),
        *("Message-ID", "In-Reply-To", "References"),
    )
}
"""The fields that may stand in a header once (RFC 5322, section 3.6)."""

MOST_HOPS = 100
"""Servers that a message may have passed (RFC 5321, section 6.3)."""

LONGEST_LINE = 2000
"""Octets of a line of a header, its name included; sendmail cuts at 2,298. RFC 5322 (section 2.1.1) has 998."""

LONGEST_NAME = 100
"""Octets of a field's name; sendmail cuts at 200."""

_NAME = re.compile(rb"[!-9;-~]+")
_TRACE = frozenset((b"received", b"x400-received", b"via", b"mail-from"))  # sendmail's hops (H_TRACE)
_PEOPLE = {  # fields that name who sends, and which must be plain
    name.lower().encode(): name for name in ("Sender", "Resent-From", "Resent-Sender")
}
_REWRITTEN = frozenset(
    name.encode()
    for name in (
        *("sender", "reply-to", "errors-to", "disposition-notification-to", "to", "cc", "apparently-to"),
        *("resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc"),
    )
)
_TAG = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_SIGNATURE_TAGS = (b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
_HIDDEN = frozenset((b"bcc", b"resent-bcc"))
# sendmail keeps these octets as two, and would cut a line that it finds too long by its own count
_DOUBLED = bytes((*range(0x80, 0xA0), 0xFF))
_CONTROL = re.compile(rb"[\x00\r]")


@dataclass(frozen=True)
class SubmittedMessage:
    """What is known of a message at its end.

    Attributes:
        headers: its fields in order: name, and value with the white space that leads it; lines end with LF.
        user: who authenticated; empty where nobody did.
    """

    headers: tuple[tuple[bytes, bytes], ...]
    user: str


@dataclass(frozen=True)
class Refusal:
    """The message is refused for good.

    Attributes:
        code: the reply code, three digits.
        status: the enhanced status code (RFC 3463).
        text: names the field and the reason; printable ASCII.
    """

    code: str
    status: str
    text: str


@dataclass(frozen=True)
class HeaderChange:
    """A field that leaves otherwise: the ``index``-th of that name, from 1; without a value it goes."""

    name: bytes
    index: int
    value: bytes | None


@dataclass(frozen=True)
class Acceptance:
    """The message may leave.

    Attributes:
        headers: its fields as they leave.
        changes: what makes those of the message's.
        added: fields to add at the end.
        domains: the domains in From:, in lower case, each once: a signature for each that has a key.
    """

    headers: tuple[tuple[bytes, bytes], ...]
    changes: tuple[HeaderChange, ...] = ()
    added: tuple[tuple[bytes, bytes], ...] = ()
    domains: tuple[str, ...] = ()


class _RefusedError(Exception):
    def __init__(self, text: str, status: str = "5.6.0") -> None:
        super().__init__(text)
        self.refusal = Refusal("550", status, text)


@dataclass(frozen=True)
class _From:
    value: bytes
    domains: tuple[str, ...]
    original: str = ""


def decide(message: SubmittedMessage, settings: Settings) -> Refusal | Acceptance:
    """Judge a message."""
    try:
        return _decide(message, settings)
    except _RefusedError as refused:
        return refused.refusal


def _decide(message: SubmittedMessage, settings: Settings) -> Acceptance:
    _check_counts(Counter(name.lower() for name, _ in message.headers))
    headers: list[tuple[bytes, bytes]] = []
    changes: list[HeaderChange] = []
    sender = _From(b"", ())
    seen: Counter[bytes] = Counter()
    for name, value in message.headers:
        _check_shape(name, value)
        lower = name.lower()
        seen[lower] += 1
        new: bytes | None = None
        if lower == b"from":
            sender = _from(value, message.user, settings)
            new = sender.value
        elif lower not in _HIDDEN:
            new = _leaving(lower, value, settings)
        if new != value:
            changes.append(HeaderChange(name, seen[lower], new))
        if new is not None:
            headers.append((name, new))
    added = ((b"X-Original-From", b" " + sender.original.encode("latin-1")),) if sender.original else ()
    return Acceptance((*headers, *added), tuple(changes), added, tuple(dict.fromkeys(sender.domains)))


def _check_counts(counts: Counter[bytes]) -> None:
    hops = sum(counts[name] for name in _TRACE)
    if hops > MOST_HOPS:
        raise _RefusedError(f"Received: stands here {hops} times, {MOST_HOPS} are most: mail goes in a circle", "5.4.6")
    if not counts[b"from"]:
        raise _RefusedError("the message has no From: header")
    for name, shown in ONCE.items():
        if counts[name] > 1:
            raise _RefusedError(f"more than one {shown}: header", "5.7.1" if name == b"from" else "5.6.0")


def _leaving(name: bytes, value: bytes, settings: Settings) -> bytes:
    """A field as it leaves, other than From:."""
    if name == b"dkim-signature":
        _check_signature(value)
    if name in _PEOPLE:
        found = _people(_PEOPLE[name], value, bare=bool(settings.rewriting.add_domain))
        if name != b"resent-from" and len(found) > 1:
            raise _RefusedError(f"{_PEOPLE[name]}: must hold one address")
        return _rewrite(value, found, settings)
    if name in _REWRITTEN and _rewrites(settings):
        with suppress(FieldError):  # nothing in it is an address that we know
            return _rewrite(value, recipients(_text(value)), settings)
    return value


def _check_signature(value: bytes) -> None:
    """Refuse what is called a DKIM-Signature and is none (RFC 6376, 3.5): OpenDKIM then looks at no other either."""
    tags = {}
    for spec in value.strip(b" \t\n").removesuffix(b";").split(b";"):
        tag, _, text = spec.partition(b"=")
        tags[tag.strip(b" \t\n")] = text.strip(b" \t\n")
    if not all(tags.get(tag) for tag in _SIGNATURE_TAGS) or not all(_TAG.fullmatch(tag) for tag in tags):
        raise _RefusedError("DKIM-Signature: is not a signature as RFC 6376 (3.5) has it")


def _check_shape(name: bytes, value: bytes) -> None:
    shown = name[:LONGEST_NAME].decode("ascii", "replace").encode("ascii", "replace").decode()
    if not _NAME.fullmatch(name):
        raise _RefusedError("a header field's name holds other characters than RFC 5322 (3.6.8) has")
    if len(name) > LONGEST_NAME:
        raise _RefusedError(f"{shown[:40]}...: a header field's name may have {LONGEST_NAME} octets")
    if _CONTROL.search(value):
        raise _RefusedError(f"{shown}: holds a NUL or CR")
    size = len(name) + 1
    if size + len(value) > LONGEST_LINE // 2:
        for line in value.split(b"\n"):
            if size + len(line) + len(line) - len(line.translate(None, _DOUBLED)) > LONGEST_LINE:
                raise _RefusedError(
                    f"{shown}: has a line of more than {LONGEST_LINE} octets (some count twice): fold it"
                )
            size = 0


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _rewrites(settings: Settings) -> bool:
    change = settings.rewriting
    return bool(change.add_domain or change.masquerade_domains or change.addresses)


def _people(name: str, value: bytes, *, bare: bool) -> list[Mailbox]:
    try:
        return mailboxes(_text(value), bare=bare)
    except FieldError as error:
        raise _RefusedError(f"{name}: {error}", "5.7.1") from error


def _rewrite(value: bytes, found: Iterable[Mailbox], settings: Settings) -> bytes:
    if not _rewrites(settings):
        return value
    text = _text(value)
    pairs = []
    for mailbox in found:
        local, domain = rewriting.rewritten(settings.rewriting, mailbox)
        pairs.append((mailbox, f"{local}@{domain}" if domain else local))
    return rewriting.replaced(text, pairs).encode("latin-1")


def _from(value: bytes, user: str, settings: Settings) -> _From:
    """From: as it leaves, once it is known that this user may send it."""
    found = _people("From", value, bare=bool(settings.rewriting.add_domain))
    pairs = []
    domains: list[str] = []
    for mailbox in found:
        local, domain = rewriting.rewritten(settings.rewriting, mailbox)
        name = domain.lower()
        if not _covers(settings.domains, name):
            raise _RefusedError(
                f"From: domain {name} is not one of domains in the configuration of this relay", "5.7.1"
            )
        if user and not _covers(_rights(user, settings), name):
            raise _RefusedError(f"user {_shown(user)} may not send From: {name}", "5.7.1")
        pairs.append((mailbox, f"{local}@{domain}"))
        domains.append(name)
    one = settings.rewriting.sender
    if one:
        if len(pairs) > 1:
            raise _RefusedError("From: must hold one address, as rewrite.sender takes its place", "5.7.1")
        original = pairs[0][1]
        pairs = [(found[0], one)]
        domain = one.rpartition("@")[2].lower()
        return _From(rewriting.replaced(_text(value), pairs).encode("latin-1"), (domain,), original)
    if _rewrites(settings):
        value = rewriting.replaced(_text(value), pairs).encode("latin-1")
    return _From(value, tuple(domains))


def _covers(domains: Iterable[SenderDomain], name: str) -> bool:
    return any(domain.covers(name) for domain in domains)


def _rights(user: str, settings: Settings) -> tuple[SenderDomain, ...]:
    """The domains of a user, under either form of the name; none for one who is not known."""
    name, at, realm = user.rpartition("@")
    return settings.users.get(name if at and realm == settings.hostname else user, ())


def _shown(text: str) -> str:
    return re.sub(r"[^!-~]", "?", text)[:100]
