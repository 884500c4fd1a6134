"""Times as commands and the HTTP API write them. Standard library only."""

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-24T10:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
