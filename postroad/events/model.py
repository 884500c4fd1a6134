"""The typed events: what happened to each message, and to the two programs, one class a kind.

Addresses come without their angle brackets; the null sender is the empty string. Delays are in seconds,
sizes in bytes, times in seconds since the epoch (UTC), taken when the line was received. A field that
the log line did not give is None, and left out of the dictionary.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have: when it was, and which process said so (``sendmail``, ``signer`` or ``postroad``)."""

    kind: ClassVar[str] = "event"

    time: float
    program: str | None = None
    pid: int | None = None

    def to_dict(self) -> dict[str, str | int | float | bool]:
        """The event as it is published: ``event`` (the kind), ``time`` (ISO 8601, UTC), then what is known."""
        stamp = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        result: dict[str, str | int | float | bool] = {"event": self.kind, "time": stamp.replace("+00:00", "Z")}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "time":
                result[field.name] = value
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent(Event):
    """An event of one message. ``message_id`` is the header's value, which sendmail logs up to 100 bytes of."""

    queue_id: str | None = None
    message_id: str | None = None
    sender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(MessageEvent):
    """A client's message was answered 250: it is in the queue, or on its way."""

    kind: ClassVar[str] = "accepted"

    client_name: str | None = None
    client_address: str | None = None
    protocol: str | None = None
    listener: str | None = None
    size: int | None = None
    recipients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(MessageEvent):
    """A client was refused: its connection, its sender, one recipient, or the message for one recipient.

    ``reply`` is what the client was told, with the SMTP code where sendmail logs it; ``ruleset`` the rule that refused.
    """

    kind: ClassVar[str] = "rejected"

    recipient: str | None = None
    client_name: str | None = None
    client_address: str | None = None
    dsn: str | None = None
    reply: str | None = None
    ruleset: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientEvent(MessageEvent):
    """An attempt to deliver to one recipient, or the end of all attempts.

    ``relay_host`` and ``relay_address`` are the server that was tried. ``dsn`` is the enhanced status code (RFC 3463),
    ``reply`` what the server said, ``status`` sendmail's own words. ``delay`` is the time since the message was
    accepted, ``attempt_delay`` that of this attempt.
    """

    recipient: str | None = None
    mailer: str | None = None
    relay_host: str | None = None
    relay_address: str | None = None
    dsn: str | None = None
    reply: str | None = None
    status: str | None = None
    delay: int | None = None
    attempt_delay: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(RecipientEvent):
    """Put into the queue without an attempt: the next queue run makes one."""

    kind: ClassVar[str] = "queued"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(RecipientEvent):
    """The receiving server took the message."""

    kind: ClassVar[str] = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred(RecipientEvent):
    """This attempt failed for now; another one follows."""

    kind: ClassVar[str] = "deferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounced(RecipientEvent):
    """Given up: the receiving server refused for good, or the attempts took too long.

    ``late``: the receiving server had taken the message, and a bounce came back; ``relay_host`` is then the server that
    the bounce names. Other bounces do not have the field.
    """

    kind: ClassVar[str] = "bounced"

    late: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complained(MessageEvent):
    """A recipient pressed "spam", and the provider's feedback loop told us (RFC 5965).

    ``feedback`` is ``abuse``, ``fraud``, ``virus``, ``opt-out``, ``not-spam`` (a complaint taken back) or ``other``;
    ``reporter`` who told.
    """

    kind: ClassVar[str] = "complained"

    recipient: str | None = None
    feedback: str | None = None
    reporter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribed(Event):
    """A recipient wants no more mail from a sender domain, by the link of one-click unsubscribing (RFC 8058)."""

    kind: ClassVar[str] = "unsubscribed"

    recipient: str
    sender_domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(MessageEvent):
    """Something came back that is neither a bounce nor a complaint, or says nothing new.

    ``what`` is ``delayed``, ``delivered``, ``automatic`` (such as a vacation reply), ``challenge``, ``forwarded``
    (written by a person, and handed on to ``returns.forward_to``), ``unreadable`` (kept in the state volume),
    ``unknown`` (of a recipient that the message does not have) or ``repeated``; ``status`` says more. ``recipient`` is
    one that the message has.
    """

    kind: ClassVar[str] = "returned"

    what: str
    recipient: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Event):
    """A line of a report that a receiver sent: what it saw of mail in our name, or of TLS with us.

    ``report`` is ``dmarc`` or ``tls``. Of DMARC: ``domain`` is that in From:, ``source`` the address that sent,
    ``count`` messages, ``dkim`` and ``spf`` whether each passed and is aligned, ``disposition`` what became of them.
    Of TLS: ``domain`` is the one that mail was sent to, ``count`` sessions, ``result`` why they failed (RFC 8460, 4.3)
    or ``success``, ``source`` the MX. ``begin`` and ``end`` are seconds since the epoch.
    """

    kind: ClassVar[str] = "reported"

    report: str
    organization: str | None = None
    report_id: str | None = None
    domain: str | None = None
    source: str | None = None
    count: int = 0
    dkim: bool | None = None
    spf: bool | None = None
    disposition: str | None = None
    result: str | None = None
    begin: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified(MessageEvent):
    """sendmail wrote a message about this one: a bounce or a delay warning, usually to the sender.

    ``notification_id`` is that message's queue id, ``notification`` what it is, in sendmail's words (``DSN``,
    ``return to sender``, ``sender notify``, ``postmaster notify``, ``return receipt``).
    """

    kind: ClassVar[str] = "notified"

    notification_id: str | None = None
    notification: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(MessageEvent):
    """The signer added a DKIM signature (RFC 6376)."""

    kind: ClassVar[str] = "signed"

    domain: str | None = None
    selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected(MessageEvent):
    """The mail of a recipient goes to another address than the client named: ``recipients.redirect_to``, ``rewrite``.

    sendmail delivers once where several go to the same one, and logs the first of them only.
    """

    kind: ClassVar[str] = "redirected"

    recipient: str
    redirected_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evacuated(MessageEvent):
    """A message that waited here was handed over to another relay, and waits there.

    ``to_relay`` is that relay's name, and ``to_queue_id`` what the message is called there.
    """

    kind: ClassVar[str] = "evacuated"

    to_relay: str | None = None
    to_queue_id: str | None = None
    recipients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver(MessageEvent):
    """A message that another relay had accepted was taken from it, and waits here.

    ``from_relay`` is that relay's name, and ``from_queue_id`` what the message was called there. ``recipients`` counts
    those that are left, ``attempts`` how often the message was tried.
    """

    kind: ClassVar[str] = "taken_over"

    from_relay: str | None = None
    from_queue_id: str | None = None
    recipients: int | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls(Event):
    """A TLS session was set up, as ``server`` to a client or as ``client`` to a relay.

    ``verify`` is sendmail's ``{verify}``: OK, NO (no certificate), FAIL (not trusted: usual between mail servers), ...
    """

    kind: ClassVar[str] = "tls"

    side: str | None = None
    client_name: str | None = None
    client_address: str | None = None
    relay_host: str | None = None
    relay_address: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    tls_bits: int | None = None
    tls_verify: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth(Event):
    """A client authenticated, or tried to (SMTP AUTH, RFC 4954)."""

    kind: ClassVar[str] = "auth"

    success: bool | None = None
    user: str | None = None
    mechanism: str | None = None
    client_name: str | None = None
    client_address: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected(MessageEvent):
    """A client went away, or fell silent, in the middle of a session; ``status`` says where or how."""

    kind: ClassVar[str] = "disconnected"

    client_name: str | None = None
    client_address: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A program started."""

    kind: ClassVar[str] = "started"

    version: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """A program stopped, or is about to start again."""

    kind: ClassVar[str] = "stopped"

    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Event):
    """The supervisor's state changed: ``preparing``, ``starting``, ``ready``, ``degraded`` or ``stopping``."""

    kind: ClassVar[str] = "state"

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something that Postroad itself has to say; ``level`` is ``info``, ``warning`` or ``error``."""

    kind: ClassVar[str] = "notice"

    level: str = "info"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceRate(Event):
    """How much of a sender domain's mail bounces has become another matter.

    ``state`` is ``warning``, ``braked`` (nothing is accepted from it), ``released`` (by a person) or ``normal``.
    ``bounced`` of ``ended`` recipients bounced hard within ``window`` seconds; ``bounce_rate`` is from 0 to 1.
    """

    kind: ClassVar[str] = "bounce_rate"

    state: str
    sender_domain: str
    bounced: int
    ended: int
    bounce_rate: float
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplaintRate(Event):
    """How much of a sender domain's mail is called spam has become another matter.

    ``state`` is as in ``BounceRate``. Of ``delivered`` recipients ``complained`` did so within ``window`` seconds;
    ``complaint_rate`` is from 0 to 1.
    """

    kind: ClassVar[str] = "complaint_rate"

    state: str
    sender_domain: str
    complained: int
    delivered: int
    complaint_rate: float
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowed(Event):
    """A receiver has asked for less: it gets fewer connections at once, or less in a minute.

    ``receiver`` is its name, or the end of its MX hosts' names; ``reason`` the class of its ``reply``, as of a bounce.
    ``connections`` is the most at once from now on, ``per_minute`` the most messages; None: any number.
    """

    kind: ClassVar[str] = "slowed"

    receiver: str
    reason: str
    reply: str
    connections: int | None = None
    per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Event):
    """A receiver blocks, or takes nothing any more: its mail waits.

    ``until`` is when one message tries (ISO 8601, UTC).
    """

    kind: ClassVar[str] = "paused"

    receiver: str
    reason: str
    reply: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """A receiver that was paused takes mail again, or one that was slowed gets as much as any other.

    ``lasted`` is for how many seconds it was slowed or paused; ``connections`` and ``per_minute`` as in ``slowed``,
    None: any number.
    """

    kind: ClassVar[str] = "resumed"

    receiver: str
    lasted: int
    connections: int | None = None
    per_minute: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor(Event):
    """A check of the doctor's fails that did not at its last look, or fails no longer.

    ``check`` is its id, ``level`` ``error`` or ``ok``. For ``error``: ``message``, ``seen`` and ``fix`` as the doctor
    prints them, and the ``record`` to publish (``NAME TYPE VALUE``). For ``ok``: ``failed_for``, in seconds.
    """

    kind: ClassVar[str] = "doctor"

    check: str
    level: str
    message: str
    seen: str | None = None
    fix: str | None = None
    record: str | None = None
    failed_for: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console(Event):
    """Somebody did something by the console.

    ``by`` is who: ``operator``, ``viewer``, or the name that an identity provider gave; ``client_address`` is where
    from. ``action`` is what was done (``signed_in``, ``queue_delete``, ...), ``message`` to what, in words.
    """

    kind: ClassVar[str] = "console"

    by: str
    client_address: str
    action: str
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(Event):
    """A line that is no event of its own, as it was logged; ``level`` is syslog's (``err``, ``info``...)."""

    kind: ClassVar[str] = "raw"

    level: str | None = None
    queue_id: str | None = None
    message: str
