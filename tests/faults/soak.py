"""``make soak``: a steady mixed load for a long time, with faults, hostile receivers and reloads at random.

At the end every message is accounted for, and what the relay holds must not have grown: memory, descriptors, processes,
threads and the journal, by a line fitted to the samples; and the last messages must be accepted as quickly as the first.
"""

import argparse
import json
import os
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, Sink, build_images, docker, wait_until
from tests.faults.neighbours import PORTS, USER, others, users
from tests.faults.processes import DELIVERS, VICTIM
from tests.faults.watching import Watcher

BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
SAMPLE = """
import os, re
def number(*names):
    for name in names:
        try: return int(open(name).read())
        except OSError: pass
    return 0
def anon():
    for name in ("/sys/fs/cgroup/memory/memory.stat", "/sys/fs/cgroup/memory.stat"):
        try: fields = dict(line.split() for line in open(name))
        except OSError: continue
        return int(fields.get("total_rss") or fields.get("anon") or 0)
descriptors = threads = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        title = open(f"/proc/{pid}/cmdline").read().replace("\\0", " ")
        if re.search(r"postroad run|postroad[.](front|recorder|signer)|accepting connections", title):
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            threads += int(re.search(r"Threads:\\s*(\\d+)", open(f"/proc/{pid}/status").read())[1])
    except OSError: pass
journal = sum(os.stat(f"/var/lib/postroad/events/{name}").st_size for name in os.listdir("/var/lib/postroad/events") if "journal" in name or "jsonl" in name)
print(anon(), descriptors, number("/sys/fs/cgroup/pids/pids.current", "/sys/fs/cgroup/pids.current") - 1, threads, journal)
"""
"""What the daemons hold; sessions and deliveries come and go."""


@dataclass(frozen=True)
class Measure:
    """Something that must stay flat.

    Attributes:
        name: what the table calls it.
        unit: what a number is divided by, and how that is called.
        slack: growth over the whole run, in the measure's own unit, that is noise.
    """

    name: str
    unit: tuple[float, str]
    slack: float


MEASURES = (
    Measure("memory", (2**20, "MiB"), 8),
    Measure("descriptors", (1, ""), 10),
    Measure("processes", (1, ""), 6),
    Measure("threads", (1, ""), 3),
    Measure("journal", (2**20, "MiB"), 2),
)
GROWTH = 0.10
"""The share of its mean by which a measure may grow over the whole run, besides the slack."""
SLOWER = 0.20
"""The share by which p99 of acceptance may grow."""
NOISE = 0.05
"""Seconds of p99 that are noise."""
WARM = 0.1
"""The share of the run that is left out at its beginning: caches fill, the pool of sessions opens."""
SHADOW = 3.0
"""Seconds after a disturbance for which times of acceptance say nothing of the relay's age."""


@dataclass
class Result:
    """What a run has shown."""

    seed: int
    seconds: float
    row: Row
    samples: list[tuple[float, ...]] = field(default_factory=list)
    disturbed: Counter[str] = field(default_factory=Counter)
    first: float = 0.0
    last: float = 0.0
    faults: list[str] = field(default_factory=list)

    def line(self, number: int) -> tuple[float, float]:
        """Mean of a measure, and its growth over the whole run by the fitted line, in its unit."""
        measure = MEASURES[number]
        kept = [each for each in self.samples if each[0] >= WARM * self.seconds]
        values = [each[number + 1] / measure.unit[0] for each in kept]
        if len(values) < 3:
            return (statistics.fmean(values) if values else 0.0), 0.0
        slope, _ = statistics.linear_regression([each[0] for each in kept], values)
        return statistics.fmean(values), slope * self.seconds

    def judge(self) -> None:
        """Note what is not as promised."""
        self.faults += [f"lost: {number}" for number in self.row.lost] + self.row.faults
        if len(self.samples) < 10:
            self.faults.append(f"{len(self.samples)} samples only: this shows nothing")
        for number, measure in enumerate(MEASURES):
            mean, growth = self.line(number)
            if growth > measure.slack + GROWTH * mean:
                self.faults.append(f"{measure.name} grew by {growth:.1f} {measure.unit[1]} (mean {mean:.1f})")
        if self.last > self.first * (1 + SLOWER) + NOISE:
            self.faults.append(f"p99 of acceptance grew from {self.first:.3f} s to {self.last:.3f} s")


