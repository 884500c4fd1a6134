"""Nobody takes the relay from the others: silent clients, guessed passwords, helpers that die, receivers that drip or fall silent."""

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from docker.types import Mount

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, Sink, docker, wait_until
from tests.faults.model import Check, Fault, Step, Trial
from tests.faults.overload import delays, spread
from tests.faults.processes import VICTIM
from tests.faults.watching import Watcher

Tell = Callable[[str], None]
TIGHT = {"mem_limit": "128m", "memswap_limit": "128m", "pids_limit": 100}
"""What docs/security.md says is enough."""
LISTENERS = {"smtp": 25, "submission": 587, "submissions": 465}
PORTS = [str(port) for port in LISTENERS.values()]
PASSWORD = secrets.token_hex(8)
USER = ["app", PASSWORD]


@contextmanager
def users() -> Iterator[dict[str, Any]]:
    """A configuration with a user, whose password lies in a file for the time being."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "app").write_text(PASSWORD)
        (Path(folder) / "app").chmod(0o444)
        yield {
            "clients": {"users": [{"name": "app", "password_file": "/run/secrets/app"}]},
            "listeners": LISTENERS,
            "run": {"mounts": [Mount("/run/secrets", folder, type="bind", read_only=True)]},
        }


class Held(Watcher):
    """Watches what a relay holds, from ``with`` to its end: memory, processes, connections of clients."""

    SCRIPT = """
    cat /sys/fs/cgroup/memory/memory.stat /sys/fs/cgroup/memory.stat 2>/dev/null | awk '$1 == "total_rss" || $1 == "anon" { print $2; exit }'
    cat /sys/fs/cgroup/pids/pids.current /sys/fs/cgroup/pids.current 2>/dev/null
    """

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self.relay = relay
        self.memory = self.processes = 0

    def look(self) -> None:
        words = self.relay.shell(self.SCRIPT)[1].split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            self.memory = max(self.memory, int(words[0]))
            # those that asked are not the relay's
            self.processes = max(self.processes, int(words[1]) - 2)

    @property
    def text(self) -> str:
        return f"{self.processes} processes and {self.memory / 2**20:.0f} MiB at most"


@contextmanager
def others(bench: Bench, kind: str, *command: str, number: int = 1) -> Iterator[list[str]]:
    """Containers beside the relay that run a tool; their names."""
    names = [f"{bench.internet.network}-{kind}-{each}" for each in range(number)]
    try:
        for name in names:
            bench.start(name, list(command), "--init", "--ulimit=nofile=8192")
        yield names
    finally:
        for name in names:
            docker("rm", "--force", name, check=False)


def said(name: str) -> list[str]:
    return docker("logs", name).splitlines()


def all_accepted(row: Row, load: Load) -> None:
    """What others send is accepted, each at the first attempt."""
    if load.failed:
        row.faults.append(f"{load.failed} attempts of others were not accepted")
    row.notes.append(spread([each["took"] for each in load.attempts if each["result"] == "accepted"]))


def idle_clients(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Silent connections to each listener: they end in their time, and nobody waits for that."""
    idle = 15 if short else 60
    with users() as config:
        relay = bench.relay(limits={"idle": f"{idle}s"}, **config)
        load = Load(bench, ["relay"], rate=5)
        with Held(relay) as held, others(bench, "silent", "silent", "relay", "25", *PORTS) as (name,):
            tell("75 silent connections")
            began = time.monotonic()
            wait_until(lambda: any(int(line) == 75 for line in said(name)), 30, "all connections")
            # 465 waits for two minutes for a handshake
            wait_until(lambda: int(said(name)[-1]) <= 25, idle + 40, "the end of those on 25 and 587")
            wait_until(lambda: int(said(name)[-1]) == 0, 150, "the end of the last one")
            took = time.monotonic() - began
            load.stop()
        settle(row, bench, [relay], load)
    row.injected = 75
    row.notes += [f"the last one ended after {took:.0f} s", held.text]
    all_accepted(row, load)


