"""What was taken and is not read yet: a file each, on the state volume, within bounds.

A message is answered 250 when its file is on the disk. One that ends the process while it is read is set aside at the
next start, and not read again.
"""

import contextlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from postroad import system
from postroad.errors import InstallError

MOST_FILES, MOST_OCTETS = 2000, 64 * 2**20
"""What may wait; beyond it clients are told to come later."""
MOST_UNREAD, LONGEST_UNREAD = 200, 256 * 1024
"""Files that are kept of what could not be read, and octets of each."""


@dataclass(frozen=True)
class Waiting:
    """A message that waits.

    Attributes:
        path: its file.
        sender: MAIL's address; may be empty.
        recipients: RCPT's addresses.
        peer: the client's IP address.
        content: the message.
    """

    path: Path
    sender: str
    recipients: tuple[str, ...]
    peer: str
    content: bytes


class Spool:
    """The folder. One thread puts in, another takes out."""

    def __init__(self, folder: Path, name: str = "spool") -> None:
        """Make it where it is missing, and set aside what was being read when the process ended.

        Args:
            folder: where it is, beside the folder of what is set aside.
            name: its name.

        Raises:
            OSError, InstallError: it can't be made or read.
        """
        self._new, self._unread = folder / name, folder / "unread"
        for each in (self._new, self._unread):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._new.glob(".*"):  # not whole: its client was not told 250
            system.remove(left)
        for begun in self._new.glob("*.reading"):
            self.set_aside(begun)
        self._lock = threading.Lock()
        sizes = [path.stat().st_size for path in self._new.iterdir()]
        self._files, self._octets, self._number = len(sizes), sum(sizes), 0

    def put(self, sender: str, recipients: list[str], peer: str, content: bytes, now: float) -> bool:
        """Keep a message; False where there is no room.

        Raises:
            InstallError: it can't be written.
        """
        head = json.dumps({"sender": sender, "recipients": recipients, "peer": peer}).encode()
        whole = head + b"\n" + content
        with self._lock:
            if self._files >= MOST_FILES or self._octets + len(whole) > MOST_OCTETS:
                return False
            self._files += 1
            self._octets += len(whole)
            self._number += 1
            name = f"{now:017.6f}-{os.getpid()}-{self._number}"
        try:
            system.write(self._new / name, whole)
            _settle(self._new)
        except InstallError:
            self._forget(len(whole))
            raise
        return True

    def oldest(self) -> Waiting | None:
        """The message that has waited longest, marked as being read; None where there is none.

        Raises:
            OSError: it can't be read.
        """
        path = min((each for each in self._new.iterdir() if not each.name.startswith(".")), default=None)
        if path is None:
            return None
        if path.suffix != ".reading":
            path = path.rename(path.with_name(f"{path.name}.reading"))
        first, _, content = path.read_bytes().partition(b"\n")
        try:
            head = json.loads(first)
            return Waiting(path, head["sender"], tuple(head["recipients"]), head["peer"], content)
        except (ValueError, KeyError, TypeError):  # not ours, or a disk's
            self.done(path, keep=True)
            return self.oldest()

    def readable(self, path: Path) -> Path:
        """A message was read without the end of the process: unmark it, and return its new path."""
        return path.rename(path.with_name(path.name.removesuffix(".reading")))

    def done(self, path: Path, *, keep: bool = False) -> None:
        """A message is read; ``keep``: it could not be, so it is set aside."""
        size = 0
        with contextlib.suppress(OSError):
            size = path.stat().st_size
        if keep:
            self.set_aside(path)
        system.remove(path)  # where it could not be moved, it must not be read again and again
        self._forget(size)

    def waits(self) -> int:
        """How many messages wait."""
        return self._files

    def _forget(self, octets: int) -> None:
        with self._lock:
            self._files -= 1
            self._octets -= octets

    def set_aside(self, path: Path) -> None:
        """Move a file to those that can't be read, of which the oldest go."""
        with contextlib.suppress(OSError):
            with path.open("rb+") as file:
                file.truncate(min(LONGEST_UNREAD, os.fstat(file.fileno()).st_size))
            path.rename(self._unread / f"{path.name.removesuffix('.reading')}.eml")
        for old in sorted(self._unread.iterdir())[:-MOST_UNREAD]:
            system.remove(old)


def _settle(folder: Path) -> None:
    """Let a new name in a folder be on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
