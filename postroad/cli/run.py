"""``postroad run``."""

import click

from postroad.cli.example import example
from postroad.supervisor.main import main


@click.command(epilog=example("docker compose up -d --wait", whole=True))
def command() -> int:
    """Start the mail server and keep it running (what the container does by itself)."""
    return main()
