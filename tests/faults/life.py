"""The planned ends: a stop, a drain, one relay after the other, the engine."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, docker, wait_until
from tests.faults.model import Check, Fault, Step, Trial

GRACE = 15
"""Seconds that compose.yaml's ``stop_grace_period`` gives."""


def stop(relay: Relay, row: Row) -> None:
    """Stop a relay; it must end by itself, in time and in order."""
    began = time.monotonic()
    docker("stop", f"--time={GRACE + 15}", relay.name)
    took = time.monotonic() - began
    code = docker("inspect", "--format={{.State.ExitCode}}", relay.name).strip()
    if code != "0":
        row.faults.append(f"a stop ended with exit code {code}")
    if took > GRACE:
        row.faults.append(f"a stop took {took:.0f} s")


def sigterm(trial: Trial) -> None:
    for _ in trial.rounds():
        stop(trial.relay, trial.row)
        trial.relay.back()


def only_421(row: Row, load: Load) -> None:
    """Whoever is refused must learn that it is for now: 421."""
    codes = {each["code"] for each in load.attempts if each["result"] == "refused"}
    if codes - {421}:
        row.faults.append(f"refused with {sorted(codes - {421})}")


def drain(trial: Trial) -> None:
    for _ in trial.rounds():
        code, said = trial.relay.shell("exec postroad queue drain --timeout 60s")
        if code:
            trial.row.faults.append(f"the drain ended with exit code {code}: {said}")
        if waiting := trial.relay.queue():
            trial.row.faults.append(f"{len(waiting)} wait after a drain")
        trial.relay.shell("exec postroad queue drain --undo")
    only_421(trial.row, trial.load)


def rolling(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Two relays behind one name; each is drained, stopped and replaced, while a client sends again what was refused."""
    relays = [bench.relay(), bench.relay()]
    load = Load(bench, ["relay"], retry=True, timeout=20)
    try:
        for number in range(2 if short else 6):
            tell(f"{number}, {load.accepted} accepted")
            time.sleep(bench.rng.uniform(0.5, 2))
            relay = relays[number % 2]
            relay.shell("exec postroad queue drain --timeout 30s")
            stop(relay, row)
            relay.recreate()
            row.injected += 1
    finally:
        load.stop()
    tell("waiting for the end of every message")
    settle(row, bench, relays, load)
    only_421(row, load)


def engine(trial: Trial) -> None:
    """Restart the Docker engine, with everything on it: by the command in POSTROAD_ENGINE_RESTART."""
    command = os.environ.get("POSTROAD_ENGINE_RESTART")
    if not command:
        raise RuntimeError("POSTROAD_ENGINE_RESTART names no command, such as `systemctl restart docker`")
    trial.pause(2, 4)
    trial.load.may_die = True
    subprocess.run(shlex.split(command), check=True, timeout=300)
    trial.row.injected = 1
    wait_until(
        lambda: subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0, 120, "the engine"
    )
    internet = trial.bench.internet
    for name in [*(host.name for host in internet.hosts), trial.bench.sink.name, trial.bench.app]:
        docker("start", name)


FAULTS: list[Step] = [
    Fault("sigterm", "`docker stop` (SIGTERM), and start", sigterm, (10, 2)),
    Fault("drain", "`postroad queue drain`, then `--undo`", drain, (5, 1)),
    Check("rolling", "Two relays behind one name, drained and replaced in turn; the client retries", rolling),
    Fault(
        "engine", "Restart of the Docker engine", engine, (1, 1),
        config={"run": {"restart_policy": {"Name": "unless-stopped"}}}, opt_in=True,
    ),
]  # fmt: skip
