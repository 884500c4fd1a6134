"""What the recorder and the shaper tell each other of limits that relays share. Standard library only.

The shaper counts, and reports; the recorder agrees with the other relays in the database, and answers with the parts of
this relay. One exchange is a packet each way on a socket of the shaper's.
"""

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from postroad.runtime import handover

LASTS = 60.0
"""Seconds after which a part that was not renewed shrinks to what it keeps."""
KEEPS = 3600.0
"""Seconds after which nothing of it is left."""
LARGEST = 1 << 17
"""Octets of a packet."""
TIMEOUT = 5.0
"""Seconds that the shaper may take to answer."""


@dataclass(frozen=True)
class Use:
    """A limit, as the shaper of one relay sees it.

    Attributes:
        name: the same at all relays.
        total: what all relays may have together.
        part: what this relay may have just now.
        keeps: what it may still have when its part was not renewed for ``LASTS``.
        used: what it has, or had within the limit's period.
        wants: how much it would use if it could.
        needs: what its next message takes: less is of no use to it.
        period: seconds for which what was used counts after its end.
    """

    name: str
    total: int
    part: int
    keeps: int
    used: int
    wants: int
    needs: int
    period: float


@dataclass(frozen=True)
class Report:
    """The limits of all routes of a relay."""

    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Part:
    """What a relay may have of a limit: ``amount``, and ``keeps`` of it after ``LASTS``."""

    name: str
    amount: int
    keeps: int


@dataclass(frozen=True)
class Parts:
    """What the recorder tells the shaper.

    Attributes:
        renewed: when it began to ask for the parts, by ``now``; the shaper heeds nothing older than what it has heard.
        parts: of all limits that the shaper has reported; None: as they are.
    """

    renewed: float
    parts: tuple[Part, ...] | None


def now() -> float:
    """Seconds by the clock that recorder and shaper have in common; it goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def tell(path: Path, parts: Parts) -> Report:
    """Tell the shaper its parts, if any are given; return what it uses under them.

    Raises:
        OSError: it can't be asked.
        ValueError: it answers with something else.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(path))
        connection.send(handover.dumps(parts).encode())
        return handover.loads(Report, connection.recv(LARGEST).decode(), "the shaper's report")
