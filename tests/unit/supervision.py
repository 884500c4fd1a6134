"""A supervisor whose clock, processes and signals are the test's own."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from postroad import system
from postroad.errors import CommandError
from postroad.events import model as events
from postroad.runtime import acceptance
from postroad.runtime.plan import Daemon, Plan, Process
from postroad.supervisor import alone, main, processes
from postroad.supervisor.health import MemoryLimit, ProcessLimit
from postroad.supervisor.outgoing import Deliveries
from postroad.supervisor.output import Output


def process(name: str, **fields: Any) -> Process:
    given: dict[str, Any] = {"argv": (f"/{name}",), "env": {}, "socket": "", "ports": (), "reload": "SIGHUP"} | fields
    return Process(name=cast("Daemon", name), **given)


def plan(*wanted: Process) -> Plan:
    return Plan(
        processes=wanted, grace=8.0, log_format="json", redact="none", message_size=1, journal=False, policy="policy", sources="", networks="",
        run_doctor=False, look_every=0.0, warnings=(), watched={}, due=float("inf"),
    )  # fmt: skip


class Log:
    """Keeps what is emitted."""

    def __init__(self, *_: Path) -> None:
        self.events: list[events.Event] = []
        self.deliveries = Deliveries()

    def emit(self, event: events.Event) -> None:
        self.events.append(event)

    def output(self, name: str) -> Output:
        made = Output(name)
        made.close()
        return made

    def start(self, wanted: Plan) -> None: ...

    def follow(self, wanted: Plan) -> None: ...

    def stop(self) -> None: ...

    def said(self, level: str = "error") -> list[str]:
        return [event.message for event in self.events if isinstance(event, events.Notice) and event.level == level]


class World:
    """What the kernel would do: processes that start and end, signals, and the time."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.run = tmp_path
        self.running: dict[int, str] = {}
        self.ended: list[tuple[int, int]] = []
        self.kills: list[tuple[str, signal.Signals]] = []
        self.signals: list[signal.Signals] = []
        self.refused: set[str] = set()
        """Programs that can't be started."""
        self.stubborn: set[str] = set()
        """Those that SIGTERM does not end."""
        self.silent: set[str] = set()
        """Those that never serve."""
        self.waits = 0
        (tmp_path / "pids.max").write_text("max\n")
        self.limit = ProcessLimit(tmp_path, lambda: self.now)
        for module, name, value in (
            (main, "LogThread", Log),
            (main, "RUN", tmp_path),
            (alone, "RUN", tmp_path),
            (alone, "STATE", tmp_path / "state"),
            (main, "CURRENT", tmp_path / "current"),
            (main, "HEALTH", tmp_path / "health"),
            (main, "DOCTOR", tmp_path / "doctor.json"),
            (acceptance, "set_accepting", lambda _: None),
            (main, "ProcessLimit", lambda: self.limit),
            (main, "MemoryLimit", lambda: MemoryLimit(tmp_path, lambda: self.now)),
            (system, "spawn", self.spawn),
            (processes, "kill", self.kill),
            (processes, "children", lambda: dict(self.running)),
            (
                processes.Child,
                "ready",
                property(lambda child: bool(child.pid) and child.process.name not in self.silent),
            ),
            (time, "monotonic", lambda: self.now),
            (signal, "sigtimedwait", self.wait),
            (os, "waitpid", self.waitpid),
        ):
            monkeypatch.setattr(module, name, value)
        self.supervisor = main.Supervisor()

    @property
    def log(self) -> Log:
        assert isinstance(self.supervisor.log, Log)
        return self.supervisor.log

    @property
    def state(self) -> str:
        return str(self.supervisor.state)

    @property
    def health(self) -> list[str]:
        return [line.strip() for line in (self.run / "health").read_text().splitlines() if line.strip()]

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], **_: Any) -> int:
        name = argv[0].removeprefix("/")
        if name in self.refused:
            raise CommandError(f"{name} could not be started: no more processes")
        pid = 100 + len(self.running) + len(self.ended) + len(self.kills) * 10
        while pid in self.running:
            pid += 1
        self.running[pid] = name
        return pid

    def kill(self, pid: int, number: signal.Signals) -> None:
        name = self.running.get(pid)
        if name is None:
            return
        self.kills.append((name, number))
        if number == signal.SIGKILL or (number == signal.SIGTERM and name not in self.stubborn):
            self.end(name, number)

    def end(self, name: str, status: int) -> None:
        pid = next(pid for pid, running in self.running.items() if running == name)
        del self.running[pid]
        self.ended.append((pid, status))
        self.signals.append(signal.SIGCHLD)

    def wait(self, _: object, timeout: float) -> SimpleNamespace | None:
        self.waits += 1
        assert self.waits < 100_000
        if self.signals:
            return SimpleNamespace(si_signo=self.signals.pop(0))
        self.now += timeout
        return None

    def waitpid(self, *_: int) -> tuple[int, int]:
        if self.ended:
            return self.ended.pop(0)
        return 0, 0

    def begin(self, *wanted: Process) -> None:
        """Be ready with these daemons."""
        self.supervisor.plan = plan(*wanted)
        self.supervisor._start_all(self.supervisor.plan)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.supervisor._turn()

    def settle(self) -> None:
        """Take what has come."""
        while self.signals:
            self.supervisor._turn()
