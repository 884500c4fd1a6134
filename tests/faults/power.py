"""Power that fails: what was not fsynced is forgotten. And the order of things before a 250."""

import re
import secrets
import time
from collections.abc import Callable
from functools import partial

from tests.faults.account import Load, Row, settle
from tests.faults.bench import MOUNTS, QUEUE, TOOLS, Bench, Relay, docker, docker_logs, wait_until
from tests.faults.model import Check
from tests.internet.internet import LABEL

WAITS = f"until grep -q ' {QUEUE} fuse' /proc/self/mounts; do sleep 0.05; done; exec postroad run"


class Forgetful:
    """A file system under a relay's queue whose power can be cut (``image/forgetfs``)."""

    def __init__(self, bench: Bench, relay: Relay) -> None:
        self.bench = bench
        self.relay = relay
        self.state = bench.volume()
        self.name = ""
        relay.on_start = self.mount

    def mount(self) -> None:
        """Begin a life on what the last one left."""
        self.name = f"{self.bench.internet.network}-disk-{secrets.token_hex(2)}"
        self.bench.start(
            self.name,
            ["forgetfs", self.relay.host_pid(), QUEUE, str(self.bench.rng.random())],
            *MOUNTS,
            "--device=/dev/fuse",
            "--pid=host",
            f"--volume={self.state}:/state",
        )

    def cut(self) -> str:
        """Cut the power; return what the file system says of it."""
        docker("kill", "--signal=USR1", self.name)
        docker("wait", self.name)
        docker("kill", self.relay.name)
        said = docker("logs", self.name)
        docker("rm", "--force", self.name)
        return said.strip()


def cut_power(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Cut it at random moments, and start on what is left."""
    times = 2 if short else 12
    relay = Relay(bench, {}, entrypoint=["sh", "-c", WAITS])
    bench.relays.append(relay)
    disk = Forgetful(bench, relay)
    relay.create()
    load = Load(bench, ["relay"], workers=8, rate=40)
    forgot = 0
    try:
        for number in range(times):
            tell(f"{number} of {times}, {load.accepted} accepted")
            time.sleep(bench.rng.uniform(0.5, 2.5))
            found = re.search(r"cut: forgot (\d+)", said := disk.cut())
            if not found:
                raise RuntimeError(f"the file system did not end as it should: {said}")
            forgot += int(found[1])
            row.injected += 1
            relay.recreate()
        load.stop()
        tell("waiting for the end of every message")
        settle(row, bench, [relay], load)
    finally:
        load.stop()
        docker("rm", "--force", disk.name, check=False)
    row.notes.append(f"{forgot:,} changes forgotten")
    if not forgot and not short:
        row.faults.append("nothing was forgotten: this shows nothing")


SAID = re.compile(r'write\(.*"250 2\.0\.0 (\w{14,}) Message accepted|sendto\(.*"\\001(\w{14,})\\n"')


def unsaved(trace: str) -> list[str]:
    """What was not on the disk when sendmail began to say that it is, by strace's -f -y: one entry a message.

    It tells a client by a 250, or the front, which answers with one then, by a line of its own.
    """
    saved: dict[str, list[str]] = {}
    pending: dict[str, str] = {}
    found: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        done = saved.setdefault(pid, [])
        if begun := re.match(r"fsync\(\d+<(.*)> <unfinished", call):
            pending[pid] = begun[1]
        elif call.startswith("<... fsync resumed>") and call.endswith("= 0"):
            done.append(pending.pop(pid).rpartition("/")[2])
        elif whole := re.match(r"fsync\(\d+<(.*)>\) += 0$", call):
            done.append(whole[1].rpartition("/")[2])
        elif (answer := SAID.match(call)) and (queue_id := answer[1] or answer[2]) not in found:
            names = [f"df{queue_id}", f"qf{queue_id}"]
            missing = [name for name in names if name not in done]
            if not missing and QUEUE.rpartition("/")[2] not in done[done.index(names[1]) :]:
                missing = ["the folder"]
            found[queue_id] = ", ".join(missing)
    return list(found.values())


def _attached(tracer: str) -> bool:
    return "attached" in docker_logs(tracer)


def watch_fsync(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """Look at the system calls before each 250; and show that this finds a sendmail that does not save."""
    count = 3 if short else 30
    for raw in ("", "O SuperSafe=False\n"):
        relay = bench.relay(sendmail={"local_config": raw})
        tracer = f"{bench.internet.network}-strace"
        docker(
            "run", "--detach", f"--name={tracer}", f"--label={LABEL}={bench.internet.network}",
            f"--pid=container:{relay.name}", "--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined", TOOLS,
            "strace", "-f", "-y", "-s", "100", "-e", "trace=fsync,write,sendto", "-o", "/trace", "-p", str(relay.pids()[2]),
        )  # fmt: skip
        wait_until(partial(_attached, tracer), 30, "strace")
        load = Load(bench, ["relay"], count=count, workers=1, rate=0)
        load.wait()
        if not raw:
            settle(row, bench, [relay], load)
        found = unsaved(docker("exec", tracer, "cat", "/trace"))
        docker("rm", "--force", tracer)
        relay.remove()
        bench.relays.remove(relay)
        bounces = sum(each["recipient"].startswith("unknown") for each in load.attempts)
        if not count <= len(found) <= count + bounces:  # which the front is told of as well
            row.faults.append(f"{len(found)} of {count} answers seen, and {bounces} bounces")
        if not raw:
            row.injected = len(found)
            row.faults += [f"answered 250 before it was saved: {missing}" for missing in found if missing]
        elif not all(found):
            row.faults.append("with SuperSafe off nothing is missed: this shows nothing")
    row.notes.append("strace: body, control file and folder saved before each 250")


FAULTS = [
    Check("fsync", "None: the order of system calls before a 250", watch_fsync),
    Check("power", "Power failure: the queue's disk keeps only what was fsynced", cut_power),
]
