"""Volumes that are full or read-only, and containers at their limits."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from docker.types import Ulimit

from tests.faults.bench import MOUNTS, QUEUE, STATE, TOOLS, Relay, docker, wait_until
from tests.faults.model import Fault, Trial

OWNER = "uid=2525,gid=2525,mode=0700"
REMOUNT = """
import ctypes, os, sys, time
# the flags of mount(2): MS_REMOUNT, MS_BIND, MS_RDONLY
flags = 32 | 4096 | (1 if sys.argv[2] == "ro" else 0)
os.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0x20000)
libc = ctypes.CDLL(None, use_errno=True)
for attempt in range(2000):
    if libc.mount(b"", sys.argv[1].encode(), b"", flags, None) == 0:
        break
    time.sleep(0.005)  # somebody has a file open for writing
else:
    sys.exit(os.strerror(ctypes.get_errno()))
"""


FILL = {
    # what sendmail removes meanwhile gives some room back: that is taken, too
    "octets": "while :; do dd if=/dev/zero bs=4k >>fill/0 2>/dev/null; sleep 0.1; done",
    "inodes": "n=0; while :; do n=$((n+1)); true 2>/dev/null >fill/$n || sleep 0.1; done",
}


@contextmanager
def full(path: str, trial: Trial, *, of: str = "octets") -> Iterator[None]:
    """No octet is free, or no file can be made, for sendmail's user or anybody."""
    filler = f"{trial.relay.name}-fill"
    docker(
        "run", "--detach", f"--name={filler}", f"--volumes-from={trial.relay.name}", f"--workdir={path}",
        "--entrypoint=sh", trial.bench.image, "-c", f"mkdir -p fill; {FILL[of]}",
    )  # fmt: skip
    try:
        yield
    finally:
        docker("rm", "--force", filler)
        trial.relay.shell(f"rm -rf {path}/fill")


@contextmanager
def read_only(path: str, trial: Trial) -> Iterator[None]:
    """As after an error of the disk: what is open may not be written either."""
    remount(trial.relay, path, "ro")
    try:
        yield
    finally:
        remount(trial.relay, path, "rw")


def remount(relay: Relay, path: str, how: str) -> None:
    docker(
        "run", "--rm", f"--pid=container:{relay.name}", *MOUNTS, TOOLS, "python3", "-c", REMOUNT, path, how
    )  # fmt: skip


def for_a_while(how: Callable[[Trial], AbstractContextManager[None]], trial: Trial, *, felt: bool = True) -> None:
    """Have it so in each round, for some seconds; where it is to be ``felt``, some attempt must have failed."""
    failed = 0
    for _ in trial.rounds():
        before = trial.load.failed
        with how(trial):
            trial.pause(2, 4)
            failed += trial.load.failed - before
        trial.relay.back()
    if felt != bool(failed):
        trial.row.faults.append(f"{failed} attempts failed")


def squeezed(trial: Trial) -> None:
    """The load alone brings the container to its limits, again and again; the front keeps within them where it can."""
    for _ in trial.rounds():
        before = trial.load.failed
        deadline = time.monotonic() + 30
        while trial.load.failed == before and time.monotonic() < deadline:
            trial.pause(0.5, 1)
        _goes_on(trial)
    log = trial.relay.log()
    signs = {
        "helpers were killed": log.count("killed by SIGKILL; it is started again"),
        "times that it told of the limit": log.count(": mail waits or is refused for now; raise it"),
    }
    trial.row.notes += [f"{count} {what}" for what, count in signs.items() if count]
    if not trial.load.failed and not any(signs.values()):
        trial.row.faults.append("the limit was not felt")


def _goes_on(trial: Trial) -> None:
    """Wait until it takes mail. It may be at its limit still, and say so: the load does not pause."""
    taken = trial.load.accepted

    def takes() -> bool:
        trial.relay.revive()
        return trial.load.accepted > taken

    wait_until(takes, 90, "mail that is taken again")


def _volume(
    name: str, title: str, path: str, how: Callable[[Trial], AbstractContextManager[None]], *, felt: bool
) -> Fault:
    return Fault(
        name, title, partial(for_a_while, how, felt=felt), (5, 1), volumes={path: f"size=24m,nr_inodes=1000,{OWNER}"}
    )


def _limit(name: str, title: str, **run: object) -> Fault:
    return Fault(
        name,
        title,
        squeezed,
        (5, 1),
        config={"run": run},
        load={"workers": 40, "rate": 0, "slow": 0.5, "size": 1_000_000},
    )


FAULTS = [
    _volume("queue-full", "The queue's volume full", QUEUE, partial(full, QUEUE), felt=True),
    _volume("queue-inodes", "The queue's volume out of inodes", QUEUE, partial(full, QUEUE, of="inodes"), felt=True),
    _volume("queue-read-only", "The queue's volume read-only", QUEUE, partial(read_only, QUEUE), felt=True),
    _volume("state-full", "The state volume full", STATE, partial(full, STATE), felt=False),
    _limit("memory", "The container at its memory limit (96 MiB)", mem_limit="96m", memswap_limit="96m"),
    _limit("pids", "The container at its limit of processes (22)", pids_limit=22),
    _limit(
        "descriptors", "Processes at their limit of descriptors (20)", ulimits=[Ulimit(name="nofile", soft=20, hard=20)]
    ),
]
