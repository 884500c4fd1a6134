"""``postroad check``."""

import click

from postroad.cli.example import example
from postroad.config.load import read_all
from postroad.install import settings
from postroad.install.generation import examine, surroundings
from postroad.install.summary import policy, sources
from postroad.store import database


@click.command(epilog=example("docker compose run --rm postroad check", whole=True))
@click.option("--json", "as_json", is_flag=True, help="Print the configuration in force, with its defaults, as JSON.")
def command(as_json: bool) -> None:
    """Do all that a start does but start: exit code 2 with everything that would stop one, or 0 with what it means.

    That is the configuration, the files that it names, the volumes, and what m4 and sendmail say of the result.
    What a start would go on with, such as an event store that can't be reached, is a warning.
    """
    loaded = read_all()
    config = loaded.config
    material, warnings = examine(loaded)
    if config.events.enabled:
        warnings += database.unreachable(settings.of_recorder(config, material))
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(config.model_dump_json(indent=2))
    else:
        click.echo(sources(loaded))
        click.echo(f"{config.hostname}: {policy(config, surroundings())}")