class Disturbances:
    """What happens to the relay, in turn, at random."""

    def __init__(self, bench: Bench, relay: Relay, hostile: Sink, rng: random.Random) -> None:
        self.bench, self.relay, self.hostile, self.rng = bench, relay, hostile, rng
        self.kinds: dict[str, Callable[[], None]] = {
            "reload": lambda: self._shell("postroad reload"),
            "receivers fail": self._receivers,
            "hostile receivers change": self._hostile,
            "kill -9 of a delivery": lambda: self._kill(DELIVERS),
            "kill -9 of the recorder": lambda: self._kill("postroad[.]recorder"),
            "kill -9 of the front": lambda: self._kill("postroad[.]front"),
            "kill -9 of the signer": lambda: self._kill("postroad[.]signer"),
            "kill -9 of sendmail": lambda: self._kill("[s]endmail: accepting"),
            "silent clients": self._silent,
            "guessed passwords": self._guess,
            "DNS frozen": self._dns,
            "attempts ended by hand": lambda: self._shell("postroad queue abort --host mx.hostile.example"),
            "queue flushed": lambda: self._shell("timeout 20 postroad queue flush --all"),
        }

    def _shell(self, command: str) -> None:
        self.relay.shell(f"{command} >/dev/null 2>&1")

    def _kill(self, pattern: str) -> None:
        self.relay.shell(VICTIM.replace("$1", pattern))
        self.relay.back()

    def _receivers(self) -> None:
        self.bench.sink.fail(0.3, self.rng.choice(["mid-data", "after-dot", "421", "tls"]))
        time.sleep(self.rng.uniform(2, 6))
        self.bench.sink.behave()

    def _hostile(self) -> None:
        self.hostile.fail(1, self.rng.choice(["drips", "mute"]))

    def _silent(self) -> None:
        with others(self.bench, "silent", "silent", "relay", "20", *PORTS):
            time.sleep(self.rng.uniform(3, 8))

    def _guess(self) -> None:
        with others(self.bench, "guess", "guess", "relay", "app", "5"):
            time.sleep(self.rng.uniform(3, 8))

    def _dns(self) -> None:
        self.bench.internet.dns.pause()
        try:
            time.sleep(self.rng.uniform(1, 3))
        finally:
            self.bench.internet.dns.unpause()


class Sampler(Watcher):
    """Samples what the relay holds, from ``with`` to its end."""

    def __init__(self, relay: Relay, every: float) -> None:
        super().__init__(every)
        self.relay = relay
        self.samples: list[tuple[float, ...]] = []
        self._began = time.monotonic()

    def look(self) -> None:
        said = docker("exec", self.relay.name, "python3", "-c", SAMPLE, check=False)
        if re.fullmatch(r"(\d+ ){4}\d+\n", said):
            self.samples.append((time.monotonic() - self._began, *map(float, said.split())))


@contextmanager
def hostile_receiver(bench: Bench) -> Iterator[Sink]:
    """An MX of hostile.example that takes nothing; in the end its mail goes to the one that does."""
    name = f"{bench.internet.network}-hostile"
    address = bench.start(name, ["sink"], "--env=MX_HOSTNAME=mx.hostile.example")
    try:
        sink = Sink(name)
        wait_until(lambda: docker("exec", name, "ls", "/run/sink", check=False), 30, "the start of the receiver")
        sink.fail(1, "drips")
        bench.internet.add_zone("hostile.example")
        bench.internet.publish_host("mx.hostile.example", address)
        bench.internet.publish("hostile.example", "MX", "10 mx.hostile.example.")
        yield sink
    finally:
        docker("rm", "--force", name)


