"""``postroad suppress``."""

import csv
import io
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TextIO

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.errors import PostroadError
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.store import database
from postroad.text import printable

FORMULA = re.compile(
    "'*[=+@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH COMMERCIAL AT}\N{FULLWIDTH HYPHEN-MINUS}-]"
)
"""How a cell begins that a spreadsheet computes (OWASP, CSV Injection); an apostrophe before it makes it text."""
FIELDS = ("recipient", "reason", "added", "expires", "detail", "sender_domain")


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
    given = _of_ses(text) if text.lstrip().startswith("{") else _of_csv(text)
    found = [replace(entry, sender_domain=entry.sender_domain or name) for entry in given]
    _change(lambda connection: suppression.add(connection, found), "{} of " + f"{len(found)} added")


@command.command(epilog=example("suppress export"))
@click.option("--domain", help="Only entries for this sender domain.")
def export(domain: str | None) -> None:
    """Print the list as CSV."""
    writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: _cell(value) for name, value in listing.fields(entry).items()} for entry in _entries(domain)
    )


def _cell(value: str | None) -> str:
    """A cell that neither a terminal nor a spreadsheet takes for an order."""
    text = printable(value or "")
    return f"'{text}" if FORMULA.match(text) else text


def _value(cell: str) -> str:
    """What ``_cell`` was made of."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _entries(domain: str | None) -> list[SuppressedAddress]:
    only = None if domain is None else listing.domain(domain)
    return [entry for entry in listing.entries(database.existing()) if only in {None, entry.sender_domain}]


def _change(change: Any, told: str) -> int:
    number, total = listing.change(database.existing(), change)
    click.echo(f"{told.format(number)}; {total} addresses are suppressed")
    return number


def _seconds(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError as error:
        raise PostroadError(f"not a time: {text} (accepted: 2026-11-24T10:00:00Z)") from error


def _of_csv(text: str) -> Iterator[SuppressedAddress]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0].strip()]
    heading = [name.strip().lower() for name in rows[0]] if rows and "@" not in rows[0][0] else []
    names = heading or ["recipient", "reason"]
    known = {"email": "recipient", "emailaddress": "recipient", "address": "recipient", "lastupdatetime": "added"}
    names = [known.get(name, name) for name in names]
    if "recipient" not in names:
        raise PostroadError(
            f"no column of addresses: the first line is {','.join(heading)} (accepted: recipient,reason)"
        )
    for row in rows[1 if heading else 0 :]:
        fields = dict(zip(names, map(_value, row), strict=False))
        yield SuppressedAddress(
            listing.address(fields["recipient"]),
            listing.word(fields.get("reason") or "imported"),
            _seconds(fields.get("added")) or time.time(),
            _seconds(fields.get("expires")),
            fields.get("detail") or None,
            listing.domain(fields.get("sender_domain")),
        )


def _of_ses(text: str) -> Iterator[SuppressedAddress]:
    try:
        for each in json.loads(text)["SuppressedDestinationSummaries"]:
            added = each.get("LastUpdateTime")
            when = float(added) if isinstance(added, int | float) else _seconds(added)
            yield SuppressedAddress(
                listing.address(each["EmailAddress"]),
                listing.word(each.get("Reason", "")),
                when or time.time(),
                None,
                "SES",
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PostroadError("the file is not the JSON of `aws sesv2 list-suppressed-destinations`") from error
