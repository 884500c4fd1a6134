"""What the front is told: written by an installation, read by the front. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from postroad.runtime import handover

FILE = "front.json"

NOW, BACKGROUND, QUEUE = 1, 2, 3
"""The inner doors of sendmail's daemon (preload/doors.c), and how mail that comes in there leaves: in the session
itself, in a process of its own, or when a run of the queue takes it."""

AGAIN, SPLIT = 4, 5
"""As ``QUEUE``, for transactions that began at another inner door and are counted there; behind ``SPLIT`` a message
becomes one for each recipient, so that runs deliver them side by side."""

INNER_DOORS = (NOW, BACKGROUND, QUEUE, AGAIN, SPLIT)
TELLING = frozenset((NOW, QUEUE, AGAIN, SPLIT))
"""Those behind which the front is told that a message is on the disk."""


@dataclass(frozen=True)
class Settings:
    """What a configuration says to the front.

    Attributes:
        hostname: who it says it is.
        inet6: whether the inner doors are of the family inet6, and IPv4 addresses mapped.
        early: whether a message may be answered when it is on the disk and before it is delivered: not where sendmail
            may split it, since the rest of it would not be on the disk yet.
        transparent: whether each client is sendmail's from its first octet: where the configuration has rules or
            features of the user's own, which may say something else to each client.
        connections_per_client: most connections at once from one address; None: any number.
        connections_per_minute: most new ones in a minute; None: any number.
        concurrency: most deliveries under way at once; None: as many as the container's limits allow.
        reuses: whether a session takes a second message: not where a message leaves from an address of its own.
        idle: seconds after which a client that says nothing is sent away.
        starttls: whether STARTTLS is offered.
        split: whether a message for several domains may go in by ``SPLIT``.
        retry: seconds after which a message that waits is tried again.
        tell: seconds after which a sender is told that a message waits, and after which it comes back.
        adaptive: whether receivers that ask for less get less (delivery.adaptive).
        sendmail: sendmail's program.
        env: the environment of its processes.
    """

    hostname: str
    inet6: bool
    early: bool
    transparent: bool
    connections_per_client: int | None
    connections_per_minute: int | None
    concurrency: int | None
    reuses: bool
    idle: float
    starttls: bool
    split: bool
    retry: float
    tell: tuple[float, ...]
    adaptive: bool
    sendmail: str
    env: dict[str, str]


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, path)
