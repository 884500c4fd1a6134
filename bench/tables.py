"""Pure: a run's result into tables and verdicts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

from bench.contenders import BEST, NORMAL, POPULAR
from bench.figures import Spread, number, ratio, spread
from bench.scenarios import Scenario

Result = Mapping[str, Any]
"""What ``measure.Run.measure`` returns."""

MIB = 1024 * 1024
MAIN = ("base", "50-sessions", "slow", "tls")
_OVER_BEST = {**dict.fromkeys(MAIN, 1.7), "1-MB": 1.0}
_LEAST = 0.05  # ms: programs that use less are not named


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row. ``plot`` shows the same, where there is one."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    plot: str = ""


@dataclass(frozen=True)
class Verdict:
    """One goal in one scenario.

    Attributes:
        goal: in words.
        scenario: where.
        bound: the figure that is needed.
        at_least: it is the least that will do; else the most.
        seen: what was measured; None where it was not.
        why: what the goal would take, and what was measured of that.
    """

    goal: str
    scenario: str
    bound: float
    at_least: bool
    seen: Spread | None
    why: str

    @property
    def said(self) -> str:
        """``met``, ``not met`` or ``not measured``: the median decides."""
        if self.seen is None:
            return "not measured"
        met = self.seen.median >= self.bound if self.at_least else self.seen.median <= self.bound
        return "met" if met else "not met"


class Figures:
    """Looks figures of a result up."""

    def __init__(self, result: Result) -> None:
        self.contenders = [contender["name"] for contender in result["contenders"]]
        self.scenarios = [Scenario(**scenario) for scenario in result["scenarios"]]
        self.cores: int = result["machine"]["cores"]
        self._result = result

    def values(self, scenario: str, contender: str, what: str) -> dict[int, float]:
        """A figure of each repetition; none where one of them failed."""
        if self.failed(scenario, contender):
            return {}
        return {
            row["repetition"]: row[what]
            for row in self._result["rounds"]
            if row["scenario"] == scenario and row["contender"] == contender and what in row
        }

    def programs(self, scenario: str, contender: str) -> list[Mapping[str, float]]:
        """CPU ms a message by program, of each repetition."""
        return [
            row["cpu_ms_by_program"]
            for row in self._result["rounds"]
            if row["scenario"] == scenario and row["contender"] == contender
        ]

    def failed(self, scenario: str, contender: str) -> bool:
        """Whether it lost messages there."""
        return any(row["scenario"] == scenario and row["contender"] == contender for row in self._result["failures"])

    def spread(self, scenario: str, contender: str, what: str) -> Spread | None:
        """A figure over its repetitions."""
        return spread(self.values(scenario, contender, what).values())

    def ratio(self, scenario: str, ours: str, theirs: str, what: str = "rate") -> Spread | None:
        """One contender's figure over another's."""
        return ratio(self.values(scenario, ours, what), self.values(scenario, theirs, what))

    def of(self, part: str, contender: str, what: str, **where: object) -> Spread | None:
        """A figure of ``rest`` or ``calls``."""
        rows = (row for row in self._result[part] if row["contender"] == contender)
        return spread(row[what] for row in rows if all(row[key] == value for key, value in where.items()))

    @property
    def others(self) -> float:
        """Share of the machine that neither a relay nor the tools used, in the median round."""
        seen = spread(row["others"] for row in self._result["rounds"])
        return seen.median if seen else 0.0


def verdicts(result: Result) -> list[Verdict]:
    """Each goal in each scenario that it is about."""
    return list(_verdicts(Figures(result)))


def _verdicts(figures: Figures) -> Iterator[Verdict]:
    loads = [scenario for scenario in figures.scenarios if not scenario.is_paced]
    wanted = [(NORMAL, POPULAR, scenario, 2.0) for scenario in loads]
    wanted += [(NORMAL, BEST, scenario, _OVER_BEST.get(scenario.name, 1.2)) for scenario in loads]
    for ours, theirs, scenario, bound in wanted:
        goal = f"throughput of {ours} over {theirs}"
        seen = figures.ratio(scenario.name, ours, theirs)
        yield Verdict(goal, scenario.name, bound, True, seen, _effort(figures, scenario, ours, theirs, bound))
    for scenario in (scenario for scenario in figures.scenarios if scenario.name.startswith("paced")):
        for what, bound in (("50", 5.0), ("99", 12.0)):
            goal = f"acceptance by {NORMAL} at rest, ms, p{what}"
            seen = figures.spread(scenario.name, NORMAL, f"accept_p{what}")
            yield Verdict(goal, scenario.name, bound, False, seen, _alone_takes(figures, scenario))
    yield from _shares(figures, loads)
    for goal, what, factor, bound in (
        ("memory at rest, MiB", "memory", 1 / MIB, 42.0),
        ("ready after, s", "ready", 1.0, 1.0),
    ):
        if seen := _scaled(figures.of("rest", NORMAL, what), factor):
            yield Verdict(f"{goal}, of {NORMAL}", "at rest", bound, False, seen, "")


def _shares(figures: Figures, loads: Sequence[Scenario]) -> Iterator[Verdict]:
    """What it uses, beside the best peer."""
    for scenario in (scenario for scenario in loads if scenario.sessions == 50):
        seen = figures.ratio(scenario.name, NORMAL, BEST, "memory")
        why = _memory(figures, scenario, 0.6)
        yield Verdict(f"peak memory of {NORMAL} over {BEST}", scenario.name, 0.6, False, seen, why)
    for scenario in (scenario for scenario in loads if scenario.name in MAIN):
        seen = figures.ratio(scenario.name, NORMAL, BEST, "cpu_ms")
        yield Verdict(f"CPU a message of {NORMAL} over {BEST}", scenario.name, 0.65, False, seen, "")


def _effort(figures: Figures, scenario: Scenario, ours: str, theirs: str, bound: float) -> str:
    """What a throughput would take, and what is there: time that sessions wait, or the machine's CPU."""
    them, cpu, tools = (
        figures.spread(scenario.name, name, what)
        for name, what in ((theirs, "rate"), (ours, "cpu_ms"), (ours, "tools_cpu_ms"))
    )
    if not (them and cpu and tools):
        return ""
    needed = bound * them.median
    said = (
        f"{number(needed)}/s leave {number(figures.cores * 1000 / needed)} ms of CPU for a message;"
        f" it takes {number(cpu.median)}, generator and receiver {number(tools.median)}"
    )
    best = figures.ratio(scenario.name, BEST, theirs)
    return f"{said}; {BEST} reaches {number(best.median)}" if best and best.median < bound and theirs != BEST else said


