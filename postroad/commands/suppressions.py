"""The suppression list as a file: CSV, and what SES exports."""

import csv
import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from postroad.errors import PostroadError
from postroad.feedback import listing
from postroad.feedback.suppression import SuppressedAddress
from postroad.text import printable

FORMULA = re.compile(
    "'*[=+@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH COMMERCIAL AT}\N{FULLWIDTH HYPHEN-MINUS}-]"
)
"""How a cell begins that a spreadsheet computes (OWASP, CSV Injection); an apostrophe before it makes it text."""
FIELDS = ("recipient", "reason", "added", "expires", "detail", "sender_domain")


def exported(entries: Iterable[SuppressedAddress]) -> str:
    """The list as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in listing.fields(entry).items()} for entry in entries)
    return text.getvalue()


def imported(text: str, domain: str) -> list[SuppressedAddress]:
    """The entries of a file: CSV, or SES's JSON; ``domain`` is the sender domain of lines that name none.

    Raises:
        PostroadError: a line holds no address, or the file is neither.
    """
    try:
        given = _of_ses(text) if text.lstrip().startswith("{") else _of_csv(text)
        return [replace(entry, sender_domain=entry.sender_domain or domain) for entry in given]
    except csv.Error as error:
        raise PostroadError(f"the file is no CSV: {error}") from error


def _cell(value: str | None) -> str:
    """A cell that neither a terminal nor a spreadsheet takes for an order."""
    text = printable(value or "")
    return f"'{text}" if FORMULA.match(text) else text


def _value(cell: str) -> str:
    """What ``_cell`` was made of."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


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
