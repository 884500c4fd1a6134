"""Times and durations, as commands take and print them."""

from datetime import UTC, datetime, timedelta

import click
from pydantic_core import PydanticCustomError

from postroad.config.values import parse_duration


def duration(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    """An option's value such as ``90s`` or ``1h30m``, as the configuration takes it; for ``callback=``."""
    try:
        return parse_duration(value)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message()) from error


def stamp(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-24T10:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
