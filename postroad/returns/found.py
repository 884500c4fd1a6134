"""What a returned message says, as it is read; pure."""

from dataclasses import dataclass


class UnreadableError(Exception):
    """It is not what it should be, or more than is read; the message says why."""


@dataclass(frozen=True)
class Failure:
    """One recipient that a bounce names.

    Attributes:
        recipients: the names that it has for the recipient, the one that we sent to first; may be empty.
        dsn: the enhanced status code (RFC 3463), or None.
        reply: what the server said that refused, or None.
        mta: the host name of that server, or None.
    """

    recipients: tuple[str, ...] = ()
    dsn: str | None = None
    reply: str | None = None
    mta: str | None = None


@dataclass(frozen=True)
class Bounce:
    """The message was not delivered to these recipients, after it had been accepted."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Complaint:
    """A person pressed "spam" (RFC 5965).

    Attributes:
        feedback: ``abuse``, ``fraud``, ``not-spam``, ``opt-out``, ``virus`` or ``other``.
        recipient: the address of that person, or None where it is redacted.
        senders: envelope senders that the report or the message in it has: one may be a return address.
        message_id: that of the message, with its brackets, or None.
        reporter: who reports, or None.
    """

    feedback: str
    recipient: str | None
    senders: tuple[str, ...]
    message_id: str | None
    reporter: str | None


@dataclass(frozen=True)
class Other:
    """Neither.

    Attributes:
        what: ``delayed`` (still tried), ``delivered`` (or relayed), ``automatic`` (such as a vacation reply),
            ``challenge`` (asks the sender to prove something), ``written`` (by a person, as far as can be told) or
            ``unreadable``.
        why: in words, for the log; may be empty.
    """

    what: str
    why: str = ""


Returned = Bounce | Complaint | Other
