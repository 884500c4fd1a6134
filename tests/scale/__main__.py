"""``make scale``: what is done to a Swarm of several engines under load, and the account of every message."""

import argparse
import json
import os
import random
import sys
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.faults import report
from tests.faults.account import Row
from tests.scale import rows, site


def main() -> int:
    """Do all of it; exit code 1 if a message was lost, or anything else was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help="only these")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--engines", type=int, default=5, help="how many engines there are")
    parser.add_argument("--relays", type=int, default=3, help="on how many of them a relay runs at first")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="chooses what is sent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    known = rows.deeds(given.relays, given.engines)
    if given.list:
        for deed in known:
            console.print(f"{deed.name:12} {deed.title}", highlight=False)
        return 0
    if unknown := set(given.names) - {deed.name for deed in known}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; --list prints them")
    chosen = [deed for deed in known if not given.names or deed.name in given.names]
    site.build()
    image = os.environ.get("POSTROAD_IMAGE", "postroad:latest")
    console.print(f"seed {given.seed}; {given.relays} relays on {given.engines} engines", highlight=False)
    done: list[Row] = []
    with site.Site(image, given.seed, given.engines, given.relays) as here:
        for deed in chosen:
            try:
                row = rows.run(deed, here, partial(_tell, console, deed.name))
            except Exception as error:  # noqa: BLE001 - the others are worth doing
                row = Row(deed.name, deed.title, faults=[f"could not be done: {error!r:.600}"])
                traceback.print_exception(error)
            done.append(row)
            console.print(report.table([row]))
    console.print(report.table(done))
    for row in done:
        for fault in [*(f"lost: {number}" for number in row.lost), *row.faults]:
            console.print(f"[red]{row.name}:[/] {fault}", highlight=False)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"seed": given.seed, "rows": [asdict(row) for row in done]}, indent=1) + "\n")
    return 0 if all(row.good for row in done) else 1


def _tell(console: Console, name: str, text: str) -> None:
    console.print(f"{name}: {text}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
