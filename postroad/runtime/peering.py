"""What the process is told that takes messages from other relays: written by an installation. Standard library only."""

from dataclasses import dataclass, field
from pathlib import Path

from postroad.runtime import handover

FILE = "peers.json"


@dataclass(frozen=True)
class Settings:
    """All that it needs to know; secret.

    Attributes:
        secret: what all relays know; None: nothing is taken from any.
        retry: seconds after which a message that was tried is due again.
    """

    secret: str | None = field(repr=False)
    retry: float


def load(path: Path) -> Settings:
    """Read the settings.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Settings, path)
