"""What the supervisor is to run: written by an installation, read by PID 1. Standard library only."""

import json
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

PREPARE_LIMIT = 600.0
"""Seconds that preparing a configuration may take: many domains' keys take their time at first start."""
START_LIMIT = 30.0
"""Seconds that a daemon may take until it serves."""
RELOAD_LIMIT = PREPARE_LIMIT + 8 * START_LIMIT
"""Seconds that a reload may take: no plan has more daemons."""


@dataclass(frozen=True)
class Process:
    """A daemon to keep running.

    Attributes:
        name: what logs and states call it.
        argv: its command line; it stays in the foreground.
        env: its whole environment.
        socket: it is ready when this UNIX socket accepts a connection; empty where ``ports`` tells.
        ports: it is ready when it listens on all of these TCP ports; empty where ``socket`` tells.
        reload: the signal's name that makes it read its configuration again.
        doors: likewise, when it listens at all of these UNIX sockets as well; nobody connects there to find out.
        listens: family (``inet``, or ``inet6``, which takes IPv4 as well) and TCP port of a listening socket that the
            supervisor opens, keeps over restarts, and hands to it as its standard input; empty: none.
        essential: mail needs it: without it the server is degraded, and ends if it can't be kept running.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    socket: str
    ports: tuple[int, ...]
    reload: str
    essential: bool = True
    doors: tuple[str, ...] = ()
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
        journal: whether events are kept for the event store.
        policy: in a line, who may send: for the log.
        sources: in a line, where ``hostname`` and ``domains`` are from: for the log.
        look_over: whether to have everything looked over, once, when all run.
        warnings: what else the log should say.
        watched: files that call for a reload when ``system.status`` says something else of them.
        networks: ``attached.Tables.fingerprint`` of the networks that the files are for: another calls for a reload.
        retry: seconds after which mail that waits is tried again.
        due: when a reload is due even without a change, in seconds since the epoch.
    """

    processes: tuple[Process, ...]
    grace: float
    log_format: str
    redact: str
    message_size: int
    journal: bool
    policy: str
    sources: str
    look_over: bool
    warnings: tuple[str, ...]
    watched: dict[str, str]
    due: float
    networks: str
    retry: float = inf


def dumps(plan: Plan) -> str:
    """A plan as JSON."""
    return json.dumps(asdict(plan), indent=1) + "\n"


def load(path: Path) -> Plan:
    """Read a plan that ``dumps`` made."""
    data = json.loads(path.read_text())
    # JSON has lists only, and a process that is unchanged has to compare equal
    processes = tuple(Process(**_tuples(entry)) for entry in data.pop("processes"))
    return Plan(processes=processes, **_tuples(data))


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
