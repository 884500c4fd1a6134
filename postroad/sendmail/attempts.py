"""Attempts under way: which process of sendmail's is busy with which receiver.

sendmail writes into its title (``/proc/PID/cmdline``) the message, the receiving host and what it waits for, such as
``sendmail: 6AQ7Gk5e000012 mx.example.net.: client DATA status``; the preloaded library puts since when into the
process's name (``/proc/PID/comm``), and ends the attempt on a signal (preload/attempts.c). Nothing is kept elsewhere,
so nothing is left where a process dies.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"sends ([0-9a-f]{8})\n?")
_TITLE = re.compile(r"sendmail: (?:\S*/)?([0-9A-Za-z]{8,32}) (\S+): (user open|client [^\0]+)")
_COMMANDS = {
    "user open": "connect",
    "greeting": "greeting",
    "DATA 354": "DATA",
    "DATA status": "end of data",
}
"""What sendmail calls what it waits for, and we do; anything else is the command itself."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt under way.

    Attributes:
        pid: the process.
        queue_id: the message.
        host: the receiving host, as sendmail looked it up, or a smarthost.
        since: when it began, in seconds since the epoch.
        command: the command whose answer is awaited: ``connect``, ``greeting``, ``EHLO``, ``MAIL``, ``RCPT``, ``DATA``,
            ``end of data`` and the like.
    """

    pid: int
    queue_id: str
    host: str
    since: int
    command: str


def attempts(proc: Path = Path("/proc")) -> Iterator[Attempt]:
    """Those of this container, in no order; what ends meanwhile is left out."""
    for name in os.listdir(proc):  # noqa: PTH208 - a Path for each entry is slow
        if name.isdigit() and (found := read(proc / name)):
            yield found


def read(folder: Path) -> Attempt | None:
    """The attempt that a process is busy with; None if it is not."""
    try:
        since = _NAME.fullmatch((folder / "comm").read_text(errors="replace"))
        title = _TITLE.match((folder / "cmdline").read_text(errors="replace")) if since else None
    except OSError:
        return None
    if not (since and title):
        return None
    queue_id, host, said = title.groups()
    said = said.removeprefix("client ").strip()
    return Attempt(int(folder.name), queue_id, host.rstrip("."), int(since[1], 16), _COMMANDS.get(said, said))


def abort(attempt: Attempt) -> bool:
    """End an attempt; the message stays in the queue. False: it has ended by itself."""
    try:
        process = os.pidfd_open(attempt.pid)
    except ProcessLookupError:
        return False
    try:
        # between the two looks it may have gone on to another
        found = read(Path(f"/proc/{attempt.pid}"))
        if found is None or (found.queue_id, found.host) != (attempt.queue_id, attempt.host):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGRTMIN)
            return True
        return False
    finally:
        os.close(process)
