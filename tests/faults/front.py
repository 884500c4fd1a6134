"""The front: killed, stopped, out of descriptors, and with more idle clients than anybody has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from docker.types import Ulimit

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, docker, wait_until
from tests.faults.model import Check, Fault, Step, Trial
from tests.faults.overload import Memory, spread

SIGNAL = """
for process in /proc/[0-9]*; do
    if tr '\\0' ' ' < $process/cmdline | grep -q 'postroad[.]front'; then kill -$1 ${process#/proc/} && exit 0; fi
done 2>/dev/null
exit 1
"""
ANYBODY = {"limits": {"connections_per_client": None}}


def signal(relay: Relay, name: str) -> None:
    """Send the front a signal; wait for one that is just being started."""
    wait_until(lambda: relay.shell(SIGNAL.replace("$1", name))[0] == 0, 30, f"the front's {name}")


def kill(trial: Trial) -> None:
    for _ in trial.rounds():
        signal(trial.relay, "KILL")
        trial.relay.back()  # one that keeps dying ends the container


def stop(trial: Trial) -> None:
    """Nobody is answered meanwhile, and everybody afterwards."""
    for _ in trial.rounds():
        signal(trial.relay, "STOP")
        trial.pause(1, 4)
        signal(trial.relay, "CONT")
    trial.relay.back()
    refused = [each for each in trial.load.attempts if each["result"] != "accepted"]
    if refused:
        trial.row.faults.append(f"{len(refused)} attempts failed")


@contextmanager
def idle_clients(bench: Bench, number: int) -> Iterator[None]:
    """So many that have said EHLO, and nothing since; those that are sent away come again."""
    name = f"{bench.internet.network}-idle"
    bench.start(name, ["idle", "relay", "25", str(number)], "--init", "--ulimit=nofile=20000")
    try:
        yield
    finally:
        docker("rm", "--force", name)


def greeted(bench: Bench) -> int:
    """How many of them have been greeted so far."""
    said = docker("logs", f"{bench.internet.network}-idle").split()
    return int(said[-1]) if said else 0


def descriptors(trial: Trial) -> None:
    """Those that are in can send; those that are not wait, and are refused nothing."""
    for _ in trial.rounds():
        with idle_clients(trial.bench, DESCRIPTORS * 2):
            wait_until(
                lambda: greeted(trial.bench) >= DESCRIPTORS * 3 // 8 - 15, 30, "the last client that is let in"
            )  # of others than have sent
            trial.pause(1, 3)
            if greeted(trial.bench) >= DESCRIPTORS:
                trial.row.faults.append("the limit was not felt")
        trial.relay.back()
    refused = [each for each in trial.load.attempts if each["result"] == "refused"]
    if refused:
        trial.row.faults.append(f"{len(refused)} attempts were refused")


def many(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Idle clients cost memory, and those that have sent before nothing: a quarter of the places is theirs."""
    number, messages = (1000, 30) if short else (5000, 300)
    relay = bench.relay(**ANYBODY)
    load = Load(bench, ["relay"])
    with Memory(relay) as memory:
        wait_until(lambda: load.accepted, 30, "the first message")
        tell(f"{number:,} idle clients")
        with idle_clients(bench, number):
            wait_until(lambda: greeted(bench) >= number * 3 // 4, 120, "the greetings")
            before = load.accepted
            wait_until(lambda: load.accepted >= before + messages, 120, "the messages of others")
            load.stop()
    settle(row, bench, [relay], load)
    row.injected = number
    row.notes += [spread([each["took"] for each in load.attempts if each["result"] == "accepted"]), memory.text]
    if row.accepted < len(load.attempts):
        row.faults.append(f"{len(load.attempts) - row.accepted} of others were not accepted")


DESCRIPTORS = 150
LIMITED = {"ulimits": [Ulimit(name="nofile", soft=DESCRIPTORS, hard=DESCRIPTORS)]}
FAULTS: list[Step] = [
    Fault("front", "`kill -9` of the front", kill, (12, 2), load={"slow": 0.1}),
    Fault("front-stopped", "The front stopped (SIGSTOP) for some seconds", stop, (6, 1)),
    Fault(
        "front-descriptors",
        f"The front out of descriptors ({DESCRIPTORS}): idle clients have them",
        descriptors,
        (5, 1),
        config={"run": LIMITED, **ANYBODY},
        load={"timeout": 30},
    ),
    Check("front-idle", "5,000 idle clients", many),
]
