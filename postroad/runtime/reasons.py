"""Why the server is not ready: the reasons in the health file, and the cause of each for metrics and health checks.

The supervisor writes them, the recorder reads their causes: one place has both directions. Standard library only.
"""

import re
from enum import StrEnum


class Cause(StrEnum):
    """What degrades the server: the label of ``postroad_degraded``."""

    DAEMON = "daemon"
    PROCESSES = "processes"
    MEMORY = "memory"
    DELIVERIES = "deliveries"
    QUEUE = "queue"


NONE_SUCCEEDS = "delivery: none has succeeded lately, and several receivers fail: postroad queue list says why"
NOT_TRIED = "delivery: mail is due that nobody has tried for two retry intervals: postroad queue list --active"

DELIVERY = frozenset({Cause.DELIVERIES, Cause.QUEUE})
"""Causes that a restart of this server does not cure."""


def not_running(program: str) -> str:
    """A daemon that mail needs does not run."""
    return f"{program} does not run"


def not_serving(program: str) -> str:
    """A daemon that mail needs runs, but is not ready."""
    return f"{program} does not serve yet"


def gone(pid: str) -> str:
    """A process in the health file has ended."""
    return f"process {pid} is gone"


def processes_reached(limit: int) -> str:
    """A process could not be started, as the container has this many."""
    return f"the limit of processes (pids) is reached: it is {limit}"


def processes_near(limit: int) -> str:
    """The container has almost this many processes."""
    return f"processes are near their limit (pids): it is {limit}"


def memory_reached(octets: int) -> str:
    """A process was killed for memory."""
    return f"the limit of memory is reached: it is {octets >> 20} MiB"


def memory_near(octets: int) -> str:
    """The container uses almost this much memory."""
    return f"memory is near its limit: it is {octets >> 20} MiB"


# without the ends of long texts: the health file is cut at its size
_PATTERNS = {
    Cause.DAEMON: re.compile(r"[\w.-]+ (does not run|does not serve yet)$|process [0-9]+ is gone$"),
    Cause.PROCESSES: re.compile(r"the limit of processes \(pids\)|processes are near their limit \(pids\)"),
    Cause.MEMORY: re.compile("the limit of memory|memory is near its limit"),
    Cause.DELIVERIES: re.compile("delivery: none has succeeded lately"),
    Cause.QUEUE: re.compile("delivery: mail is due that nobody has tried"),
}


def cause_of(reason: str) -> Cause | None:
    """The cause of a reason that this module made; None for any other text."""
    return next((cause for cause, pattern in _PATTERNS.items() if pattern.match(reason)), None)
