"""``make faults``: every fault, and the table that docs/reliability.md holds."""

import argparse
import os
import random
import sys
import traceback
from collections.abc import Iterator
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
from tests.faults.bench import Bench, build_images, docker
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
    parser.add_argument(
        "names",
        nargs="*",
        metavar="FAULT",
        help="only these, whose rows replace those of the same image; none: all but those that must be named",
    )
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--short", action="store_true", help="each a few times only; no rows are kept")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="chooses the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows there")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="put the table there, if there are rows of this image for all"
    )
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
    image = os.environ.get("POSTROAD_IMAGE", "postroad:latest")
    identity = docker("image", "inspect", "--format={{.Id}}", image).strip()
    kept = report.Kept(None if given.short else given.json, identity)
    if not given.names:
        kept.rows.clear()
    rows = []
    for row in carry_out(chosen, console, image, given.seed, short=given.short):
        rows.append(row)
        kept.keep(row)
    console.print(report.table(rows))
    for row in rows:
        for fault in [*(f"lost: {number}" for number in row.lost), *row.faults]:
            console.print(f"[red]{row.name}:[/] {fault}", highlight=False)
    if given.docs and not given.short:
        wanted = [step.name for step in STEPS if not step.opt_in]
        if missing := [name for name in wanted if name not in kept.rows]:
            console.print(
                f"{given.docs} stays as it is: no rows of this image for {', '.join(missing)}", highlight=False
            )
        else:
            report.fill(given.docs, [kept.rows[name] for name in wanted])
    return 0 if all(row.good for row in rows) else 1


def carry_out(chosen: list[Step], console: Console, image: str, seed: int, *, short: bool) -> Iterator[Row]:
    """Do these; a step that can't be done is a row with a fault."""
    shown = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Bench(image, seed) as bench,
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
            sign = "[green]✔[/]" if row.good else "[red]✘[/]"
            told = f"{head} {sign} {row.accepted} accepted, {len(row.lost)} lost"
            progress.update(task, description=told)
            progress.stop_task(task)
            if not console.is_terminal:
                console.print(f"{told}, {row.seconds:g} s")
            yield row


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
