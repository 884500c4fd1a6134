"""Where a queue keeps what it needs to leave, or to take what another one hands over; and how files are saved there.

All of it is on the queue's volume, in folders that sendmail does not read: what is known of a message must not be lost
without the message.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from postroad import system
from postroad.errors import PostroadError

IDENTITY = "relay-id"
"""The name of a file with the queue's own id."""
LEAVING = "leaving"
"""A folder: messages that are offered to another relay, whose answer is still missing."""
TAKEN = "taken"
"""A folder: what other relays' messages are called here, until they know."""
GROUP = re.compile(r"route-[0-9a-f]{8}")
"""The name of a folder of a route with limits: ``outbound.RouteGroup.group``."""
_ID = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"([0-9a-f]{32})\.([0-9A-Za-z]{8}[0-9]{6,10})")


def identity(root: Path) -> str:
    """The id of a queue, made at first use: 32 hexadecimal digits.

    Raises:
        InstallError: it can't be written.
        OSError: it can't be read.
    """
    path = root / IDENTITY
    for _ in range(2):
        if path.exists() and _ID.fullmatch(found := path.read_text().strip()):
            return found
        with system.locked(root / f".{IDENTITY}.lock"):
            if not path.exists():
                system.write(path, secrets.token_hex(16) + "\n")
                save(root)
    raise OSError(f"{path} is damaged: it holds no id of 32 hexadecimal digits")


def is_identity(text: str) -> bool:
    """Whether this is a queue's id."""
    return _ID.fullmatch(text) is not None


def token(queue: str, queue_id: str) -> str:
    """What a message of a queue is called between relays."""
    return f"{queue}.{queue_id}"


def origin(name: str) -> tuple[str, str] | None:
    """The queue and the queue id of a token; None if it is none."""
    match = _TOKEN.fullmatch(name)
    return (match[1], match[2]) if match else None


class BusyError(PostroadError):
    """Another process does so already."""


@contextlib.contextmanager
def alone(root: Path, which: str = LEAVING) -> Iterator[None]:
    """Be the only one that hands over messages of a queue, or (``TAKEN``) that takes them into it.

    Raises:
        BusyError: somebody else does.
        InstallError, OSError: the file for it can't be made.
    """
    folder(root / which, root)
    with open(os.open(root / which / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = "handed over" if which == LEAVING else "taken over"
            raise BusyError(f"messages are being {what} in {root} already: wait until that has ended") from error
        yield


def folder(path: Path, root: Path) -> None:
    """Make a folder below ``root``, and those above it; each name is on the disk."""
    if path == root or path.is_dir():
        return
    folder(path.parent, root)
    system.folder(path)
    save(path.parent)


def save(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
