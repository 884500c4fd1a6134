"""What others wrote, on a terminal."""

import click
from rich.markup import escape

from postroad.text import printable, printable_lines


def plain(text: object) -> str:
    """Text without what a terminal or rich would take for an order."""
    return escape(printable(text))


def echo(text: object, *, err: bool = False) -> None:
    """Print lines for people, with nothing in them that a terminal would take for an order."""
    click.echo(printable_lines(text), err=err)
