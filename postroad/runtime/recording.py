"""The recorder's settings, which commands that read the event store use as well; secret. Standard library only."""

from dataclasses import dataclass, field
from pathlib import Path

from postroad.runtime import handover

FILE = "recorder.json"


@dataclass(frozen=True)
class DatabaseServer:
    """The PostgreSQL database of ``events.store``: its URL without a password, and the password, if it has one."""

    url: str
    password: str | None = field(repr=False)


@dataclass(frozen=True)
class SuppressionRules:
    """Which failures suppress an address.

    Attributes:
        keep: seconds for which; None: nothing is suppressed.
        scope: ``all`` or ``sender_domain``: whose mail to the address is refused.
        never: addresses and domains that are never suppressed, in lower case.
        soft_count: after so many messages that found a mailbox full or disabled; None: never for that.
        soft_within: all of them within so many seconds.
    """

    keep: float | None
    scope: str
    never: tuple[str, ...]
    soft_count: int | None
    soft_within: float


@dataclass(frozen=True)
class BrakeRules:
    """When a sender domain is warned of and braked.

    Attributes:
        brake: from this rate on its mail is refused; from 0 to 1, None: never.
        warn: likewise, from which the log and the metrics warn.
        window: seconds over which it is counted.
        minimum: recipients below which a rate says nothing.
    """

    brake: float | None
    warn: float | None
    window: float
    minimum: int


@dataclass(frozen=True)
class Hook:
    """A webhook as the recorder posts to it.

    Attributes:
        name: its events wait under this name.
        url: where they are posted to.
        secrets: that sign them, each in base64.
        types: kinds of events that it wants.
        senders: domains of senders, ``.example.com`` for all below it; empty: any. ``recipients`` likewise.
        allow_private: whether it may be at a private address.
        ca: certificates (PEM) of authorities to trust besides the system's; may be empty.
        give_up_after: seconds after which an event becomes a dead letter.
    """

    name: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    types: tuple[str, ...]
    senders: tuple[str, ...]
    recipients: tuple[str, ...]
    allow_private: bool
    ca: str
    give_up_after: float


@dataclass(frozen=True)
class Settings:
    """All that the recorder needs to know.

    Attributes:
        hostname: the source of what webhooks get.
        store: the database server; None: SQLite on the state volume.
        keep: seconds after which an event is removed.
        max_size: octets above which the oldest events are removed.
        http: address and port to listen on; None: no HTTP.
        suppression: which failures suppress an address.
        bounces: when a sender domain is warned of and braked because of its bounces; ``complaints`` likewise.
        webhooks: who gets events.
        divides: there are limits of routes that relays share by the database.
    """

    hostname: str
    store: DatabaseServer | None
    keep: float
    max_size: int
    http: tuple[str, int] | None
    suppression: SuppressionRules
    bounces: BrakeRules
    complaints: BrakeRules
    webhooks: tuple[Hook, ...]
    divides: bool


def load(generation: Path) -> Settings:
    """Read the settings of a generation.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, generation / FILE)
