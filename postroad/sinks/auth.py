"""Clients that guess passwords are sent away, for longer each time.

sendmail itself slows a session down from its third AUTH on; this holds over sessions. The rules in ``sendmail.mc`` read
the file that is written here at each connection: the clients that are refused, a line each.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from postroad import system
from postroad.events.model import Auth, Event
from postroad.sinks.told import Told

FREE = 5
"""Failures without consequence. Some programs try two mechanisms, and so fail twice for one wrong password."""
FIRST, LONGEST = 15.0, 900.0
"""Seconds that a client is refused after the next failure, twice as long after each further one, and at most."""
MEMORY = 3600.0
"""Seconds without a failure after which a client's failures are forgotten."""
REMEMBERED = 1000
"""Clients; the one whose last failure is longest ago is forgotten first."""


class AuthSink:
    """Counts failures to authenticate by client: an address, or a public /64 of IPv6, which one host may own whole.

    Whoever feeds it also calls ``expire`` at ``deadline``.
    """

    def __init__(self, path: Path) -> None:
        """Refuse nobody so far, and say so in the file at ``path``."""
        self.deadline: float | None = None
        """When the next client is let in again, in seconds since the epoch."""
        self._path = path
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last was
        self._refused: dict[str, float] = {}  # until when
        self._write()

    def handle(self, told: Sequence[Told]) -> None:
        """Take events.

        Raises:
            OSError: the file can't be written.
        """
        failure: OSError | None = None
        for each in told:
            try:
                self._take(each.event)
            except OSError as error:
                failure = error  # the others count all the same
        if failure:
            raise failure

    def _take(self, event: Event) -> None:
        if not isinstance(event, Auth) or event.success or event.client_address is None:
            return
        client = _client(event.client_address)
        number, last = self._failures.pop(client, (0, event.time))
        number = number + 1 if event.time - last < MEMORY else 1
        self._failures[client] = number, event.time
        if len(self._failures) > REMEMBERED:
            self._refused.pop(self._failures.popitem(last=False)[0], None)
        if number > FREE:
            self._refused[client] = event.time + min(FIRST * 2.0 ** min(number - FREE - 1, 20), LONGEST)
            self._write()

    def expire(self, now: float) -> None:
        """Let in again whose time is over by ``now``, in seconds since the epoch.

        Raises:
            OSError: the file can't be written.
        """
        if self.deadline is not None and self.deadline <= now:
            self._refused = {client: until for client, until in self._refused.items() if until > now}
            self._write()

    def _write(self) -> None:
        self.deadline = min(self._refused.values(), default=None)
        system.write(self._path, "".join(f"{client}\tyes\n" for client in self._refused))


def _client(address: str) -> str:
    """The client as sendmail's rules look it up."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        return str(ip)
    groups = ip.exploded.split(":")[: 8 if ip.is_private else 4]
    return "IPv6:" + ":".join(f"{int(group, 16):x}" for group in groups)
