"""Durations, as commands take them."""

from datetime import timedelta

import click
from pydantic_core import PydanticCustomError

from postroad.config.values import parse_duration


def duration(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    """An option's value such as ``90s`` or ``1h30m``, as the configuration takes it; for ``callback=``."""
    try:
        return parse_duration(value)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message()) from error
