"""What is in sendmail's queue, read from its files.

A message is a control file ``qfID`` and a body ``dfID`` in the queue directory, or in a directory below it where there
are queue groups or several queues (those may keep both kinds apart, in ``qf/`` and ``df/``). The control file is lines
that begin with a letter, up to the line ``.`` (sendmail's Installation and Operation Guide, appendix B). Whoever works
on a message holds flock() on its control file; sendmail of Debian is built with HASFLOCK.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroad import system
from postroad.events import relays

GROUP = "route-"
"""How the names of the queue groups of shaped routes begin."""
LARGEST = 1 << 24
"""Octets of a control file that are read: sendmail's own have their message's headers, a few kilobytes."""
_NAME = re.compile(r"(qf|hf|Qf|tf|ef)([0-9A-Za-z]{8,32})")
_NOTES = {
    "hf": "quarantined: sendmail does not deliver it",
    "Qf": "lost: sendmail found its control file damaged and set it aside",
    "ef": "offered to another relay: `postroad queue evacuate` asks whether that has it",
    "tf": "half-written: a message that is being accepted, or was when a process died",
}
_FLAGS = re.compile(r"^[A-Za-z]*:")
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that waits.

    Attributes:
        queue_id: sendmail's id.
        path: its control file.
        body: its body's file.
        sender: the envelope sender; empty for the null sender, None where it can't be read.
        recipients: those who don't have it yet.
        arrived: when it was accepted, in seconds since the epoch; None where that can't be read.
        size: octets of its body; None where that is gone.
        reasons: why it waits, as sendmail noted: the whole message's reason first, then those of recipients; each may
            hold what a receiving server said.
        attempts: how often it was tried.
        last_try: when, in seconds since the epoch; None if never.
        priority: sendmail's; the lower, the sooner.
        active: somebody works on it at this moment.
        note: what is wrong with its files; empty if nothing is.
    """

    queue_id: str
    path: Path
    body: Path
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    arrived: int | None = None
    size: int | None = None
    reasons: tuple[str, ...] = ()
    attempts: int = 0
    last_try: int | None = None
    priority: int | None = None
    active: bool = False
    note: str = ""

    @property
    def reason(self) -> str:
        """Why it waits, in one line; empty where nothing was noted."""
        return next(iter(self.reasons), "")

    @property
    def domains(self) -> frozenset[str]:
        """The recipients' domains, in lower case."""
        return frozenset(recipient.rpartition("@")[2].lower().rstrip(".") for recipient in self.recipients)

    @property
    def runs(self) -> bool:
        """Whether queue runs take it: not what is quarantined, lost or half-written."""
        return self.path.name[:2] == "qf"

    def next_try(self, retry: float, now: float) -> float | None:
        """About when it is tried again, in seconds since the epoch, by queue runs ``retry`` seconds apart.

        None where no queue run takes it.
        """
        if not self.runs:
            return None
        since = self.last_try or self.arrived
        return now if since is None else max(now, since + retry)


def messages(root: Path) -> Iterator[QueuedMessage]:
    """The messages below a queue directory, in no order; what vanishes meanwhile is left out.

    Raises:
        OSError: ``root`` can't be read.
    """
    root = root.resolve()
    busy = _open_files(root)
    for path in control_files(root):
        message = read(path, busy)
        if message is not None:
            yield message


def control_files(root: Path) -> Iterator[Path]:
    """The control files below a queue directory, whatever their state; their names only are looked at."""
    with os.scandir(root) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                yield Path(entry.path)
            # a lost+found of another user, say
            elif entry.name not in {"df", "xf"} and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    yield from control_files(Path(entry.path))


def waiting(root: Path) -> set[str]:
    """The ids of the messages that sendmail will try, or is trying or writing, by the names of their files alone."""
    return {path.name[2:] for path in control_files(root) if path.name[:2] in {"qf", "tf"}}


def depth(root: Path) -> tuple[int, float | None]:
    """How many messages queue runs take, and when the oldest of them came, in seconds since the epoch.

    By their bodies' times: a body is written when the message comes and not again, its control file at each attempt.

    Raises:
        OSError: ``root`` can't be read.
    """
    number, oldest = 0, None
    for path in control_files(root):
        if path.name[:2] == "qf":
            number += 1
            with suppress(OSError):  # delivered meanwhile
                came = _body(path).stat().st_mtime
                oldest = came if oldest is None else min(oldest, came)
    return number, oldest


def _body(path: Path) -> Path:
    """The body's file of a control file."""
    folder = path.parent
    apart = folder.with_name("df")
    return (apart if folder.name == "qf" and apart.is_dir() else folder) / f"df{path.name[2:]}"


