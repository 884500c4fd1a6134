"""This relay's parts of the limits that it shares with others. Standard library only.

The recorder agrees on them with the other relays and tells them on a socket. A part that is not renewed shrinks to what
this relay keeps while it is cut off, and ends: others may have it by then. Without a part nothing leaves.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from postroad import sockets
from postroad.runtime import handover, sharing
from postroad.runtime.sharing import KEEPS, LASTS, Part, Parts, Report, Use

GRACE = 30.0
"""Seconds from the start in which it is no fault that there are no parts yet."""


class RouteParts:
    """The parts of all routes, and the socket on which they are told."""

    def __init__(self, path: Path, selector: selectors.BaseSelector, clock: Callable[[], float] = sharing.now) -> None:
        """Hear the recorder at ``path``; ``clock`` is ``sharing.now``."""
        self._path, self._selector, self._clock = path, selector, clock
        self._parts: dict[str, Part] = {}
        self._heard, self._renewed = float("-inf"), float("-inf")
        self._began = clock()
        self.report: Callable[[], Sequence[Use]] = tuple
        """What the routes use just now."""

    def listen(self) -> None:
        """Begin to hear the recorder on a socket that only this user can open.

        Raises:
            OSError: the socket can't be made.
        """
        listener = sockets.bound(self._path, socket.SOCK_SEQPACKET)
        listener.listen(8)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(connection))

    def _hear(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        with connection, contextlib.suppress(OSError, ValueError):
            self.heed(handover.loads(Parts, connection.recv(sharing.LARGEST).decode(), "parts"))
            connection.send(handover.dumps(Report(tuple(self._uses()))).encode())

    def _uses(self) -> Sequence[Use]:
        return [replace(use, keeps=self._keeps(use.name)) for use in self.report()]

    def _keeps(self, name: str) -> int:
        part = self._parts.get(name)
        return part.keeps if part and self._clock() < self._renewed + KEEPS else 0

    def heed(self, told: Parts) -> None:
        """Take over what the recorder tells; what it told earlier may come later, and counts no more."""
        if told.renewed < self._heard:
            return
        self._heard = told.renewed
        if told.parts is not None:
            self._renewed = told.renewed
            self._parts = {part.name: part for part in told.parts}

    def of(self, group: str) -> Callable[[str, int], int]:
        """What a route may have of its limits, as ``Pace.part``."""
        return lambda name, total: min(total, self._amount(f"{group} {name}"))

    def _amount(self, name: str) -> int:
        part = self._parts.get(name)
        age = self._clock() - self._renewed
        if part is None or age >= KEEPS:
            return 0
        return part.amount if age < LASTS else min(part.amount, part.keeps)

    def keep(self, groups: Sequence[str]) -> None:
        """Forget the parts of other routes."""
        self._parts = {name: part for name, part in self._parts.items() if name.partition(" ")[0] in groups}

    @property
    def cut_off(self) -> bool:
        """Whether the parts were not renewed in time."""
        return self._clock() >= max(self._renewed + LASTS, self._began + GRACE)

    @property
    def complaint(self) -> str | None:
        """What to say to the log while they are not."""
        if not self.cut_off:
            return None
        why = "the limits of routes can't be agreed on with the relays that share the database (events.store)"
        left = {name: min(part.amount, part.keeps) for name, part in self._parts.items() if self._amount(name)}
        if not left:
            return f"{why}: mail of these routes waits until the database and the recorder are back"
        return f"{why}: this relay keeps to its part, for up to {KEEPS / 60:g} minutes: {_list(left)}"


def _list(parts: dict[str, int]) -> str:
    return ", ".join(f"{amount} of {name}" for name, amount in sorted(parts.items()))
