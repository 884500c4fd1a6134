"""``postroad check``."""

from datetime import UTC, datetime

import click

from postroad.config.load import load
from postroad.install.generation import network_warnings, policy, surroundings
from postroad.secrets import certificate, users, webhooks
from postroad.sendmail import outbound


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the configuration in force, with its defaults, as JSON.")
def command(as_json: bool) -> None:
    """Validate the configuration: exit code 2 with every problem in it, or 0 with what it means."""
    config = load()
    pair, _, _ = certificate.given(config), users.database(config), webhooks.settings(config)
    held_back = outbound.warnings(config.delivery, datetime.now(UTC).date())
    around = surroundings()
    for warning in (*(pair.warnings if pair else ()), *held_back, *network_warnings(config, around)):
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(config.model_dump_json(indent=2))
    else:
        click.echo(f"{config.hostname}: {policy(config, around)}")
