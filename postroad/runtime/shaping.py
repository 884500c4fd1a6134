"""The shaper's settings: an installation writes them, the shaper reads them. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from postroad.runtime import handover

FILE = "shaping.json"


@dataclass(frozen=True)
class ShapedRoute:
    """A route with limits of its own.

    Attributes:
        group: the name of its queue group, and of that group's folder in the queue.
        one_way: all its mail goes to one server, whatever the recipients' domains.
        concurrency: most connections at once; None: any number.
        rate: most messages, and within how many seconds; None: any number.
        since: the first day of the warm-up, in days since the epoch (UTC); 0 without one.
        daily: most messages on that day and on those after it; empty: no warm-up.
    """

    group: str
    one_way: bool
    concurrency: int | None
    rate: tuple[int, int] | None
    since: int
    daily: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """All that the shaper needs to know.

    Attributes:
        prefix: how the names of queue groups of shaped routes begin.
        retry: seconds between two tries of a message.
        tell: seconds after which a sender is told that a message waits, and after which it comes back.
        by_domain: mail goes to the recipients' domains as the queue has them: nothing rewrites them.
        shared: other relays may share the limits, by the database.
        routes: in the order of the configuration.
        sendmail: sendmail's program.
        env: the whole environment of its processes.
    """

    prefix: str
    retry: float
    tell: tuple[float, ...]
    by_domain: bool
    shared: bool
    routes: tuple[ShapedRoute, ...]
    sendmail: str
    env: dict[str, str]


def load(generation: Path) -> Settings:
    """Read the settings of a generation.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, generation / FILE)