def read(path: Path, busy: frozenset[str] = frozenset()) -> QueuedMessage | None:
    """A control file's message; None if it is gone. ``busy`` has the files that are open."""
    kind, queue_id = path.name[:2], path.name[2:]
    if kind == "tf" and path.with_name(f"qf{queue_id}").exists():
        return None  # it is being written anew, and will take the old one's place
    body = _body(path)
    note = _NOTES.get(kind, "")
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode(errors="backslashreplace")
    except FileNotFoundError:
        return None
    except OSError as error:
        return QueuedMessage(queue_id, path, body, note=f"can't be read: {error.strerror}")
    fields, faults = _fields(text)
    try:
        size = body.stat().st_size
    except OSError:
        if not path.exists():  # it was delivered meanwhile
            return None
        size = None
        faults.append("its body is gone")
    return QueuedMessage(
        queue_id,
        path,
        body,
        **fields,
        size=size,
        active=str(path) in busy,
        note=note or (f"damaged: {', '.join(faults)}" if faults else ""),
    )


def parse(octets: bytes, path: Path) -> QueuedMessage:
    """A message from the text of its control file, which is called so; no file is looked at."""
    fields, faults = _fields(octets.decode(errors="backslashreplace"))
    note = f"damaged: {', '.join(faults)}" if faults else ""
    return QueuedMessage(path.name[2:], path, _body(path), **fields, note=note)


def _fields(text: str) -> tuple[dict[str, Any], list[str]]:
    """What the lines say, and what is wrong with them."""
    numbers: dict[str, int] = {}
    sender: str | None = None
    recipients: list[str] = []
    reasons: list[str] = []
    faults = []
    # not splitlines(): it breaks at what may well stand within a line
    lines = text.split("\n")
    for line in lines:
        code, value = line[:1], line[1:]
        if code == "H":
            break
        if code and code in "TKNP":
            if _NUMBER.fullmatch(value):
                numbers[code] = int(value)
            else:
                faults.append(f"its line {code} is no number")
        elif code == "S":
            # of bounces that sendmail made; with anybody else's a domain is asked for
            sender = _address(value).removesuffix("MAILER-DAEMON")
        elif code == "R":
            recipients.append(_address(_FLAGS.sub("", value, count=1)))
        elif code == "M" and value:
            reasons.append(relays.plain(value))
    for missing, what in (
        ("." not in lines[-2:], "its control file has no end"),
        (sender is None, "its sender is not there"),
        (not recipients, "no recipients are there"),
    ):
        faults += [what] if missing else []
    fields = {
        "sender": sender,
        "recipients": tuple(recipients),
        "arrived": numbers.get("T"),
        "reasons": tuple(reasons),
        "attempts": numbers.get("N", 0),
        "last_try": numbers.get("K") or None,
        "priority": numbers.get("P"),
    }
    return fields, faults


def _address(text: str) -> str:
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def _open_files(root: Path) -> frozenset[str]:
    """The files below ``root`` that processes of this user have open, as whoever works on a message does.

    Not by trying to lock: sendmail passes over a message that it finds locked. Not by /proc/locks either: in a
    container it leaves out the lock of a process that has ended, and has left the delivery to a child.
    """
    below = f"{root.resolve()}/"
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - a Path for each descriptor is slow
        folder = f"/proc/{process}/fd"
        with suppress(OSError):  # it has ended, or is another user's
            for number in os.listdir(folder):  # noqa: PTH208
                with suppress(OSError):
                    name = os.readlink(f"{folder}/{number}")  # noqa: PTH115
                    if name.startswith(below):
                        found.add(name)
    return frozenset(found)


@contextmanager
def lock(path: Path) -> Iterator[bool | None]:
    """Hold a control file as sendmail does: True if so, False if somebody else has it, None if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        mine = os.fstat(descriptor)
        try:
            there = path.stat()
        except FileNotFoundError:
            yield None
            return
        # sendmail writes a control file anew beside the old one, and locks that
        yield (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
    finally:
        os.close(descriptor)


def delete(message: QueuedMessage) -> bool | None:
    """Delete a message: True if done, False if somebody works on it, None if it is gone already.

    The control file goes first: a body without one is a leftover that nobody delivers, while a control file without
    its body would be delivered empty.

    Raises:
        OSError: its files can't be deleted.
    """
    with lock(message.path) as held:
        if held:
            system.remove(message.path)
            system.remove(message.body)
        return held


def move(path: Path, target: Path) -> bool | None:
    """Move a message into another queue directory: True if done, False if somebody works on it, None if it is gone.

    The body goes first: where this is cut short, the control file is still there, and finds it at the next attempt.

    Raises:
        OSError: its files can't be moved.
    """
    with lock(path) as held:
        if held:
            body = _body(path)
            if body.exists():
                system.move(body, target)
            system.move(path, target)
        return held
