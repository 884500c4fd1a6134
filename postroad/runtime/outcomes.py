"""What becomes of attempts: PID 1 tells the front, by datagrams. Standard library only."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

LARGEST = 60_000
"""Octets of a datagram, about."""


@dataclass(frozen=True)
class Taken:
    """A server has taken messages.

    Attributes:
        host: the server.
        domain: the recipients'.
        number: how many recipients.
        seconds: since the latest of these attempts began.
    """

    host: str
    domain: str
    number: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A server has refused a message.

    Attributes:
        kind: the event's: ``deferred`` or ``bounced``.
        host: the server.
        domain: the recipient's.
        dsn: the enhanced status code; None: there is none.
        reply: what the server said.
        status: sendmail's own words.
        seconds: since the attempt began.
    """

    kind: str
    host: str
    domain: str
    dsn: str | None
    reply: str
    status: str | None
    seconds: float


def write(taken: Sequence[Taken], failures: Sequence[Failure]) -> bytes:
    """A datagram."""
    return json.dumps([[astuple(each) for each in taken], [astuple(each) for each in failures]]).encode()


def read(data: bytes) -> tuple[list[Taken], list[Failure]]:
    """The contents of a datagram.

    Raises:
        ValueError, TypeError: it is none.
    """
    taken, failures = json.loads(data)
    return [Taken(*each) for each in taken], [Failure(*each) for each in failures]
