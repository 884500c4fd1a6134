"""Receivers that ask for less, as far as files and sockets go: what is heard, told, and kept over a restart."""

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from postroad import sockets, system
from postroad.errors import InstallError, plainly
from postroad.events import own
from postroad.front import profiles
from postroad.front.adaptive import Receivers
from postroad.front.loop import Loop
from postroad.front.pool import Pool
from postroad.front.slowing import MOST_CONNECTIONS, Change, Receiver
from postroad.runtime import outcomes, slowed
from postroad.runtime.log import tell
from postroad.runtime.paths import OUTCOMES, RECEIVERS, SLOWED
from postroad.runtime.slowed import SlowedReceiver

KEEP = 10.0
"""Seconds between two times that the file is written while nothing else changes than limits and what waits."""
AT_ONCE = 100
"""Datagrams that are heard in a row."""


class Adapting:
    """Hears what becomes of attempts, and says which receivers get less.

    Attributes:
        receivers: all that is known of them.
        waits_for: how many messages wait for the domains that a function says yes to.
    """

    def __init__(self, loop: Loop, pool: Pool, *, enabled: bool) -> None:
        """Begin with what an earlier process has left.

        Raises:
            OSError: the socket can't be made.
        """
        self.receivers = Receivers(self._changed, pool.delivering_to)
        self.waits_for: Callable[[Callable[[str], bool]], int] = lambda _: 0
        self._loop = loop
        self._dirty, self._kept, self._fault = False, 0.0, ""
        self._hosts: dict[str, str] = {}
        self._socket = sockets.bound(OUTCOMES, socket.SOCK_DGRAM)
        loop.watch(self._socket.fileno(), select.EPOLLIN, self._hear)
        if enabled:
            self._recall()
        self.enable(enabled)

    def enable(self, enabled: bool) -> None:
        """Treat receivers by what they say, or all alike."""
        self.receivers.enabled = enabled
        if not enabled:
            self.receivers.free_all()
        self._keep()

    def _hear(self, _: int) -> None:
        now = self._loop.now
        with suppress(BlockingIOError):
            for _number in range(AT_ONCE):
                try:
                    taken, failures = outcomes.read(self._socket.recv(4 * outcomes.LARGEST))
                except (ValueError, TypeError):
                    continue
                for each in taken:
                    self.receivers.took(each, now)
                for failure in failures:
                    self._hosts[profiles.of_host(failure.host).name] = failure.host
                    self.receivers.failed(failure, now)
        if self._dirty:
            self._keep()

    def tick(self) -> None:
        """What is to be done every second."""
        self.receivers.tick(self._loop.now)
        if self._dirty or (self.receivers.held and self._loop.now - self._kept >= KEEP):
            self._keep()

    def _changed(self, change: Change) -> None:
        self._dirty = True
        fields: dict[str, str | int | float | None] = {"receiver": change.receiver}
        if change.kind == "resumed":
            fields["lasted"] = int(change.lasted or 0)
        else:
            fields |= {"reason": change.reason, "reply": change.reply}
        if change.until is not None:
            fields["until"] = slowed.stamp(self._wall(change.until))
        else:
            fields |= {
                "connections": change.connections,
                "per_minute": None if change.rate is None else round(change.rate * 60, 1),
            }
        tell("notice", own.receiver(change.kind, fields))

    def _wall(self, moment: float) -> float:
        return time.time() + moment - self._loop.now

    # --- over a restart

    def _recall(self) -> None:
        offset = self._loop.now - time.time()
        for each in slowed.read(RECEIVERS):
            self._hosts[each.name] = each.host
            self.receivers.restore(each, self._loop.now, offset)

    def _keep(self) -> None:
        """Write down which receivers get less, and tell the preloaded library whether any does."""
        self._dirty, self._kept = False, self._loop.now
        found = [self._described(receiver, domains) for receiver, domains in self.receivers.those_held()]
        try:
            if found or RECEIVERS.exists():
                slowed.write(RECEIVERS, found)
            if found:
                system.write(SLOWED, "")
            else:
                system.remove(SLOWED)
            self._fault = ""
        except (InstallError, OSError) as error:
            if plainly(error) != self._fault:
                tell("err", f"front: {plainly(error)}; after a restart, receivers have to ask for less again")
            self._fault = plainly(error)

    def _described(self, receiver: Receiver, domains: list[str]) -> SlowedReceiver:
        name = receiver.profile.name
        refused_rate, pauses = receiver.memory
        return SlowedReceiver(
            name=name,
            host=self._hosts.get(name, name),
            standing=str(receiver.standing),
            since=self._wall(receiver.since),
            until=self._wall(receiver.until) if receiver.standing == slowed.PAUSED else 0.0,
            reason=receiver.reason,
            reply=receiver.reply,
            connections=receiver.connections if receiver.connections < MOST_CONNECTIONS else None,
            rate=None if receiver.rate == float("inf") else receiver.rate,
            refused_rate=refused_rate,
            pauses=pauses,
            waiting=self.waits_for(lambda domain: self.receivers.name(domain) == name),
            domains=tuple(domains[: slowed.MOST_DOMAINS]),
        )
