"""The daemons' lives: what the kernel says of them, and when a dead one is started again."""

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from postroad import system
from postroad.render.plan import Process

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TCP_LISTEN = "0A"  # include/net/tcp_states.h, as /proc/net/tcp prints it
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
STEADY = 60.0
"""A daemon that ran this many seconds has recovered: its next death counts as the first."""
MOST_DEATHS = 6


@dataclass
class Child:
    """A daemon of the plan and what became of it."""

    process: Process
    pid: int = 0
    started: float = 0.0
    deaths: int = 0
    due: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """Start it.

        Raises:
            CommandError: it could not be started.
        """
        self.due = 0.0
        self.pid = system.spawn(self.process.argv, self.process.env)
        self.started = time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal if it lives."""
        if self.pid:
            kill(self.pid, number)

    def died(self) -> None:
        """Note its death and when it may be started again: at once at first, then after twice as long each time."""
        now = time.monotonic()
        self.deaths = 1 if now - self.started > STEADY else self.deaths + 1
        self.pid = 0
        self.due = now + min(FIRST_DELAY * 2 ** (self.deaths - 1), LONGEST_DELAY) if self.deaths > 1 else now

    @property
    def hopeless(self) -> bool:
        """Whether it keeps dying soon after each start."""
        return self.deaths >= MOST_DEATHS

    @property
    def ready(self) -> bool:
        """Whether it serves: its socket accepts, or its ports listen. Leaves no trace in any log."""
        if not self.pid:
            return False
        return accepts(self.process.socket) if self.process.socket else listens(self.process.ports)


def accepts(path: str) -> bool:
    """Whether somebody accepts connections at a UNIX socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        return client.connect_ex(path) == 0


def listens(ports: Iterable[int]) -> bool:
    """Whether all these TCP ports of this network namespace listen, asked of the kernel and not by connecting."""
    missing = {f"{port:04X}" for port in ports}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as lines:
            for fields in map(str.split, lines):
                if fields[3] == TCP_LISTEN:
                    missing.discard(fields[1].rpartition(":")[2])
    return not missing


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parent dies, also where this is not PID 1 (``docker run --init``)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> dict[int, str]:
    """The living children of this process: process id to command line (sendmail writes there what it is doing)."""
    me = os.getpid()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            # the name, in brackets, may hold anything; after it come the state and the parent
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == me and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process; one that has ended meanwhile is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
