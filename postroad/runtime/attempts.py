"""The attempts at delivery that are under way, by the picture that preload/attempts.c keeps. Standard library only."""

import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postroad.runtime.paths import ATTEMPTS

PROC = Path("/proc")

_SLOT = struct.Struct("=iHHqqq16s16x")
_FAMILIES = {int(family): (family, size) for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16))}
_TITLE = re.compile(r"sendmail: (\S+) (\S+): (?:client )?(.+)")


@dataclass(frozen=True)
class Attempt:
    """One attempt with one receiving server.

    Attributes:
        pid: the process of sendmail's that makes it.
        queue_id: its message; empty where the process does not say.
        host: the server's name; likewise.
        address: the server's address; port: and its port.
        since: when it began, in seconds since the epoch.
        sent: octets that the server has taken.
        command: what is waited for: ``user open`` is the connection, ``greeting``, ``EHLO``, ``DATA status``, …
    """

    pid: int
    queue_id: str
    host: str
    address: str
    port: int
    since: float
    sent: int
    command: str


def under_way(picture: Path = ATTEMPTS, proc: Path = PROC) -> list[Attempt]:
    """All that are under way at this moment, the oldest first."""
    return sorted(_attempts(picture, proc), key=lambda attempt: attempt.since)


def _attempts(picture: Path, proc: Path) -> Iterator[Attempt]:
    try:
        data = picture.read_bytes()
    except OSError:
        return  # nothing was ever delivered
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    latest: dict[int, tuple[int, ...]] = {}
    for slot in _SLOT.iter_unpack(data[: len(data) // _SLOT.size * _SLOT.size]):
        pid, family, _, began, used, *_ = slot
        # of its connections a process uses one at a time
        if pid and began and family in _FAMILIES and (pid not in latest or latest[pid][4] < used):
            latest[pid] = slot
    for pid, (_, family, port, began, _, sent, packed) in latest.items():
        since = began / 1000 + booted
        title = _title(proc / str(pid), began / 1000)
        if title is None:
            continue  # it has ended, and its number may be another process's
        said = _TITLE.match(title)
        queue_id, host, command = said.groups() if said else ("", "", "")
        kind, size = _FAMILIES[family]
        address = socket.inet_ntop(kind, bytes(packed)[:size])
        yield Attempt(pid, queue_id.rpartition("/")[2], host.rstrip("."), address, port, since, sent, command)


def _title(process: Path, began: float) -> str | None:
    """What a process shows as its command line, if it ran before ``began``, in seconds since the machine's start."""
    try:
        started = int((process / "stat").read_text().rpartition(")")[2].split()[19])
        text = (process / "cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    if started / os.sysconf("SC_CLK_TCK") > began + 1:
        return None
    return text.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def abort(attempt: Attempt) -> bool:
    """End an attempt; its message stays in the queue. False: it has ended by itself, or is another one by now."""
    try:
        process = os.pidfd_open(attempt.pid)
    except ProcessLookupError:
        return False
    try:
        wanted = (attempt.pid, attempt.queue_id, attempt.host)
        if wanted not in {(each.pid, each.queue_id, each.host) for each in under_way()}:
            return False
        signal.pidfd_send_signal(process, signal.SIGRTMIN)
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True
