"""``postroad brake``."""

import json
from typing import Any

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.feedback import brake
from postroad.runtime.log import tell
from postroad.store import database
from postroad.times import stamp


@click.group()
def command() -> None:
    """The sender domains of which too much bounces or is called spam: warned of, or braked."""


@command.command("list", epilog=example("brake list"))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(as_json: bool) -> None:
    """Print the domains whose rate of bounces or complaints is too high; `braked`: nothing is accepted from them."""
    engine = database.existing()
    with database.told("read"), engine.connect() as connection:
        found = brake.rates(connection)
    if as_json:
        click.echo(json.dumps({"domains": [_fields(rate) for rate in found]}, indent=2))
        return
    table = Table(box=None)
    for name in ("domain", "state", "since", "because of", "number", "of", "rate"):
        table.add_column(name, justify="right" if name in {"number", "of", "rate"} else "left")
    for rate in found:
        colour = "[red]" if rate.state == brake.BRAKE else "[yellow]"
        share = f"{rate.number / rate.total:.2%}" if rate.total else "-"
        words = (plain(rate.sender_domain), f"{colour}{rate.state}", stamp(rate.since), rate.cause.name)
        table.add_row(*words, str(rate.number), str(rate.total), share)
    nothing = "no domain's rate of bounces or complaints is too high"
    terminal.console(soft_wrap=True).print(table if found else nothing)


@command.command(epilog=example("brake release example.com"))
@click.argument("domains", nargs=-1, required=True)
def release(domains: tuple[str, ...]) -> int:
    """Accept mail from these domains again, and count anew. Exit code 1: none of them was braked."""
    engine = database.existing()
    with database.told("written"), database.writing(engine) as connection:
        found = brake.release(connection, domains)
    brake.publish(engine)
    for rate in found:
        tell("warning", rate._replace(state=brake.RELEASED).line(), patience=1)
        click.echo(f"{plain(rate.sender_domain)} is released: its {rate.cause.name} are counted anew")
    if not found:
        click.echo("none of them is braked")
    return 0 if found else 1


def _fields(rate: brake.DomainRate) -> dict[str, Any]:
    return {
        "sender_domain": rate.sender_domain,
        "cause": rate.cause.name,
        "state": rate.state,
        "since": stamp(rate.since),
        **dict(zip(rate.cause.counts, (rate.number, rate.total), strict=True)),
        f"{rate.cause.name.removesuffix('s')}_rate": round(rate.number / rate.total, 5) if rate.total else None,
    }
