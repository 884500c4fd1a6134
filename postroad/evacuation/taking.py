"""Messages that another relay hands over: each gets a name of ours, and goes into the queue once.

The moment at which a message is ours is one rename: that of its entry, a file called by the message's token which holds
the name that it has here. Control file and body are on the disk before it, under the token in ``taken/new``, and move
into the queue after it. The entry is kept until the other relay has deleted the message: it is the answer to a second
offer. What a kill left between entry and queue is put there at the next start.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from postroad import system
from postroad.errors import PostroadError
from postroad.evacuation import control, places

MARGIN = 64 << 20
"""Octets that stay free on the volume: sendmail needs room, too."""
CHUNK = 1 << 16
PATIENCE = 10.0
"""Seconds that an offer waits for the end of an older one of the same message."""


class RefusedError(PostroadError):
    """A message that is not taken; the message says why."""


class Taking:
    """Takes messages into the queue in a folder. Its methods may be called by several threads."""

    def __init__(self, root: Path) -> None:
        """Of the queue in this folder; its own folders are made where they are missing.

        Raises:
            InstallError: they can't be made.
        """
        self._root = root
        self._entries = root / places.TAKEN
        self._new = self._entries / "new"
        self._changed = threading.Condition()
        self._busy: set[str] = set()
        places.folder(self._new, root)

    def settle(self) -> None:
        """Finish what a kill has cut short: nobody else may be taking messages meanwhile."""
        places.save(self._entries)  # what was entered is seen, and may not be on the disk yet
        for path in list(self._new.iterdir()):
            token = path.name.removesuffix(".qf").removesuffix(".df")
            if self.known(token):
                self._place(token)
            else:
                system.remove(path)
        for path in list(self._entries.glob(".*")):  # half-written
            system.remove(path)

    def known(self, token: str) -> str | None:
        """What a message is called here; None: it was not taken, or the other relay has forgotten it."""
        entry = self._read(token)
        return entry[0] if entry else None

    def answer(self, token: str) -> str | None:
        """As ``known``, where the other relay deletes the message on our word: the entry is on the disk.

        Raises:
            OSError: it can't be written there.
        """
        if name := self.known(token):
            places.save(self._entries)
        return name

    def entries(self) -> Iterator[tuple[str, str]]:
        """Token and name of all that was taken and not confirmed."""
        for path in sorted(self._entries.iterdir()):
            if name := self.known(path.name):
                yield path.name, name

    def take(
        self, token: str, group: str, octets: bytes, body: BinaryIO, size: int, is_current: Callable[[], bool]
    ) -> tuple[Path, bool]:
        """Take a message, or find that it was taken.

        Args:
            token: what relays call it.
            group: the folder of a route with limits that it was in; empty: of none.
            octets: its control file.
            body: what its body is read from; nothing is read where the message was taken, or is refused before.
            size: octets of the body.
            is_current: whether the relay that offers it has not connected anew meanwhile. It asks only under
                ``fence``, so that what the newer session was told stays true.

        Returns:
            Its control file's path in the queue, and whether it was taken just now.

        Raises:
            RefusedError: it is not taken.
            OSError: it can't be written, or read; whether it was taken, ``known`` says.
        """
        with self._alone(token):
            if entry := self._read(token):
                places.save(self._entries)
                self._place(token)
                return entry[1] / f"qf{entry[0]}", False
            origin = places.origin(token)
            if origin is None:
                raise RefusedError("its name is none that relays give")
            checked = self._checked(octets)
            self._see_that_there_is_room(size)
            pending, pending_body = self._pending(token)
            try:
                _write_body(pending_body, body, size)
                system.write(pending, checked)
                places.save(self._new)
                home = self._home(group)
                name = _free(home, origin[1])
                with self.fence():
                    if not is_current():
                        raise RefusedError("its relay has connected anew")
                    self._enter(token, name, home)
            finally:
                if self.known(token) is None:
                    system.remove(pending)
                    system.remove(pending_body)
            self._place(token)
            return home / f"qf{name}", True

    @contextlib.contextmanager
    def fence(self) -> Iterator[None]:
        """No message becomes ours meanwhile."""
        with self._changed:
            yield

    def inherit(self, token: str, name: str) -> None:
        """Keep an entry of a relay whose queue leaves: whoever asks about the message finds it here.

        Raises:
            RefusedError: it is no entry.
            OSError: it can't be written.
        """
        if places.origin(token) is None or places.origin(places.token("0" * 32, name)) is None:
            raise RefusedError("that is no entry")
        with self.fence():
            if self.known(token) is None:
                self._enter(token, name, self._root)

    def forget(self, token: str) -> None:
        """Drop an entry: the other relay has deleted the message."""
        if places.origin(token) is not None:
            system.remove(self._entries / token)

    @contextlib.contextmanager
    def _alone(self, token: str) -> Iterator[None]:
        """Be the only one that works on a message; an older session, which was cut off, may just have begun to."""
        with self._changed:
            if not self._changed.wait_for(lambda: token not in self._busy, PATIENCE):
                raise RefusedError("it is being taken at this moment")
            self._busy.add(token)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(token)
                self._changed.notify_all()

    @staticmethod
    def _checked(octets: bytes) -> bytes:
        try:
            return control.read(octets).octets
        except control.ControlError as error:
            raise RefusedError(f"its control file can't be taken: {error}") from error

    def _see_that_there_is_room(self, size: int) -> None:
        room = os.statvfs(self._root)
        if room.f_bavail * room.f_frsize < size + MARGIN:
            raise RefusedError("there is no room on the queue's volume")

    def _home(self, group: str) -> Path:
        """The folder for a message: that of its route with limits, where we have it. The shaper moves the others."""
        folder = self._root / group
        return folder if places.GROUP.fullmatch(group) and folder.is_dir() else self._root

    def _pending(self, token: str) -> tuple[Path, Path]:
        return self._new / f"{token}.qf", self._new / f"{token}.df"

    def _enter(self, token: str, name: str, home: Path) -> None:
        group = home.name if home != self._root else ""
        system.write(self._entries / token, f"{name} {group}\n")
        places.save(self._entries)

    def _read(self, token: str) -> tuple[str, Path] | None:
        if places.origin(token) is None:
            return None
        try:
            name, _, group = (self._entries / token).read_text().rstrip("\n").partition(" ")
        except FileNotFoundError:
            return None
        home = self._root / group
        return name, home if home.is_dir() else self._root

    def _place(self, token: str) -> None:
        """Give a message that is ours its place in the queue, where it has none yet: the body first."""
        (pending, pending_body), entry = self._pending(token), self._read(token)
        if entry is None or not pending.exists():
            return
        name, home = entry
        if pending_body.exists():
            pending_body.rename(home / f"df{name}")
            places.save(home)
        pending.rename(home / f"qf{name}")
        places.save(home)


def _write_body(path: Path, body: BinaryIO, size: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        left = size
        while left:
            part = body.read(min(left, CHUNK))
            if not part:
                raise ConnectionError("the connection ended within a message")
            file.write(part)
            left -= len(part)
        file.flush()
        os.fsync(file.fileno())


def _free(home: Path, queue_id: str) -> str:
    """A queue id that sendmail never gives.

    sendmail's ids are eight characters for the moment and a process id, of six digits or seven; ours have the moment of
    the id that the message had, and ten digits, which are the most that sendmail reads (``MAXQFNAME``).
    """
    while True:
        name = f"{queue_id[:8]}9{secrets.randbelow(10**9):09}"
        if not (home / f"df{name}").exists() and not (home / f"qf{name}").exists():
            return name
