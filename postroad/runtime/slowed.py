"""The receivers that get less, in a file: the front writes it, commands, metrics and the supervisor read it.

Standard library only.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from postroad import system

PAUSED = "paused"
MOST_DOMAINS = 5000
"""Domains of a receiver that are written down."""


@dataclass(frozen=True)
class SlowedReceiver:
    """A receiver that gets less.

    Attributes:
        name: its name.
        host: an MX host of its.
        standing: ``slowed`` or ``paused``.
        since: since when; until: when one message tries; both in seconds since the epoch, 0: never.
        reason: the class of its reply; reply: that.
        connections: most at once; None: any number.
        rate: most messages a second; None: any number.
        refused_rate: at which it refused last, 0: not known; pauses: how many there were lately.
        waiting: messages that wait for their turn.
        domains: that are known to be behind it.
    """

    name: str
    host: str
    standing: str
    since: float
    until: float
    reason: str
    reply: str
    connections: int | None
    rate: float | None
    refused_rate: float
    pauses: int
    waiting: int
    domains: tuple[str, ...]

    @property
    def limits(self) -> str:
        """How much it gets, in words."""
        if self.standing == PAUSED:
            return f"paused, one message tries at {stamp(self.until)}"
        found = []
        if self.connections is not None:
            found.append(f"{self.connections} connection{'s' if self.connections != 1 else ''} at once")
        if self.rate is not None:
            found.append(f"{self.rate * 60:.3g} messages a minute")
        return ", ".join(found)

    @property
    def waits(self) -> str:
        """Why a message for it waits."""
        how = self.limits if self.standing == PAUSED else f"slowed ({self.limits})"
        return f"waits for its turn: {self.name} is {how}"


def stamp(seconds: float) -> str:
    """A time in seconds since the epoch as ISO 8601, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def write(path: Path, receivers: Iterable[SlowedReceiver]) -> None:
    """Keep them.

    Raises:
        InstallError: the file can't be written.
    """
    system.write(path, json.dumps([asdict(each) for each in receivers], indent=1) + "\n")


def read(path: Path) -> list[SlowedReceiver]:
    """Those in the file; none where there is none, or it can't be read."""
    try:
        return [_one(each) for each in json.loads(path.read_text())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _one(data: dict[str, object]) -> SlowedReceiver:
    found = SlowedReceiver(**{**data, "domains": tuple(map(str, data["domains"]))})  # type: ignore[arg-type, call-overload]
    for name, value in asdict(found).items():
        if name in {"since", "until", "refused_rate"} and not isinstance(value, int | float):
            raise TypeError(name)
        if name in {"pauses", "waiting"} and not isinstance(value, int):
            raise TypeError(name)
    if found.standing not in {"slowed", PAUSED}:
        raise ValueError(found.standing)
    if any(limit is not None and not limit > 0 for limit in (found.rate, found.connections)):
        raise ValueError(found.name)
    return found


def waiting_reasons(path: Path) -> dict[str, str]:
    """Why mail waits for its turn, by the recipients' domain; one that is slowed has none where nothing else waits."""
    found = (each for each in read(path) if each.standing == PAUSED or each.waiting)
    return {domain: each.waits for each in found for domain in each.domains}


def held_domains(path: Path, now: float | None = None) -> frozenset[str]:
    """The domains behind receivers that get less; not of a file that has been left for an hour, as nobody writes it."""
    try:
        if (time.time() if now is None else now) - path.stat().st_mtime > 3600:
            return frozenset()
    except OSError:
        return frozenset()
    return frozenset(domain for each in read(path) for domain in each.domains)
