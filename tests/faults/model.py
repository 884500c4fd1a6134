"""What a fault is, and the trial in which it is injected."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay


@dataclass
class Trial:
    """One fault's turn: a relay under load, and how often the fault is to be injected."""

    bench: Bench
    row: Row
    times: int
    tell: Callable[[str], None]
    relay: Relay
    load: Load
    rng: random.Random

    def rounds(self) -> "Rounds":
        """Once a round, at a random moment: injects are counted."""
        return Rounds(self)

    def pause(self, least: float = 0.1, most: float = 1.5) -> None:
        """Let a random time pass, in seconds."""
        time.sleep(self.rng.uniform(least, most))


class Rounds:
    """``times`` rounds, each after a random pause; says how far it is."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def __iter__(self) -> "Rounds":
        self._done = 0
        return self

    def __next__(self) -> int:
        trial = self._trial
        trial.row.injected = self._done
        if self._done == trial.times:
            raise StopIteration
        self._done += 1
        trial.tell(f"{self._done} of {trial.times}, {trial.load.accepted} accepted")
        trial.pause()
        return self._done


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        name: what ``FAULTS=`` calls it.
        title: what the table calls it.
        inject: does it, ``trial.times`` times.
        times: how often, in a full run and in a short one.
        config: the relay's configuration; ``run`` is the container's.
        load: the client's arguments.
        volumes: those that are in memory: mount path to tmpfs's options.
        settle: seconds that what was accepted may take to its end, once the fault is over.
        opt_in: not done unless it is named.
    """

    name: str
    title: str
    inject: Callable[[Trial], None]
    times: tuple[int, int]
    config: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    settle: float = 60
    opt_in: bool = False


@dataclass(frozen=True)
class Check:
    """Something that is no fault under load: it has its own way to go about it, and fills its row in itself."""

    name: str
    title: str
    do: Callable[[Bench, Row, Callable[[str], None], bool], None]
    opt_in: bool = False


Step = Fault | Check


def run(step: Step, bench: Bench, tell: Callable[[str], None], *, short: bool = False) -> Row:
    """Do one, from a fresh relay to the account."""
    row = Row(step.name, step.title)
    began = time.monotonic()
    try:
        if isinstance(step, Check):
            step.do(bench, row, tell, short)
        else:
            _inject(step, bench, row, tell, short)
    except Exception as error:
        row.faults.append(f"could not be done: {error!r}")
        raise
    finally:
        if not row.good:
            keep(row, bench)
        bench.clear()
        row.seconds = round(time.monotonic() - began, 1)
    return row


LOGS = Path("dist/faults")


def keep(row: Row, bench: Bench) -> None:
    """Write down what there is to learn from: the logs of the relays, what is in their queues, what the MX has."""
    LOGS.mkdir(parents=True, exist_ok=True)
    for relay in bench.relays:
        if relay.container and relay.container._container:
            _, files = relay.shell("cd /var/spool/mqueue && (ls -la; head -n 50 qf* Qf* tf*) 2>&1 | head -c 100000")
            (LOGS / f"{row.name}-{relay.alias}.log").write_text(f"{relay.log()}\n== the queue\n{files}")
    (LOGS / f"{row.name}-sink.log").write_text("".join(f"{entry}\n" for entry in bench.sink.log()))


def _inject(fault: Fault, bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    tell("starting a relay")
    volumes = {
        path: bench.volume("--opt=type=tmpfs", "--opt=device=tmpfs", f"--opt=o={options}")
        for path, options in fault.volumes.items()
    }
    relay = bench.relay(volumes=volumes, **fault.config)
    load = Load(bench, ["relay"], **fault.load)
    times = fault.times[short]
    try:
        fault.inject(Trial(bench, row, times, tell, relay, load, random.Random(bench.rng.random())))
    finally:
        load.stop()
    tell("waiting for the end of every message")
    relay.back()
    settle(row, bench, [relay], load, fault.settle)
    if not row.accepted:
        row.faults.append("nothing was accepted: this shows nothing")
