"""A run's result for people: on the terminal, and in docs/performance.md with its plots."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from bench.figures import Spread
from bench.plots import bars
from bench.tables import MIB, Figures, Result, Table, goals, tables

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- bench:begin: written by make bench -->", "<!-- bench:end -->"
NOT_YET = "No run has been recorded yet."
QUIET = 0.10
"""A share of the machine: where others used more, a run's figures are no more than preliminary."""

_STYLES = {"met": "green", "not met": "red", "not measured": "yellow"}


def show(result: Result, console: Console) -> None:
    """Print it: tables, then the goals."""
    for table in [*tables(result), goals(result)]:
        printed = RichTable(title=table.title, title_justify="left", title_style="bold")
        for position, name in enumerate(table.header):
            printed.add_column(name, justify="left" if position == 0 or table.header[0] == "goal" else "right")
        for row in table.rows:
            printed.add_row(*row, style=_STYLES.get(row[-1], ""))
        console.print(printed)
    for remark in remarks(result):
        console.print(remark, style="yellow")


def remarks(result: Result) -> list[str]:
    """What there is to be said against the run's figures."""
    said = []
    if result["short"]:
        said.append("A short run: one round each, which shows that everything works and is no measurement.")
    others = Figures(result).others
    if others > QUIET:
        said.append(
            f"Preliminary: other programs used {others:.0%} of the machine in the median round (a quiet one: at most "
            f"{QUIET:.0%}). Only ratios mean anything, and these little."
        )
    said += [
        f"Failed: {row['contender']} in {row['scenario']}, which has no figure of it: {row['said']}."
        for row in result["failures"]
    ]
    return said


def plots(result: Result) -> dict[str, str]:
    """File name to SVG."""
    figures = Figures(result)
    # where waiting is not that of a queue in front of a relay that does all it can
    calm = [scenario.name for scenario in figures.scenarios if scenario.is_paced or scenario.sessions == 1]
    loads = [scenario.name for scenario in figures.scenarios if not scenario.is_paced]

    def groups(scenarios: list[str], what: str, factor: float = 1) -> Mapping[str, Mapping[str, Spread | None]]:
        return {
            scenario: {
                name: value and Spread(value.median * factor, value.low * factor, value.high * factor, value.rounds)
                for name in figures.contenders
                for value in [figures.spread(scenario, name, what)]
            }
            for scenario in scenarios
        }

    wanted = {
        "throughput": ("Messages a second, end to end (more is better)", groups(loads, "rate")),
        "acceptance": ("ms an app waits for a message, p50 (less is better)", groups(calm, "accept_p50")),
        "cpu": ("CPU ms a message (less is better)", groups(loads, "cpu_ms")),
        "memory": ("Peak memory, MiB (less is better)", groups(loads, "memory", 1 / MIB)),
    }
    return {f"{name}.svg": bars(title, data, figures.contenders) for name, (title, data) in wanted.items()}


def markdown(result: Result) -> str:
    """The part of docs/performance.md that a run writes."""
    machine = result["machine"]
    lines = [
        *(f"**{remark}**\n" for remark in remarks(result)),
        (
            f"Run of {result['began']}, {result['seconds'] // 60} min. Every figure is the median of "
            f"{result['repetitions']} rounds and, in brackets, the least and the greatest. Ratios are taken between "
            "rounds that ran next to each other.\n"
        ),
        (
            f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory'] / 2**30:.0f} GiB; Linux "
            f"{machine['kernel']}, {machine['system']}; Docker {machine['docker']}, {machine['storage']}, cgroup "
            f"{machine['cgroup']}. Others used {Figures(result).others:.0%} of it in the median round."
        ),
    ]
    for contender in result["contenders"]:
        packages = ", ".join(f"{name} {version}" for name, version in contender["packages"].items())
        revision = f" at {contender['revision'][:12]}" if contender["revision"] else ""
        lines.append(f"- **{contender['name']}**: {contender['text']}. `{contender['image']}`{revision}; {packages}.")
    lines.append("")
    lines += _markdown_table(goals(result))
    for table in tables(result):
        lines += _markdown_table(table)
        if table.plot:
            lines.append(f"![{table.title}](performance/{table.plot}.svg)\n")
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    return [
        f"### {table.title}\n",
        f"| {' | '.join(table.header)} |",
        f"|{'---|' * len(table.header)}",
        *(f"| {' | '.join(row)} |" for row in table.rows),
        "",
    ]


def with_part(document: str, part: str) -> str:
    """The document with this between its two marks.

    Raises:
        ValueError: it lacks one of them.
    """
    before, found, rest = document.partition(BEGIN)
    _, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise ValueError(f"docs/performance.md lacks the line {BEGIN if not found else END}")
    return f"{before}{BEGIN}\n\n{part.strip()}\n\n{END}{after}"


def write_docs(result: Result) -> None:
    """Write docs/performance.md's part, docs/performance/*.svg and the figures, docs/performance.json."""
    page = DOCS / "performance.md"
    page.write_text(with_part(page.read_text(), markdown(result)))
    directory = DOCS / "performance"
    directory.mkdir(exist_ok=True)
    for name, svg in plots(result).items():
        (directory / name).write_text(svg)
    (DOCS / "performance.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
