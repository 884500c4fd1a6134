"""``python -m bench``: measure Postroad beside its peers, and write what came out into the docs."""

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.contenders import CONTENDERS, Contender
from bench.lab import BenchError, Lab, build_images
from bench.measure import Run
from bench.report import show, write_docs
from bench.scenarios import SCENARIOS, SHORT, Scenario

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--list", "list_", is_flag=True, help="Name the scenarios and contenders, and end.")
@click.option("--short", is_flag=True, help="One small scenario, one round each: whether everything works.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario; may be given again. Writes no docs.")
@click.option("--repetitions", default=3, type=click.IntRange(3), show_default=True, help="Rounds of each scenario.")
@click.option("--also", metavar="IMAGE", help="Another image of Postroad's, beside this one. Writes no docs.")
@click.option(
    "--steady",
    type=click.FloatRange(0.1),
    metavar="MINUTES",
    help="Mixed load at half of the capacity. Writes no docs.",
)
@click.option("--report", type=click.Path(exists=True, path_type=Path), help="Write an earlier run into the docs.")
def main(
    *,
    list_: bool,
    short: bool,
    only: Sequence[str],
    repetitions: int,
    also: str | None,
    steady: float | None,
    report: Path | None,
) -> None:
    """Measure Postroad beside its peers: a table, bench/results/*.json and, after a whole run, docs/performance.md."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    if list_:
        console.print(_list())
        return
    if report:
        result = json.loads(report.read_text())
        write_docs(result)
        show(result, console)
        return
    # an end that cleans up, whoever asks for it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        others = [replace(CONTENDERS[0], name=also, text="another image", image=also)] if also else []
        whole = not (short or only or also or steady)
        # of peers, their rounds of the mixed load would take as long again, each
        contenders = CONTENDERS[:1] if steady else [*CONTENDERS, *others]
        chosen = _chosen(only, short=short)
        result = _measure(console, contenders, chosen, 1 if short else repetitions, whole=whole, steady=steady)
    except BenchError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        sys.exit(1)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}{'-short' if short else ''}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result, console)
    console.print(f"The figures are in {path}", soft_wrap=True)
    if whole:
        write_docs(result)
        console.print("docs/performance.md, its plots and docs/performance.json have been written")
    if result["failures"]:
        sys.exit(1)


def _chosen(only: Sequence[str], *, short: bool) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in only if name not in known]:
        raise click.BadParameter(f"no scenario {unknown[0]!r}: --list names them", param_hint="--only")
    if short:
        return SHORT
    return [known[name] for name in only] or SCENARIOS


def _measure(
    console: Console,
    contenders: Sequence[Contender],
    scenarios: Sequence[Scenario],
    repetitions: int,
    *,
    whole: bool,
    steady: float | None,
) -> dict[str, object]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("building images", total=None)

        def tell(text: str, done: int, total: int) -> None:
            progress.update(task, description=text, completed=done, total=total)
            if not console.is_terminal:
                console.print(f"{done + 1}/{total} {text}")

        build_images()
        with Lab() as lab:
            able = [contender for contender in contenders if lab.knows(contender)]
            run = Run(lab, able, scenarios, repetitions, tell, whole=whole)
            return run.measure_steadily(steady) if steady else run.measure()


def _list() -> Table:
    table = Table("scenario", "what", "messages")
    for scenario in SCENARIOS:
        table.add_row(scenario.name, scenario.differs, str(scenario.messages))
    table.add_section()
    for contender in CONTENDERS:
        table.add_row(contender.name, contender.text, "")
    return table


if __name__ == "__main__":
    main()