def p99(times: list[float]) -> float:
    """The 99th percentile, in seconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else 0.0


def soak(bench: Bench, seconds: float, tell: Callable[[str, float], None]) -> Result:
    """Run for so long; ``tell`` gets what happens and how many seconds have passed."""
    result = Result(bench.seed, seconds, Row("soak", "all of it"))
    rng = random.Random(bench.seed)
    with users() as config, hostile_receiver(bench) as hostile:
        relay = bench.relay(
            delivery={"attempt_timeout": "30s", "queue": {"retry": "10s"}},
            limits={"idle": "30s"},
            **config,
        )
        good, some = ["rcpt.example"], ["rcpt.example"] * 9 + ["hostile.example"]
        loads = [
            Load(bench, ["relay"], rate=6, workers=4, domains=some, size=20000),
            Load(bench, ["relay"], rate=2, workers=2, domains=good, port=587, user=USER, size=20000),
            Load(bench, ["relay"], rate=2, workers=2, domains=good, port=465, user=USER, size=20000),
        ]
        disturbances = Disturbances(bench, relay, hostile, rng)
        shadows: list[tuple[float, float]] = []
        began, wall = time.monotonic(), time.time()
        try:
            with Sampler(relay, max(2.0, min(15.0, seconds / 60))) as sampler:
                while (passed := time.monotonic() - began) < seconds:
                    tell(f"{sum(load.accepted for load in loads):,} accepted", passed)
                    time.sleep(min(rng.uniform(4, 15), seconds - passed))
                    kind = rng.choice(list(disturbances.kinds))
                    tell(kind, time.monotonic() - began)
                    at = time.time()
                    disturbances.kinds[kind]()
                    shadows.append((at, time.time() + SHADOW))
                    result.disturbed[kind] += 1
        finally:
            for load in loads:
                load.stop()
        result.samples = sampler.samples
        bench.sink.behave()
        bench.internet.publish("hostile.example", "MX", "10 sink.rcpt.example.")
        tell("waiting for the end of every message", seconds)
        relay.back()
        for load in loads:
            settle(result.row, bench, [relay], load, 180)
        result.row.injected = result.disturbed.total()
        accepted = [each for load in loads for each in load.attempts if each["result"] == "accepted"]
        calm = [each for each in accepted if not any(low <= each["at"] <= high for low, high in shadows)]
        part = min(600.0, seconds / 3)
        result.first = p99([each["took"] for each in calm if each["at"] < wall + part])
        result.last = p99([each["took"] for each in calm if each["at"] > wall + seconds - part])
    result.judge()
    return result


def rows(result: Result) -> list[tuple[str, str]]:
    """What there is to say, a pair each."""
    row = result.row
    told = [
        ("time", f"{result.seconds / 60:.0f} minutes, seed {result.seed}"),
        ("disturbances", ", ".join(f"{kind} {number}" for kind, number in sorted(result.disturbed.items()))),
        ("accepted", f"{row.accepted:,}, of which {row.delivered:,} delivered, {row.bounced:,} bounced, {row.queued:,} queued"),
        ("lost", f"{len(row.lost)}"),
        ("duplicated", f"{row.duplicated:,}; {row.unanswered:,} got no answer, of which {row.arrived:,} arrived; {row.refused:,} refused for now"),
    ]  # fmt: skip
    for number, measure in enumerate(MEASURES):
        mean, growth = result.line(number)
        unit = f" {measure.unit[1]}" if measure.unit[1] else ""
        hourly = growth / result.seconds * 3600
        told.append(
            (
                measure.name,
                f"{mean:.1f}{unit} on average, {growth:+.1f}{unit} over the run ({hourly:+.1f} an hour) by the fitted line",
            )
        )
    told.append(("p99 of acceptance", f"{result.first:.3f} s in the first part, {result.last:.3f} s in the last"))
    return told


def fill(path: Path, result: Result) -> None:
    """Put the table between the markers of a Markdown file.

    Raises:
        ValueError: the file has no markers.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} lacks the lines {BEGIN} and {END}, between which the table goes")
    lines = ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows(result)), ""]
    lines.append(f"Printed by `make soak` on {time.strftime('%Y-%m-%d', time.gmtime())}.")
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def duration(text: str) -> float:
    """Seconds in ``90s``, ``10m`` or ``1h``."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError("such as 90s, 10m or 1h")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def main() -> int:
    """Do it; exit code 1 if a message was lost, or anything grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--for", dest="seconds", type=duration, default=3600.0, metavar="TIME", help="90s, 10m, 1h")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="chooses what happens, and when")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the table there")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    build_images()
    shown = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        Bench(os.environ.get("POSTROAD_IMAGE", "postroad:latest"), given.seed) as bench,
        Progress(*shown, console=console) as progress,
    ):
        task = progress.add_task("soak", total=given.seconds)

        def tell(text: str, passed: float) -> None:
            progress.update(task, description=f"soak: {text}", completed=passed)
            if not console.is_terminal:
                console.print(f"{passed:6.0f} s  {text}", highlight=False)

        result = soak(bench, given.seconds, tell)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in rows(result):
        table.add_row(name, text)
    console.print(table)
    for fault in result.faults:
        console.print(f"[red]soak:[/] {fault}", highlight=False)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = {"seed": given.seed, "seconds": given.seconds, "faults": result.faults}
        given.json.write_text(
            json.dumps({**told, "rows": dict(rows(result)), "samples": result.samples}, indent=1) + "\n"
        )
    if given.docs:
        fill(given.docs, result)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
