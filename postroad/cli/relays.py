"""``postroad relays``."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table
from sqlalchemy import Connection

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.errors import PostroadError
from postroad.runtime.sharing import LASTS
from postroad.store import budgets, database, relays
from postroad.times import stamp

NOBODY = "no relay has used this database yet"
ALONE = "no relay shares this store: events.store is not set"


@click.group()
def command() -> None:
    """The relays that share a database, and their parts of the limits of routes."""


@command.command("list", epilog=example("relays list"))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(as_json: bool) -> None:
    """Print every relay that has used the database, and what it holds of the limits of routes.

    `last heard of` is when a relay renewed its parts; each does so every two seconds, if a route has limits.
    """
    engine = database.existing()
    with database.told("read"), engine.connect() as connection:
        found = _relays(connection)
    if as_json:
        click.echo(json.dumps({"relays": found}, indent=2))
        return
    table = Table(box=None)
    for name in ("relay", "number", "last heard of", "holds"):
        table.add_column(name)
    for each in found:
        held = ", ".join(f"{part['amount']} of {part['limit']}" for part in each["parts"])
        table.add_row(plain(each["relay"]), str(each["number"]), each["heard"] or "-", plain(held) or "-")
    terminal.console(soft_wrap=True).print(table if found else NOBODY if database.is_server(engine) else ALONE)


@command.command(epilog=example("relays forget postroad-2 --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
def forget(name: str, yes: bool) -> int:
    """Give a relay's parts of the limits of routes to the others: for a relay that is gone for good.

    NAME is its name, or its number where several have that name. What it may just have sent still counts for the time
    of a `rate`. Exit code 1: it holds nothing.
    """
    engine = database.existing()
    with database.told("read"), engine.connect() as connection:
        found = [each for each in _relays(connection) if name in {each["relay"], str(each["number"])}]
    if not found:
        raise PostroadError(f"no relay {plain(name)} has used this database: see `postroad relays list`")
    holders = [each["number"] for each in found if each["parts"]]
    if not holders:
        click.echo(f"{plain(name)} holds no part of a limit")
        return 1
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for confirmation: add --yes; nothing was done")
        click.confirm(
            f"Is {plain(name)} gone for good? If it is only cut off, all relays together exceed the limits", abort=True
        )
    return _forget(name, holders)


def _forget(name: str, holders: Sequence[int]) -> int:
    with database.told("written"):
        gone = budgets.forget(database.existing(), holders)
    if not gone:
        raise PostroadError(
            f"{plain(name)} was heard of within the last {LASTS:g} s, so it runs: stop it first; nothing was done"
        )
    # one of the same name may have taken its place
    left = " (another relay of this name runs, and keeps its own)" if len(gone) < len(holders) else ""
    click.echo(f"{plain(name)} is forgotten{left}: the others have its parts as soon as what it sent counts no more")
    return 0


def _relays(connection: Connection) -> list[dict[str, Any]]:
    names = relays.names(connection)
    found: dict[int, dict[str, Any]] = {
        number: {"relay": name, "number": number, "heard": None, "parts": []} for number, name in names.items()
    }
    for part in budgets.held(connection):
        unnamed = {"relay": str(part.holder), "number": part.holder, "heard": None, "parts": []}
        each = found.setdefault(part.holder, unnamed)
        each["heard"] = max(filter(None, (each["heard"], stamp(part.renewed))))
        if part.amount or part.keeps:
            each["parts"].append({"limit": part.name, "amount": part.amount, "keeps": part.keeps})
    return sorted(found.values(), key=lambda each: (each["relay"], each["number"]))
