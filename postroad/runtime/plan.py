"""What the supervisor is to run: written by an installation, read by PID 1. Standard library only."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal, get_args

from postroad.runtime import handover

FILE = "plan.json"
Daemon = Literal["signer", "mta-sts", "sendmail", "front", "shaper", "recorder", "uplink", "returns", "peers", "web"]
"""The name of a daemon, in logs, states and metrics."""
DAEMONS: frozenset[Daemon] = frozenset(get_args(Daemon))
"""All that there may be."""
PREPARE_LIMIT = 600.0
"""Seconds that preparing a configuration may take: many domains' keys take their time at first start."""
START_LIMIT = 30.0
"""Seconds that a daemon may take until it serves."""
RELOAD_LIMIT = PREPARE_LIMIT + len(DAEMONS) * START_LIMIT
"""Seconds that a reload may take: a plan may have every daemon, and they start one after the other."""


@dataclass(frozen=True)
class Process:
    """A daemon to keep running.

    Attributes:
        argv: its command line; it stays in the foreground.
        env: its whole environment.
        socket: it is ready when this UNIX socket accepts a connection; empty where ``ports`` tells.
        ports: it is ready when it listens on all of these TCP ports; empty where ``socket`` tells.
        reload: the signal's name that makes it read its configuration again.
        unix_listeners: likewise, when it listens on all of these unix sockets too; nobody connects there to find out.
        listens: family (``inet``, or ``inet6``, which takes IPv4 as well) and TCP port of a listening socket that the
            supervisor opens, keeps over restarts, and hands to it as its standard input; empty: none.
        essential: mail needs it: without it the server is degraded, and ends if it can't be kept running.
    """

    name: Daemon
    argv: tuple[str, ...]
    env: dict[str, str]
    socket: str
    ports: tuple[int, ...]
    reload: str
    essential: bool = True
    unix_listeners: tuple[str, ...] = ()
    listens: tuple[str, int] | tuple[()] = ()


@dataclass(frozen=True)
class Plan:
    """The daemons, in the order in which they start, and how the supervisor treats them.

    Attributes:
        processes: each is started when the one before it is ready, and stopped in the opposite order.
        grace: seconds between SIGTERM and the end of the last process.
        log_format: ``json`` or ``text``.
        redact: ``none``, ``domain`` or ``hash``: what is printed of addresses.
        message_size: sendmail's MaxMessageSize, in octets.
        redirect_to: the mailbox that all mail goes to; empty: there is none.
        adaptive: whether the front is told what becomes of attempts.
        journal: whether events are kept for the event store.
        policy: in a line, who may send: for the log.
        sources: in a line, where ``hostname`` and ``domains`` are from: for the log.
        run_doctor: whether to have everything looked over, once, when all run.
        look_every: seconds between two regular looks of the doctor's; 0: there are none.
        warnings: what else the log should say.
        watched: files that call for a reload when ``system.status`` says something else of them.
        networks: ``attached.Tables.fingerprint`` of the networks that the files are for: another calls for a reload.
        retry: seconds after which mail that waits is tried again.
        due: when a reload is due even without a change, in seconds since the epoch.
        keys_due: when ``python -m postroad.rotation`` has something to do, in seconds since the epoch.
    """

    processes: tuple[Process, ...]
    grace: float
    log_format: str
    redact: str
    message_size: int
    journal: bool
    policy: str
    sources: str
    run_doctor: bool
    look_every: float
    warnings: tuple[str, ...]
    watched: dict[str, str]
    due: float
    networks: str
    keys_due: float = inf
    retry: float = inf
    redirect_to: str = ""
    adaptive: bool = False


def load(path: Path) -> Plan:
    """Read a plan.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else.
    """
    return handover.load(Plan, path)
