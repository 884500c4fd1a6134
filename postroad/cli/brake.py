"""``postroad brake``."""

import json
from typing import Any

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.events import own
from postroad.feedback import brake
from postroad.runtime.log import tell
from postroad.store import database
from postroad.times import stamp


@click.group()
def command() -> None:
    """The sender domains of which too much bounces: warned of, or braked."""


@command.command("list", epilog=example("brake list"))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(as_json: bool) -> None:
    """Print the domains whose bounce rate is too high, and since when; `braked`: nothing is accepted from them."""
    engine = database.existing()
    with database.told("read"), engine.connect() as connection:
        found = brake.rates(connection)
    if as_json:
        click.echo(json.dumps({"domains": [_fields(rate) for rate in found]}, indent=2))
        return
    table = Table(box=None)
    for name in ("domain", "state", "since", "bounced", "of", "bounce rate"):
        table.add_column(name, justify="right" if name in {"bounced", "of", "bounce rate"} else "left")
    for rate in found:
        colour = "[red]" if rate.state == brake.BRAKE else "[yellow]"
        share = f"{rate.bounced / rate.ended:.1%}" if rate.ended else "-"
        words = (plain(rate.sender_domain), f"{colour}{rate.state}", stamp(rate.since))
        table.add_row(*words, str(rate.bounced), str(rate.ended), share)
    terminal.console(soft_wrap=True).print(table if found else "no domain's bounce rate is too high")


@command.command(epilog=example("brake release example.com"))
@click.argument("domains", nargs=-1, required=True)
def release(domains: tuple[str, ...]) -> int:
    """Accept mail from these domains again, and count their bounces anew. Exit code 1: none of them was braked."""
    engine = database.existing()
    with database.told("written"), database.writing(engine) as connection:
        found = brake.release(connection, domains)
    brake.publish(engine)
    for rate in found:
        tell("warning", own.bounce_rate(brake.RELEASED, rate.sender_domain, rate.bounced, rate.ended), patience=1)
        click.echo(f"{plain(rate.sender_domain)} is released: its bounces are counted anew")
    if not found:
        click.echo("none of them is braked")
    return 0 if found else 1


def _fields(rate: brake.DomainRate) -> dict[str, Any]:
    share = round(rate.bounced / rate.ended, 4) if rate.ended else None
    return rate._asdict() | {"since": stamp(rate.since), "bounce_rate": share}
