"""``postroad check``."""

import click

from postroad.config.load import load
from postroad.render import certificate, users, webhooks
from postroad.render.install import policy, surroundings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the configuration in force, with its defaults, as JSON.")
def command(as_json: bool) -> None:
    """Validate the configuration: exit code 2 with every problem in it, or 0 with what it means."""
    config = load()
    pair, _, _ = certificate.given(config), users.database(config), webhooks.settings(config)
    for warning in pair.warnings if pair else ():
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(config.model_dump_json(indent=2))
    else:
        click.echo(f"{config.hostname}: {policy(config, surroundings())}")
