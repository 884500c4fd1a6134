"""Whether a server runs here."""

from postroad.errors import PostroadError
from postroad.runtime.paths import HEALTH


class NoServerError(PostroadError):
    """No server runs in this container."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("no server runs here")


def is_running() -> bool:
    """Whether a server has been started in this container."""
    return HEALTH.exists()