def _alone_takes(figures: Figures, scenario: Scenario) -> str:
    cpu = figures.spread(scenario.name, NORMAL, "cpu_ms")
    forks, fsyncs = (figures.of("calls", NORMAL, what, reuse=False) for what in ("forks", "fsyncs"))
    if not (cpu and forks and fsyncs):
        return ""
    used, forked, synced = (number(each.median) for each in (cpu, forks, fsyncs))
    return f"a message takes {used} ms of CPU, {forked} forks, {synced} fsyncs"


def _memory(figures: Figures, scenario: Scenario, bound: float) -> str:
    peak, best = (figures.spread(scenario.name, name, "memory") for name in (NORMAL, BEST))
    rest = figures.of("rest", NORMAL, "memory")
    if not (peak and best and rest):
        return ""
    each = (peak.median - rest.median) / scenario.sessions / MIB
    return (
        f"{number(bound * best.median / MIB)} MiB would do; {number(rest.median / MIB)} are used at rest,"
        f" and {number(each)} more for each session"
    )


def goals(result: Result) -> Table:
    """The verdicts as a table."""
    rows = [
        [
            each.goal,
            each.scenario,
            f"{'≥' if each.at_least else '≤'} {each.bound:g}",
            _text(each.seen),
            each.said,
            each.why if each.said == "not met" else "",
        ]
        for each in verdicts(result)
    ]
    met = sum(row[-2] == "met" for row in rows)
    header = ["goal", "scenario", "needed", "seen", "", "what it would take, and what there is"]
    return Table(f"Goals: {met} of {len(rows)} met", header, rows)


def tables(result: Result) -> list[Table]:
    """All that was measured: medians, with the least and the greatest."""
    figures = Figures(result)
    made = [
        _throughput(figures),
        _waits(figures, "Acceptance: ms that an app waits for a message, p50 / p99 / p99.9", "accept", "acceptance"),
        _waits(figures, "DATA to receiver: ms from DATA until the receiver has all of it, p50 / p99", "transit"),
        _by_scenario(figures, "CPU ms a message", lambda *at: _text(figures.spread(at[0], at[1], "cpu_ms")), "cpu"),
        _by_scenario(
            figures,
            "Peak memory, MiB",
            lambda *at: _text(_scaled(figures.spread(at[0], at[1], "memory"), 1 / MIB)),
            "memory",
        ),
    ]
    if "base" in {scenario.name for scenario in figures.scenarios}:
        made.append(_programs(figures))
    if result["rest"] or result["calls"]:
        made.append(_alone(figures, result))
    made += [_profiles(result, name) for name in dict.fromkeys(each["scenario"] for each in result["profiles"])]
    return [table for table in made if table.rows]


