"""Where the shaper reads and writes; a test has places of its own. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

from postroad.runtime.paths import CURRENT, PACES, PARTS, QUEUE, RELEASED, SHAPER


@dataclass(frozen=True)
class Places:
    """The paths.

    Attributes:
        queue: sendmail's queue.
        generation: the configuration in force.
        counts: what routes have sent lately.
        released: the messages that sendmail may deliver now, with their queue groups.
        socket: where commands ask for messages to be tried at once.
        parts: where the recorder tells the parts of limits that relays share.
    """

    queue: Path = QUEUE
    generation: Path = CURRENT
    counts: Path = PACES
    released: Path = RELEASED
    socket: Path = SHAPER
    parts: Path = PARTS
