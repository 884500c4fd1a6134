"""How much may be under way at once, by what this container may use."""

from dataclasses import dataclass
from pathlib import Path

MOST = 150
LEAST = 10
OTHERS = 40
"""Processes that are no sessions: the daemons, runs of the queue, a person's commands."""
EACH = 2
"""A session is a process, and one that delivers in the background is two."""
SIZE = 2_000_000
"""Octets that a session takes while it waits for its receiver: 1.3 MB of its own (PSS), and its sockets."""
CLIENT = 16_000
"""Octets that a client of the front takes, most of them the kernel's."""
MOST_CLIENTS, LEAST_CLIENTS = 5_000, 100
MOST_DIRECT = 500
REST = 100 << 20
"""Octets of memory that all else takes: the daemons, of which the recorder and the signer are the largest, and runs."""

_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_PROCESSES = ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")


@dataclass(frozen=True)
class Bounds:
    """Most of each at once.

    Attributes:
        sessions: sessions of sendmail's, all together.
        delivering: those that deliver, and those that are their clients' own, before more mail goes into the queue.
        domain: those that deliver to one domain.
        own: those that are their clients' own.
        busy: those in which a transaction is under way.
        runs: runs of the queue for what went there.
        clients: connections of clients at the front.
        direct: sessions at the listeners that sendmail itself has (587 and 465), all together.
        background: deliveries in processes of their own, of what came in by sendmail's own listeners, before more of it
            goes into the queue.
    """

    sessions: int
    delivering: int
    domain: int
    own: int
    busy: int
    runs: int
    clients: int
    direct: int
    background: int


def bounds(memory: int | None, processes: int | None, deliveries: int | None = None) -> Bounds:
    """The bounds for so much memory, in octets, so many processes and so many deliveries in all; None: no limit."""
    sessions, direct = MOST, MOST_DIRECT
    if processes is not None:
        sessions = min(sessions, (processes - OTHERS) // EACH)
        direct = min(direct, (processes - OTHERS) // EACH // 2)
    if memory is not None:
        sessions = min(sessions, (memory - REST) // SIZE)
        direct = min(direct, (memory - REST) // SIZE // 2)
    sessions = max(sessions, LEAST)
    delivering, background, runs = sessions * 2 // 3, sessions // 2, max(3, min(sessions // 8, 16))
    if deliveries is not None:
        runs = min(runs, max(3, deliveries // 8))
        delivering = min(delivering, (deliveries - runs) * 4 // 7)
        background = min(background, deliveries - runs - delivering)
    clients = MOST_CLIENTS if memory is None else min(MOST_CLIENTS, memory // 8 // CLIENT)
    return Bounds(
        sessions=sessions,
        delivering=delivering,
        domain=max(1 if deliveries else 2, delivering * 3 // 10),
        own=sessions // 2,
        busy=sessions // 2,
        runs=runs,
        clients=max(clients, LEAST_CLIENTS),
        direct=max(direct, LEAST),
        background=background,
    )


def here(deliveries: int | None = None) -> Bounds:
    """The bounds for this container, with so many deliveries at most (``delivery.concurrency``)."""
    return bounds(_limit(_MEMORY), _limit(_PROCESSES), deliveries)


def _limit(files: tuple[str, ...]) -> int | None:
    for name in files:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        # version 1 says "no limit" by a number that no machine has
        return int(text) if text.isdigit() and int(text) < 1 << 60 else None
    return None
