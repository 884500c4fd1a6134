"""Tells the front what becomes of attempts with recipients' MX hosts (``runtime/outcomes.py``)."""

import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from postroad.events.model import Bounced, Deferred, Delivered, RecipientEvent
from postroad.runtime.outcomes import LARGEST, Failure, Taken, write
from postroad.sinks.told import Told

MX = "mx"
"""sendmail's mailer for recipients' MX hosts (``templates/mc/mailers.j2``); a smarthost is no receiver."""
REPLY = 500
"""Characters of a reply."""


class OutcomesSink:
    """Sends a datagram for each batch of events, if there is something in it; nobody has to hear it."""

    def __init__(self, path: Path) -> None:
        """Tell whoever listens at ``path``, once ``enabled``."""
        self.enabled = False
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def handle(self, told: Sequence[Told]) -> None:
        """Tell of the attempts among these events."""
        if not self.enabled:
            return
        taken: Counter[tuple[str, str]] = Counter()
        latest: dict[tuple[str, str], float] = {}
        failures: list[Failure] = []
        for each in told:
            event = each.event
            if not isinstance(event, Delivered | Deferred | Bounced) or event.mailer != MX:
                continue
            host = event.relay_host or event.relay_address
            if not host:
                continue
            seconds = float(event.attempt_delay or 0)
            if isinstance(event, Delivered):
                key = host, _domain(event)
                taken[key] += 1
                latest[key] = min(seconds, latest.get(key, seconds))
            elif event.reply:
                reply = event.reply[:REPLY]
                status = event.status[:REPLY] if event.status else None
                failures.append(Failure(event.kind, host, _domain(event), event.dsn, reply, status, seconds))
        if taken or failures:
            self._send([Taken(*key, number, latest[key]) for key, number in taken.items()], failures)

    def close(self) -> None:
        """Tell nothing more."""
        self.enabled = False
        self._socket.close()

    def _send(self, taken: list[Taken], failures: list[Failure]) -> None:
        data = write(taken, failures)
        if len(data) > LARGEST and len(taken) + len(failures) > 1:
            half, middle = len(taken) // 2, len(failures) // 2
            self._send(taken[:half], failures[:middle])
            self._send(taken[half:], failures[middle:])
            return
        with suppress(OSError):  # no front, or one that is behind: it hears of the next
            self._socket.sendto(data, self._path)


def _domain(event: RecipientEvent) -> str:
    return (event.recipient or "").rpartition("@")[2].lower().rstrip(">")
