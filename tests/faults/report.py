"""The rows of a run, for people and for docs/reliability.md."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from tests.faults.account import Row

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
COLUMNS = ("injected", "accepted", "delivered", "bounced", "queued", "duplicated", "lost")


class Kept:
    """The rows of one image, by name, in a file; each is written when it is done, and outlives a run that is broken off."""

    def __init__(self, path: Path | None, image: str) -> None:
        """Read them; those of another image count for nothing. Without a path they are not written."""
        self._path, self._image = path, image
        found = json.loads(path.read_text()) if path and path.exists() else {}
        self.rows = {each["name"]: Row(**each) for each in found["rows"]} if found.get("image") == image else {}

    def keep(self, row: Row) -> None:
        """Add a row, in place of an earlier one of its name."""
        self.rows[row.name] = row
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            kept = {"image": self._image, "rows": [asdict(each) for each in self.rows.values()]}
            self._path.write_text(json.dumps(kept, indent=1) + "\n")


def values(row: Row) -> list[str]:
    """The cells of a row, from ``COLUMNS``."""
    return [f"{len(row.lost) if name == 'lost' else getattr(row, name):,}" for name in COLUMNS]


def seen(row: Row) -> str:
    """What else there is to say of a row."""
    unanswered = [f"{row.unanswered} got no answer, of which {row.arrived} arrived"] if row.unanswered else []
    refused = [f"{row.refused} attempts refused"] if row.refused else []
    return "; ".join([*refused, *unanswered, *row.notes, *row.faults])


def table(rows: list[Row]) -> Table:
    """The rows for a terminal."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("fault")
    for name in COLUMNS:
        made.add_column(name, justify="right")
    made.add_column("notes")
    for row in rows:
        made.add_row(row.name, *values(row), seen(row).replace("[", "\\["))
    return made


def fill(path: Path, rows: list[Row]) -> None:
    """Put the table between the markers of a Markdown file.

    Raises:
        ValueError: the file has no markers.
    """
    minutes = sum(row.seconds for row in rows) / 60
    day = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [
        "| `FAULTS=` | fault | " + " | ".join(COLUMNS) + " | notes |",
        "|---|---|" + "--:|" * len(COLUMNS) + "---|",
        *(f"| `{row.name}` | {row.fault} | {' | '.join(values(row))} | {seen(row)} |" for row in rows),
        "",
        f"Printed by `make faults` on {day}, in {minutes:.0f} minutes.",
    ]
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}, between which the table goes")
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
