"""The daemons' lives: what the kernel says of them, and when a dead one is started again."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import time
from dataclasses import dataclass, field

from postroad import system
from postroad.errors import CommandError
from postroad.runtime.listening import PROC, tcp
from postroad.runtime.plan import Process

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SO_ACCEPTCON = 1 << 16  # include/uapi/linux/net.h, as /proc/net/unix prints it
BACKLOG = 1024
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
    stale: frozenset[str] = frozenset()
    """The listening sockets that a reload replaces."""
    listener: socket.socket | None = field(default=None, repr=False)
    """What it inherits; connections wait in there while it is started anew."""

    def start(self, output: int | None = None) -> None:
        """Start it; it prints to the descriptor ``output``.

        Raises:
            CommandError: it could not be started.
        """
        self.due = 0.0
        self.stale = frozenset()
        self.started = time.monotonic()  # of the attempt, too: one that fails is a death soon after a start
        self._listen()
        stdin = self.listener.fileno() if self.listener else None
        self.pid = system.spawn(self.process.argv, self.process.env, stdin=stdin, output=output)

    def _listen(self) -> None:
        wanted = self.process.listens
        if not wanted or (self.listener and _is_open(self.listener, *wanted)):
            return
        self.close()
        try:
            self.listener = listen(*wanted)
        except OSError as error:
            raise CommandError(f"{self.process.name} can't listen on port {wanted[1]}: {error.strerror}") from error

    def close(self) -> None:
        """Refuse the connections that it would have taken."""
        if self.listener:
            self.listener.close()
            self.listener = None

    def reload(self) -> None:
        """Let it read its files anew."""
        # a reload of the signer's leaves its socket; sendmail starts itself anew and is ready when it listens again
        process = self.process
        ports = (listening(self.pid, port) for port in process.ports)
        sockets = (listening_at(self.pid, path) for path in process.unix_listeners)
        # one that inherits its socket has the same one afterwards
        self.stale = frozenset() if process.listens else frozenset().union(*ports, *sockets)
        self.signal(signal.Signals[self.process.reload])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal if it lives."""
        if self.pid:
            kill(self.pid, number)

    def died(self) -> None:
        """Note its death and when it may be started again: at once at first, then after twice as long each time."""
        now = time.monotonic()
        self.deaths = 1 if now - self.started > STEADY else self.deaths + 1
        self.pid = 0
        # 2 ** 1024 is no float
        wait = min(FIRST_DELAY * 2.0 ** min(self.deaths - 1, 10), LONGEST_DELAY)
        self.due = now + wait if self.deaths > 1 else now

    @property
    def hopeless(self) -> bool:
        """Whether it keeps dying soon after each start."""
        return self.process.essential and self.deaths >= MOST_DEATHS

    @property
    def ready(self) -> bool:
        """Whether it serves: its socket accepts, or its ports listen. Leaves no trace in any log."""
        if not self.pid:
            return False
        if self.process.socket:
            return accepts(self.process.socket)
        if not all(listening_at(self.pid, path) - self.stale for path in self.process.unix_listeners):
            return False
        return all(listening(self.pid, port) - self.stale for port in self.process.ports)


def accepts(path: str) -> bool:
    """Whether somebody accepts connections at a UNIX socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        return client.connect_ex(path) == 0


def listening(pid: int, port: int) -> frozenset[str]:
    """The sockets on which a process listens at a TCP port, asked of the kernel and not by connecting.

    Its own only: under host networking another server may have the port.
    """
    found = {f"socket:[{each.inode}]" for each in tcp(PROC) if each.port == port}
    return frozenset(found & _held(pid))


def listening_at(pid: int, path: str) -> frozenset[str]:
    """The sockets on which a process listens at a path, asked of the kernel and not by connecting."""
    found = set()
    with contextlib.suppress(OSError), open(PROC / "net/unix") as lines:
        for fields in map(str.split, lines):
            if fields[-1] == path and len(fields) > 7 and int(fields[3], 16) & SO_ACCEPTCON:
                found.add(f"socket:[{fields[6]}]")
    return frozenset(found & _held(pid))


def listen(family: str, port: int) -> socket.socket:
    """Listen on a TCP port of all addresses; ``inet6`` takes IPv4 as well.

    Raises:
        OSError: it can't be had.
    """
    six = family == "inet6"
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::" if six else "0.0.0.0", port))  # noqa: S104 - clients.networks says who may
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _is_open(made: socket.socket, family: str, port: int) -> bool:
    """Whether this is what ``listen`` would make, and takes connections: a front that is told to stop ends that."""
    is_six = made.family == socket.AF_INET6
    takes = made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(takes) and is_six == (family == "inet6") and made.getsockname()[1] == port


def _held(pid: int) -> set[str]:
    """What the descriptors of a process lead to."""
    held = set()
    with contextlib.suppress(OSError):  # it has ended
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                held.add(str(descriptor.readlink()))
    return held


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parent dies, also where this is not PID 1 (``docker run --init``)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forbid_core_dumps() -> None:
    """Let no descendant's memory, which holds keys and passwords, be written down when it crashes.

    One octet and not none: a file can't be that short, and for a pipe (``kernel.core_pattern``) the kernel ignores any
    limit but this one (``fs/coredump.c``).
    """
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:  # with 0 it can't be raised
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def children() -> dict[int, str]:
    """The living children of this process: process id to command line (sendmail writes there what it is doing)."""
    me = os.getpid()
    found = {}
    for entry in PROC.iterdir():
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