def _throughput(figures: Figures) -> Table:
    pairs = [(ours, theirs) for ours in (NORMAL,) for theirs in (POPULAR, BEST)]
    pairs = [pair for pair in pairs if {*pair} <= {*figures.contenders}]
    rows = [
        [
            scenario.name,
            *(_text(figures.spread(scenario.name, name, "rate")) for name in figures.contenders),
            *(_text(figures.ratio(scenario.name, *pair)) for pair in pairs),
        ]
        for scenario in figures.scenarios
        if not scenario.is_paced
    ]
    header = ["scenario", *figures.contenders, *(f"{ours} / {theirs}" for ours, theirs in pairs)]
    return Table("Throughput: messages a second, from the first sent to the last arrived", header, rows, "throughput")


def _profiles(result: Result, scenario: str) -> Table:
    """One pass of a scenario under perf: what the programs do, and what of all that is the kernel's work, and for what.

    Linux stops sampling a process before it takes its memory down, which is in the rest that the control group counted.
    """
    rows = []
    for profile in (each for each in result["profiles"] if each["scenario"] == scenario):
        name = profile["contender"]
        programs = sorted(profile["parts"].items(), key=lambda item: -sum(item[1].values()))
        rows += [
            [name, program, number(sum(parts.values())), _most(parts)]
            for program, parts in programs
            if sum(parts.values()) >= _LEAST
        ]
        sampled = sum(chain.from_iterable(parts.values() for parts in profile["parts"].values()))
        rows.append(
            [
                name,
                "(not sampled)",
                number(max(0.0, profile["cpu_ms"] - sampled)),
                "interrupts, switches, the end of processes",
            ]
        )
        rows.append([name, "(of all that)", "", _most(profile["causes"])])
    header = ["", "program", "ms", "in its parts; of all that, in the kernel for"]
    return Table(f"Profile of {scenario}: CPU ms a message, by perf", header, rows)


def _most(used: Mapping[str, float]) -> str:
    most = sorted(((value, name) for name, value in used.items() if value >= _LEAST), reverse=True)
    return ", ".join(f"{name} {number(value)}" for value, name in most)


def _by_scenario(figures: Figures, title: str, cell: Callable[[str, str], str], plot: str = "") -> Table:
    rows = [
        [scenario.name, *(cell(scenario.name, name) for name in figures.contenders)] for scenario in figures.scenarios
    ]
    return Table(title, ["scenario", *figures.contenders], rows, plot)


def _programs(figures: Figures) -> Table:
    """Where the CPU time goes: in ``base`` and, without what a connection costs, in ``reused``."""
    rows = []
    for scenario in (scenario.name for scenario in figures.scenarios if scenario.name in {"base", "reused"}):
        for contender in figures.contenders:
            rounds = figures.programs(scenario, contender)
            medians = {name: median(used.get(name, 0.0) for used in rounds) for name in {*chain.from_iterable(rounds)}}
            rows.append([scenario, contender, _most(medians)])
    return Table(
        "CPU ms a message by program; gone: by processes that came and went", ["scenario", "", "programs"], rows
    )


def _alone(figures: Figures, result: Result) -> Table:
    sizes = {contender["name"]: contender["bytes"] for contender in result["contenders"]}
    lines: list[tuple[str, Callable[[str], str]]] = [
        ("ready after, s", lambda name: _text(figures.of("rest", name, "ready"))),
        ("memory at rest, MiB", lambda name: _text(_scaled(figures.of("rest", name, "memory"), 1 / MIB))),
        ("CPU at rest, % of a core", lambda name: _text(_scaled(figures.of("rest", name, "cpu"), 100))),
        ("image unpacked, MB", lambda name: number(sizes[name] / 1e6)),
        ("fsyncs a message", lambda name: _text(figures.of("calls", name, "fsyncs", reuse=False))),
        ("fsyncs a message, reused", lambda name: _text(figures.of("calls", name, "fsyncs", reuse=True))),
        ("forks a message", lambda name: _text(figures.of("calls", name, "forks", reuse=False))),
        ("forks a message, reused", lambda name: _text(figures.of("calls", name, "forks", reuse=True))),
    ]
    rows = [[label, *(cell(name) for name in figures.contenders)] for label, cell in lines]
    return Table("At rest, and system calls", ["", *figures.contenders], rows)


def _waits(figures: Figures, title: str, what: str, plot: str = "") -> Table:
    def cell(scenario: str, contender: str) -> str:
        seen = (figures.spread(scenario, contender, f"{what}_p{percent}") for percent in (50, 99, 999))
        return " / ".join(_text(each) for each in seen if each) or "-"

    return _by_scenario(figures, title, cell, plot)


def _scaled(value: Spread | None, factor: float) -> Spread | None:
    return value and Spread(value.median * factor, value.low * factor, value.high * factor, value.rounds)


def _text(value: Spread | None) -> str:
    return str(value) if value else "-"
