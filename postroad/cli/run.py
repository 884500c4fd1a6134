"""``postroad run``."""

import click

from postroad.supervisor.main import main


@click.command()
def command() -> int:
    """Start the mail server and keep it running (what the container does by itself)."""
    return main()