def neighbours(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Silent connections from three neighbours to all listeners of a relay with 100 processes and 128 MiB."""
    with users() as config:
        config["run"] |= TIGHT
        relay = bench.relay(**config)
        # these have sent mail before anybody comes
        loads = [
            Load(bench, ["relay"], rate=5, workers=2),
            Load(bench, ["relay"], rate=2, workers=1, port=587, user=USER),
            Load(bench, ["relay"], rate=2, workers=1, port=465, user=USER),
        ]
        for load in loads:
            wait_until(lambda each=load: each.accepted, 30, "a message by each listener")  # type: ignore[misc]
        with Held(relay) as held, others(bench, "neighbour", "silent", "relay", "50", *PORTS, number=3):
            tell("450 silent connections")
            time.sleep(30 if short else 120)  # the load goes on for that long
            for load in loads:
                load.stop()
        for load in loads:
            settle(row, bench, [relay], load)
    row.injected = 450
    row.notes.append(held.text)
    for load in loads:
        all_accepted(row, load)


def guessing(bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Somebody guesses a password in thirty sessions at once; its owner logs in from elsewhere as ever."""
    with users() as config:
        relay = bench.relay(**config)
        with Held(relay) as held, others(bench, "guess", "guess", "relay", "app", "30") as (name,):
            tell("thirty sessions guess")
            wait_until(lambda: said(name), 30, "the first guesses")
            loads = [
                Load(bench, ["relay"], rate=5, workers=2),
                Load(bench, ["relay"], rate=2, workers=1, port=587, user=USER),
            ]
            time.sleep(20 if short else 90)  # the load goes on for that long
            for load in loads:
                load.stop()
            sessions = [json.loads(line) for line in said(name)]
        for load in loads:
            settle(row, bench, [relay], load)
    row.injected = sum(each["answered"] for each in sessions)
    row.notes += [
        f"{len(sessions)} sessions, {max(each['answered'] for each in sessions)} guesses each at most",
        held.text,
    ]
    if any(each["answered"] > 3 for each in sessions):
        row.faults.append("a session did not end at its third wrong password")
    if any(235 in each["codes"] for each in sessions):
        row.faults.append("a wrong password got in")
    for load in loads:
        all_accepted(row, load)


def helper_dies(trial: Trial) -> None:
    """Kill what the mail can do without, each time it is back."""
    supervisor = trial.relay.host_pid()
    for _ in trial.rounds():
        for helper in ("postroad[.]recorder", "postroad[.]mta_sts"):
            script = VICTIM.replace("$1", helper)
            wait_until(lambda each=script: trial.relay.shell(each)[0] == 0, 90, f"{helper} to kill")  # type: ignore[misc]
    if trial.relay.host_pid() != supervisor:
        trial.row.faults.append("the supervisor ended")
    if trial.load.failed:
        trial.row.faults.append(f"{trial.load.failed} attempts were not accepted")


def hostile(kind: str, bench: Bench, row: Row, tell: Tell, short: bool) -> None:
    """Messages to a receiver that keeps its clients waiting, where there are 100 processes and 128 MiB; live mail beside them."""
    many, timeout = (60, 20) if short else (1000, 60)
    internet, name = bench.internet, f"{bench.internet.network}-hostile"
    address = bench.start(name, ["sink"], "--env=MX_HOSTNAME=mx.hostile.example")
    try:
        wait_until(lambda: docker("exec", name, "ls", "/run/sink", check=False), 30, "the start of the receiver")
        Sink(name).fail(1, kind)
        internet.add_zone("hostile.example")
        internet.publish_host("mx.hostile.example", address)
        internet.publish("hostile.example", "MX", "10 mx.hostile.example.")
        relay = bench.relay(delivery={"attempt_timeout": f"{timeout}s", "queue": {"retry": "20s"}}, run=TIGHT)
        with Held(relay) as held:
            tell(f"{many:,} messages to it")
            live = Load(bench, ["relay"], rate=5, size=2000)
            load = Load(bench, ["relay"], rate=30, domains=["hostile.example"], count=many, size=2000)
            load.wait(400)
            tell("its attempts end")
            wait_until(lambda: relay.log().count('"event": "deferred"') >= 3, 3 * timeout + 30, "the end of attempts")
            live.stop()
        settle(row, bench, [relay], live)
        # and now it takes mail
        internet.publish("hostile.example", "MX", "10 sink.rcpt.example.")
        tell("it takes mail")
        settle(row, bench, [relay], load, 120 if short else 600)
    finally:
        docker("rm", "--force", name)
    row.injected = many
    row.notes += [held.text, f"live mail: {spread(delays(bench, live))}"]
    if live.failed + load.failed:
        row.faults.append(f"{live.failed + load.failed} attempts were not accepted")


FAULTS: list[Step] = [
    Check("idle-clients", "75 silent connections, 25 to each listener", idle_clients),
    Check("neighbours", "450 silent connections of three neighbours, with 100 processes and 128 MiB", neighbours),
    Check("guessing", "Passwords guessed in 30 sessions at once", guessing),
    Fault(
        "helper-dies",
        "`kill -9` of the recorder and of the MTA-STS lookup, each time they are back",
        helper_dies,
        (6, 2),
        config={"delivery": {"tls": {"mta_sts": True}, "queue": {"retry": "3s"}}},
    ),
    Check("dripping-mx", "1,000 messages to an MX that never ends its greeting", partial(hostile, "drips")),
    Check("silent-mx", "1,000 messages to an MX that falls silent after STARTTLS", partial(hostile, "mute")),
]
