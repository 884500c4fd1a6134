"""``make faults``: every fault, and the table that docs/reliability.md holds."""

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
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from tests.faults import (
    badinput,
    clock,
    front,
    leaving,
    life,
    neighbours,
    overload,
    power,
    processes,
    report,
    servers,
    smarthosts,
    volumes,
)
from tests.faults.account import Row
from tests.faults.bench import Bench, build_images
from tests.faults.model import Step, run

STEPS: list[Step] = [
    *processes.FAULTS,
    *front.FAULTS,
    *servers.FAULTS,
    *smarthosts.CHECKS,
    *volumes.FAULTS,
    *power.FAULTS,
    *clock.FAULTS,
    *life.FAULTS,
    *leaving.CHECKS,
    *overload.FAULTS,
    *neighbours.FAULTS,
    *badinput.FAULTS,
]


def main() -> int:
    """Do them one after another; exit code 1 if a message was lost, or anything else was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help="only these; none: all but those that must be named")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--short", action="store_true", help="each a few times only")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="chooses the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the table of a whole run there")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    if given.list:
        for step in STEPS:
            console.print(f"{step.name:12} {step.title}{' (only if named)' if step.opt_in else ''}", highlight=False)
        return 0
    if unknown := set(given.names) - {step.name for step in STEPS}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; --list prints them")
    chosen = [step for step in STEPS if (step.name in given.names if given.names else not step.opt_in)]
    build_images()
    rows = carry_out(chosen, console, given.seed, short=given.short)
    console.print(report.table(rows))
    for row in rows:
        for fault in [*(f"lost: {number}" for number in row.lost), *row.faults]:
            console.print(f"[red]{row.name}:[/] {fault}", highlight=False)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"seed": given.seed, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    if given.docs and not given.names and not given.short:
        report.fill(given.docs, rows)
    return 0 if all(row.good for row in rows) else 1


def carry_out(chosen: list[Step], console: Console, seed: int, *, short: bool) -> list[Row]:
    """Do these; a step that can't be done is a row with a fault."""
    rows = []
    shown = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Bench(os.environ.get("POSTROAD_IMAGE", "postroad:latest"), seed) as bench,
        Progress(*shown, console=console) as progress,
    ):
        for number, step in enumerate(chosen, 1):
            head = f"{number}/{len(chosen)} {step.name}"
            task = progress.add_task(head)
            try:
                row = run(step, bench, partial(_tell, progress, task, head), short=short)
            except Exception as error:  # noqa: BLE001 - the others are worth doing
                row = Row(
                    step.name, step.title, faults=[f"could not be done: {error!r:.300}; see {_note(step, error)}"]
                )
            rows.append(row)
            sign = "[green]✔[/]" if row.good else "[red]✘[/]"
            told = f"{head} {sign} {row.accepted} accepted, {len(row.lost)} lost"
            progress.update(task, description=told)
            progress.stop_task(task)
            if not console.is_terminal:
                console.print(f"{told}, {row.seconds:g} s")
    return rows


def _note(step: Step, error: Exception) -> Path:
    """Write down what went wrong, with the relays' logs."""
    path = Path("dist/faults") / f"{step.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)))
    return path


def _tell(progress: Progress, task: TaskID, head: str, text: str) -> None:
    progress.update(task, description=f"{head}: {text}")


if __name__ == "__main__":
    sys.exit(main())
