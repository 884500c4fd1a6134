"""``python -m dev.mutants [--sample N] [--seed N] [PATTERN...]``: changes of meaning that fast tests notice (mutmut).

mutmut tries each change in a process that has imported the modules already. What runs at their import, such as the
reading of a table of rules, is not changed there, so those that survive are tried once more, each in its own process.

``dist/mutants.json`` has what became of each, ``dist/mutants.txt`` those that survived, as diffs.
"""

import argparse
import contextlib
import fnmatch
import io
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile

from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from rich.console import Console
from rich.progress import track

FLOOR = 85.0
"""Percent that have to be noticed."""
TREE = Path("mutants")
SMALL = "postroad.domains.*"
"""Whose changes are tried first: all changes are made then, and it is seen which test calls what."""
NOTICED = {"killed", "timeout"}
PATIENCE = 15
"""A test may take so many times what it takes without a change."""
OK, NOT_FOUND = 0, 4
"""pytest's exit codes; the latter also where a module of tests can't be imported."""


def every() -> dict[str, int | None]:
    """Each mutant, and with which exit code its tests ended; None: not tried."""
    found: dict[str, int | None] = {}
    for path in sorted(TREE.rglob("*.meta")):
        data = SourceFileMutationData(path=path.relative_to(TREE).with_suffix(""))
        data.load()
        found |= data.exit_code_by_key
    return found


def interval(hits: int, of: int) -> tuple[float, float]:
    """Within which the share of all lies, in percent, with a probability of 95 % (Wilson's score interval)."""
    z, share = 1.96, hits / of
    middle, width = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return 100 * (middle - width) / (1 + z * z / of), 100 * (middle + width) / (1 + z * z / of)


def alone(mutant: str, tests: Sequence[str], seconds: float) -> str:
    """Try a mutant in a process of its own, which imports what is changed."""
    code = _pytest(mutant, tests, seconds)
    if code == NOT_FOUND:
        code = _pytest(mutant, sorted({name.partition("::")[0] for name in tests}), 2 * seconds)
    if code is None or code == OK:
        return "timeout" if code is None else "survived"
    # else it is not the change that they notice
    return "killed" if _pytest("", tests, 2 * seconds) == OK else "not tried"


def _pytest(mutant: str, tests: Sequence[str], seconds: float) -> int | None:
    """Pytest's exit code; None: it took longer."""
    with NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(tests))
        names.flush()
        argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *config().pytest_add_cli_args]
        env = {**os.environ, "MUTANT_UNDER_TEST": mutant, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*argv, f"@{names.name}"]
        try:
            done = subprocess.run(command, cwd=TREE, env=env, timeout=seconds, check=False, capture_output=True)
        except subprocess.TimeoutExpired:
            return None
        return done.returncode


def again(survivors: list[str], console: Console) -> Iterator[tuple[str, str]]:
    """Try each alone: (name, what became of it)."""
    stats = json.loads((TREE / "mutmut-stats.json").read_text())
    called, took = stats["tests_by_mangled_function_name"], stats["duration_by_test"]

    def one(mutant: str) -> tuple[str, str]:
        tests = sorted(called.get(mutant.rpartition("__mutmut_")[0], ()), key=lambda name: took.get(name, 0.0))
        if not tests:
            return mutant, "no tests"
        return mutant, alone(mutant, tests, 60 + PATIENCE * sum(took.get(name, 0.0) for name in tests))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from track(pool.map(one, survivors), "those that survived, alone", len(survivors), console=console)


def main() -> int:
    """Try them, and tell; 1 where too few were noticed."""
    parser = argparse.ArgumentParser(prog="python -m dev.mutants", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="mutants by name, such as 'postroad.events.*'")
    parser.add_argument("--sample", type=int, metavar="N", help="so many, at random; else all, for hours")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which ones those are (default: 1)")
    given = parser.parse_args()
    console = Console()
    patterns = given.patterns or ["*"]
    subprocess.run(["mutmut", "run", SMALL], check=True, stdout=subprocess.DEVNULL if console.is_terminal else None)
    names = sorted(name for name in every() if any(fnmatch.fnmatch(name, pattern) for pattern in patterns))
    if not names:
        parser.error(f"no mutant is named {' or '.join(patterns)}")
    if given.sample is not None and given.sample < len(names):
        names = sorted(random.Random(given.seed).sample(names, given.sample))
    console.print(f"{len(names):,} of {len(every()):,} mutants")
    subprocess.run(["mutmut", "run", *names], check=True)
    codes = every()
    became = {name: status_by_exit_code[codes[name]] for name in names}
    # 255: pytest did not run its tests
    became |= {name: "not tried" for name in names if codes[name] in {None, 255}}
    became |= again([name for name in names if became[name] not in NOTICED], console)
    return report(became, console)


def report(became: dict[str, str], console: Console) -> int:
    """Write down what became of each, and print the share that was noticed, by room and in all; the exit code."""
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for name, what in became.items():
        rooms[name.split(".")[1]][what] += 1
        rooms["all"][what] += 1
    for room, counts in sorted(rooms.items(), key=lambda entry: (entry[0] == "all", entry[0])):
        hits, of = sum(counts[what] for what in NOTICED), counts.total()
        low, high = interval(hits, of)
        others = ", ".join(f"{number} {what}" for what, number in counts.items() if what != "killed")
        console.print(f"{room:<12}{hits:6} of {of:6}  {100 * hits / of:5.1f} %  ({low:.1f} to {high:.1f} %)  {others}")
    dist = Path("dist")
    dist.mkdir(exist_ok=True)
    (dist / "mutants.json").write_text(json.dumps(became, indent=1))
    with contextlib.redirect_stdout(io.StringIO()):
        diffs = [get_diff_for_mutant(name) for name, what in became.items() if what not in NOTICED]
    (dist / "mutants.txt").write_text("\n".join(diffs))
    share = 100 * sum(rooms["all"][what] for what in NOTICED) / len(became)
    return 0 if share >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
