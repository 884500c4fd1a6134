"""Clients that guess passwords have to wait, for longer each time. Standard library only.

The preloaded library asks at each attempt (``preload/auth.c``), so a count holds at once, at every listener and in
sessions that are open already. sendmail itself slows a session down from its third AUTH on.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 5
"""Failures without consequence, for a user's name from a client: some programs fail twice for one wrong password."""
FREE_IN_ALL = 100
"""The same for a client, whatever names it tries. It may be a gateway with many behind it."""
FIRST, LONGEST = 15.0, 900.0
"""Seconds to wait after the next failure, twice as long after each further one, and at most."""
MEMORY = 3600.0
"""Seconds without a failure after which earlier ones are forgotten."""
REMEMBERED = 10_000
"""Clients, and names from them; the one whose last failure is longest ago is forgotten first."""
Key = tuple[str, str]
"""A client, and a user's name; an empty one stands for all."""


class Guesses:
    """Counts failures by client and user's name, and by client."""

    def __init__(
        self, tell: Callable[[str, str], None] = lambda *_: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without failures; ``tell`` is called with a level and a message for the log."""
        self._tell = tell
        self._clock = clock
        self._failures: OrderedDict[Key, tuple[int, float]] = OrderedDict()  # how many, and when the last was

    def answer(self, key: str) -> str:
        """``OK FREE`` to ``ADDRESS right|wrong USER`` where its attempt counts as judged, ``OK WAIT`` where it is void.

        A wrong one is counted, also while the client has to wait.
        """
        address, _, rest = key.partition(" ")
        result, _, user = rest.partition(" ")
        try:
            client = of(address)
        except ValueError:
            return "PERM not an address"
        if result not in {"right", "wrong"}:
            return "PERM not right or wrong"
        # a name with our realm behind it is the same user
        keys = ((client, user.partition("@")[0]), FREE), ((client, ""), FREE_IN_ALL)
        now = self._clock()
        waits = any(self._waits(each, free, now) for each, free in keys)
        if result == "wrong":
            for each, free in keys:
                self._count(each, free, now)
        return "OK WAIT" if waits else "OK FREE"

    def _waits(self, key: Key, free: int, now: float) -> bool:
        number, last = self._failures.get(key, (0, 0.0))
        return number > free and now < last + min(FIRST * 2.0 ** min(number - free - 1, 20), LONGEST)

    def _count(self, key: Key, free: int, now: float) -> None:
        number, last = self._failures.pop(key, (0, now))
        number = number + 1 if now - last < MEMORY else 1
        self._failures[key] = number, now
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
        if number == free + 1:
            client, user = key
            who = "a user's name" if user else "all names"
            said = f"{number} failed logins from {client}: {who} from there must wait, longer each time"
            self._tell("warning", said)


def of(address: str) -> str:
    """Who counts as one client: an address, or a public /64 of IPv6, which one host may own whole.

    Raises:
        ValueError: it is no address.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        if not ip.is_private:
            return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)
