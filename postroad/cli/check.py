"""``postroad check``."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from postroad.cli.example import example
from postroad.cli.plain import echo
from postroad.config import in_force
from postroad.config.load import Loaded, read_all
from postroad.install import settings
from postroad.install.generation import examine, surroundings
from postroad.install.summary import policy, sources
from postroad.store import database


@click.command(epilog=example("docker compose run --rm postroad check", whole=True))
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print the configuration in force, with its defaults, as JSON.")
@click.option("--values", "as_values", is_flag=True, help="Only print each value, and where it comes from.")
def command(file: str | None, as_json: bool, as_values: bool) -> None:
    """Do all that a start does but start: exit code 2 with everything that would stop one, or 0 with what it means.

    That is the configuration, the files that it names, the volumes, and what m4 and sendmail say of the result.
    What a start would go on with, such as an event store that can't be reached, is a warning.
    FILE stands in for the server's own; - is standard input. Variables and secrets count all the same.
    """
    loaded = read_all(Path("/dev/stdin" if file == "-" else file)) if file else read_all()
    if as_values:
        _print_values(loaded, as_json=as_json)
        return
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


def _print_values(loaded: Loaded, *, as_json: bool) -> None:
    found = list(in_force.values(loaded))
    if as_json:
        click.echo(json.dumps({"values": [asdict(each) for each in found]}, indent=1))
        return
    for each in found:
        echo(f"{each.key}: {json.dumps(each.value, ensure_ascii=False)}  ({each.source or 'default'})")
