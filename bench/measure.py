"""One run: every scenario, its contenders in turn, several times over."""

import contextlib
import json
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import dkim

from bench import figures
from bench.cgroup import PeakMemory, host_busy_seconds
from bench.contenders import Contender
from bench.lab import BenchError, Lab, Relay, docker_command
from bench.profile import sampled
from bench.scenarios import BASE, GREAT, MIXED, Scenario, steady
from dev.sbom import stanzas

_ROUND_SECONDS = 120
_SETTLE_SECONDS = 100
"""After which what a start leaves to do has been done: Postroad's recorder stays awake for 90 s after an event."""
_REST_SECONDS = 15
_TRACED_MESSAGES = 25
_PROFILED = (BASE, GREAT)

Progress = Callable[[str, int, int], None]
"""Called with what is done next, how many steps are done, and how many there are."""


class Run:
    """Measures, and keeps what was measured as the values of a JSON object (``result``)."""

    def __init__(
        self,
        lab: Lab,
        contenders: Sequence[Contender],
        scenarios: Sequence[Scenario],
        repetitions: int,
        progress: Progress,
        *,
        whole: bool = True,
    ) -> None:
        """Prepare it; ``whole``: with what is no scenario, rest, system calls and profiles."""
        self._lab = lab
        self._contenders = contenders
        self._scenarios = scenarios
        self._repetitions = repetitions
        self._progress = progress
        self._whole = whole
        self._done = 0
        extra = (repetitions + 1 + len(_PROFILED)) * len(contenders) if whole else 0
        pairs = sum(contender.serves(scenario) for scenario in scenarios for contender in contenders)
        self._steps = pairs * repetitions + extra
        self.rounds: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.rest: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.profiles: list[dict[str, Any]] = []

    def measure(self) -> dict[str, Any]:
        """Do all of it; where a relay loses messages, that is in ``failures``, and the scenario has no figure of it.

        Raises:
            BenchError: something did not work.
        """
        began = datetime.now(UTC)
        if self._whole:
            self._measure_rest()
        for scenario in self._scenarios:
            self._measure_scenario(scenario)
        if self._whole:
            for contender in self._contenders:
                self._count_calls(contender)
                for scenario in _PROFILED:
                    self._profile(contender, scenario)
        return {
            "began": began.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - began).total_seconds()),
            "short": self._repetitions < 3,
            "repetitions": self._repetitions,
            "machine": _machine(),
            "contenders": [_describe(contender) for contender in self._contenders],
            "scenarios": [asdict(scenario) for scenario in self._scenarios],
            "rounds": self.rounds,
            "failures": self.failures,
            "rest": self.rest,
            "calls": self.calls,
            "profiles": self.profiles,
        }

    def measure_steadily(self, minutes: float) -> dict[str, Any]:
        """Measure ``mixed`` in a few rounds, and then one long round at half of its median.

        Raises:
            BenchError: something did not work.
        """
        self._scenarios = [MIXED]
        self._steps = len(self._contenders) * (self._repetitions + 1)
        result = self.measure()
        for contender in self._contenders:
            rates = [row["rate"] for row in self.rounds if row["contender"] == contender.name]
            if not rates:
                continue
            scenario = steady(median(rates), minutes)
            self._step(f"steady: {contender.name}, {scenario.differs}")
            with self._lab.started(contender, scenario) as relay:
                if self._try(self._warm_up, relay, scenario):
                    self._try(self._measure_round, relay, scenario, 0)
            result["scenarios"].append(asdict(scenario))
        return result

    def _step(self, text: str) -> None:
        self._progress(text, self._done, self._steps)
        self._done += 1

    def _measure_scenario(self, scenario: Scenario) -> None:
        if scenario.has_dead:
            # what went to the dead stays in a queue: a new relay for each round
            for repetition, contender in self._turns(scenario):
                try:
                    with self._lab.started(contender, scenario) as relay:
                        if self._try(self._warm_up, relay, scenario):
                            self._try(self._measure_round, relay, scenario, repetition)
                except BenchError as error:
                    self._fail(scenario, contender, error)
            return
        with self._all_started(scenario) as relays:
            fit = {relay.contender.name for relay in relays.values() if self._try(self._warm_up, relay, scenario)}
            for repetition, contender in self._turns(scenario):
                name = contender.name
                if name in fit and not self._try(self._measure_round, relays[name], scenario, repetition):
                    fit.remove(name)

    def _try(self, do: Callable[..., None], relay: Relay, scenario: Scenario, *more: int) -> bool:
        """Do something with a relay; whether it lost nothing. Else that is noted, and it goes, with what it holds."""
        try:
            do(relay, scenario, *more)
        except figures.LostError as error:
            log = relay.container.logs(tail=15).decode(errors="replace").splitlines()
            self._fail(scenario, relay.contender, error, log)
            relay.remove()
            return False
        return True

    def _fail(self, scenario: Scenario, contender: Contender, error: Exception, log: Sequence[str] = ()) -> None:
        self.failures.append(
            {"scenario": scenario.name, "contender": contender.name, "said": str(error), "log": list(log)}
        )

    def _turns(self, scenario: Scenario) -> Iterator[tuple[int, Contender]]:
        """Everybody's turn in each repetition, somebody else first each time."""
        for repetition in range(self._repetitions):
            contenders = [contender for contender in self._contenders if contender.serves(scenario)]
            start = repetition % len(contenders)
            for contender in [*contenders[start:], *contenders[:start]]:
                self._step(f"{scenario.name}: {contender.name}, round {repetition + 1}")
                yield repetition, contender

    @contextlib.contextmanager
    def _all_started(self, scenario: Scenario) -> Iterator[dict[str, Relay]]:
        with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
            starting = [(each, pool.submit(self._lab.start, each, scenario)) for each in self._contenders]
            started = {}
            for contender, future in starting:
                try:
                    started[contender.name] = future.result()
                    stack.callback(started[contender.name].remove)
                except BenchError as error:
                    self._fail(scenario, contender, error)
            yield started

    def _warm_up(self, relay: Relay, scenario: Scenario) -> None:
        """Let processes start and caches fill, with a third of a round's load, and to live receivers only."""
        receivers = "mx" if scenario.has_dead else scenario.receivers
        messages = min(scenario.messages, max(2 * scenario.sessions, 20))
        self._exchange(relay, replace(scenario, messages=messages, receivers=receivers, rate=0), "warming up")

    def _exchange(self, relay: Relay, scenario: Scenario, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Send a scenario's messages and see that they arrived; return what generator and sink said.

        Raises:
            LostError: they did not, or not as they should; says ``what`` was under way.
        """
        run = secrets.token_hex(6)
        arriving = scenario.arriving
        limit = _ROUND_SECONDS + (scenario.messages // scenario.rate if scenario.rate else 0)
        with self._lab.receiving(run, scenario, len(arriving), limit) as receiver:
            generated = self._lab.generate(relay, run, scenario, limit)
            received = receiver.report()
        signed = dkim.verify(received["sample"].encode(), dnsfunc=lambda *_, **__: self._lab.public_key())
        try:
            figures.check(generated, received, arriving, verified=signed)
        except figures.LostError as error:
            raise figures.LostError(f"{what}: {error}") from error
        return generated, received

    def _measure_round(self, relay: Relay, scenario: Scenario, repetition: int) -> None:
        processes = relay.group.cpu_by_process()
        cpu, host, began = relay.group.cpu_seconds(), host_busy_seconds(), time.monotonic()
        tools = [self._lab.group(self._lab.app), self._lab.group(self._lab.outside)]
        tools_cpu = sum(group.cpu_seconds() for group in tools)
        with PeakMemory(relay.group) as peak:
            generated, received = self._exchange(relay, scenario, f"round {repetition + 1}")
        took = time.monotonic() - began
        cpu = relay.group.cpu_seconds() - cpu
        programs = figures.by_program(processes, relay.group.cpu_by_process(), cpu)
        tools_cpu = sum(group.cpu_seconds() for group in tools) - tools_cpu
        others = host_busy_seconds() - host - cpu - tools_cpu
        self.rounds.append(
            {
                "scenario": scenario.name,
                "contender": relay.contender.name,
                "repetition": repetition,
                **figures.times(generated, received),
                "cpu_ms": cpu * 1000 / scenario.messages,
                "tools_cpu_ms": tools_cpu * 1000 / scenario.messages,
                "cpu_ms_by_program": {name: used * 1000 / scenario.messages for name, used in programs.items()},
                "memory": peak.bytes,
                "memory_with_files": relay.group.most_bytes(),
                "connections": received["connections"],
                "retries": generated["retries"],
                "others": max(0.0, others) / took / (os.cpu_count() or 1),
            }
        )

    def _measure_rest(self) -> None:
        """Time to be ready, one after the other; then memory and CPU of all of them, while they do nothing."""
        with contextlib.ExitStack() as stack:
            relays = []
            for repetition in range(self._repetitions):
                for contender in self._contenders:
                    self._step(f"at rest: {contender.name}, round {repetition + 1}")
                    relays.append((repetition, stack.enter_context(self._lab.started(contender, BASE))))
            time.sleep(_SETTLE_SECONDS)
            before = [relay.group.cpu_seconds() for _, relay in relays]
            time.sleep(_REST_SECONDS)
            for (repetition, relay), cpu in zip(relays, before, strict=True):
                self.rest.append(
                    {
                        "contender": relay.contender.name,
                        "repetition": repetition,
                        "ready": relay.ready_seconds,
                        "memory": relay.group.memory_bytes(),
                        "cpu": (relay.group.cpu_seconds() - cpu) / _REST_SECONDS,
                    }
                )

    def _count_calls(self, contender: Contender) -> None:
        """Count forks and fsyncs, in a pass of its own, since counting is slow."""
        self._step(f"system calls: {contender.name}")
        with self._lab.started(contender, BASE) as relay:
            self._try(self._trace, relay, replace(BASE, messages=_TRACED_MESSAGES))

    def _trace(self, relay: Relay, load: Scenario) -> None:
        self._warm_up(relay, load)
        for reuse in (False, True):
            for repetition in range(self._repetitions):
                with self._lab.traced(relay) as trace:
                    self._exchange(relay, replace(load, reuse=reuse), "counting system calls")
                counted = figures.count_calls(trace.read_text(errors="replace"))
                self.calls.append(
                    {
                        "contender": relay.contender.name,
                        "repetition": repetition,
                        "reuse": reuse,
                        **{name: count / _TRACED_MESSAGES for name, count in counted.items()},
                    }
                )

    def _profile(self, contender: Contender, scenario: Scenario) -> None:
        """See where the CPU time goes, in a pass of its own, since sampling takes some too."""
        self._step(f"profile of {scenario.name}: {contender.name}")
        with self._lab.started(contender, scenario) as relay:
            self._try(self._sample, relay, scenario)

    def _sample(self, relay: Relay, load: Scenario) -> None:
        self._warm_up(relay, load)
        with tempfile.TemporaryDirectory(prefix="postroad-bench-") as directory:
            with sampled(relay.group, Path(directory) / "perf.data") as profile:
                before = relay.group.cpu_seconds()
                self._exchange(relay, load, "sampling")
                used = (relay.group.cpu_seconds() - before) * 1000 / load.messages
            if profile is None:
                return
            parts, causes = profile.parts(), profile.causes()
        each = 1000 / load.messages
        self.profiles.append(
            {
                "scenario": load.name,
                "contender": relay.contender.name,
                "cpu_ms": used,
                "parts": {name: {part: seconds * each for part, seconds in of.items()} for name, of in parts.items()},
                "causes": {cause: seconds * each for cause, seconds in causes.items()},
            }
        )


def _describe(contender: Contender) -> dict[str, Any]:
    image = json.loads(docker_command("image", "inspect", contender.image))[0]
    labels = image["Config"]["Labels"] or {}
    # dpkg's lists: some of Postroad's packages are in a file of their own each
    script = "for file in /var/lib/dpkg/status /var/lib/dpkg/status.d/*; do [ ! -f $file ] || cat $file; echo; done"
    lists = docker_command("run", "--rm", "--network=none", "--entrypoint=sh", contender.image, "-c", script)
    packages = {stanza["Package"]: stanza["Version"] for stanza in stanzas([lists])}
    return {
        "name": contender.name,
        "text": contender.text,
        "image": contender.image,
        "revision": labels.get("org.opencontainers.image.revision", ""),
        "packages": {name: packages[name] for name in ("sendmail-bin", "postfix", "opendkim") if name in packages},
        "bytes": image["Size"],
    }


def _machine() -> dict[str, Any]:
    cpu = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    docker = json.loads(docker_command("version", "--format", "{{json .Server}}"))
    info = json.loads(docker_command("info", "--format", "{{json .}}"))
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory": info["MemTotal"],
        "kernel": platform.release(),
        "system": info["OperatingSystem"],
        "docker": docker["Version"],
        "storage": f"{info['Driver']} on {dict(info['DriverStatus']).get('Backing Filesystem', 'unknown')}",
        "cgroup": f"v{info.get('CgroupVersion', 1)}",
    }
