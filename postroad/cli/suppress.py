"""``postroad suppress``."""

import json
import time
from datetime import timedelta
from typing import Any, TextIO

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.commands import suppressions
from postroad.commands.suppressions import FIELDS
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.store import database
from postroad.text import counted


@click.group()
def command() -> None:
    """The addresses that get no more mail: dead mailboxes, and whom you put there."""


@command.command("list", epilog=example("suppress list"))
@click.option("--domain", help="Only entries for this sender domain.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(domain: str | None, as_json: bool) -> None:
    """Print the list, newest first."""
    found = _entries(domain)
    if as_json:
        click.echo(json.dumps({"suppressions": [listing.fields(entry) for entry in found]}, indent=2))
        return
    table = Table(box=None)
    for name in FIELDS:
        table.add_column(name, no_wrap=name == "recipient", overflow="fold")
    for entry in found:
        table.add_row(*(plain(value or "-") for value in listing.fields(entry).values()))
    terminal.console(soft_wrap=True).print(table if found else "no address is suppressed")


@command.command(epilog=example("suppress add gone@example.net --days 90"))
@click.argument("addresses", nargs=-1, required=True)
@click.option("--reason", default="manual", show_default=True, help="Why, in a word.")
@click.option("--days", type=click.IntRange(1, 36500), help="For how long. Not given: for good.")
@click.option("--domain", help="Only mail from this sender domain. Not given: from all.")
def add(addresses: tuple[str, ...], reason: str, days: int | None, domain: str | None) -> None:
    """Refuse mail to these addresses from now on."""
    now = time.time()
    until = now + timedelta(days=days).total_seconds() if days else None
    name = listing.domain(domain)
    found = [
        SuppressedAddress(listing.address(address), listing.word(reason), now, until, None, name)
        for address in addresses
    ]
    _change(lambda connection: suppression.add(connection, found), "{} of " + f"{len(found)} added")


@command.command(epilog=example("suppress remove gone@example.net"))
@click.argument("addresses", nargs=-1, required=True)
@click.option("--domain", help="Only the entry for this sender domain. Not given: all entries of the address.")
def remove(addresses: tuple[str, ...], domain: str | None) -> int:
    """Let mail go to these addresses again. Exit code 1: none of them was on the list."""
    only = None if domain is None else listing.domain(domain)
    removed = _change(lambda connection: suppression.remove(connection, addresses, only), "{} removed")
    return 0 if removed else 1


@command.command(
    "import", epilog=example("docker compose exec -T postroad postroad suppress import <list.csv", whole=True)
)
@click.argument("file", type=click.File("r", encoding="utf-8-sig"), default="-")
@click.option("--domain", help="Sender domain for the lines that name none. Not given: all.")
def import_(file: TextIO, domain: str | None) -> None:
    """Add the addresses of a file: CSV, or the JSON of `aws sesv2 list-suppressed-destinations`.

    CSV is what `postroad suppress export` prints, or addresses, each with a reason or without. A line that holds no
    address is an error, and then nothing is added.
    """
    text = file.read()
    name = listing.domain(domain)
    found = suppressions.imported(text, name)
    _change(lambda connection: suppression.add(connection, found), "{} of " + f"{len(found)} added")


@command.command(epilog=example("suppress export"))
@click.option("--domain", help="Only entries for this sender domain.")
def export(domain: str | None) -> None:
    """Print the list as CSV."""
    click.echo(suppressions.exported(_entries(domain)), nl=False)


def _entries(domain: str | None) -> list[SuppressedAddress]:
    only = None if domain is None else listing.domain(domain)
    return [entry for entry in listing.entries(database.existing()) if only in {None, entry.sender_domain}]


def _change(change: Any, told: str) -> int:
    number, total = listing.change(database.existing(), change)
    click.echo(f"{told.format(number)}; {counted(total, 'address is', 'addresses are')} suppressed")
    return number
