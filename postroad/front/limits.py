"""How many connections a client has and had lately: what sendmail counts at its own listeners, here for the front's."""

from collections import OrderedDict, deque

WINDOW = 60.0
"""Seconds that ``limits.connections_per_minute`` speaks of."""
REMEMBERED = 10_000
"""Addresses that have sent mail; the one that did so longest ago is forgotten first."""


class ConnectionCounts:
    """Connections by address."""

    def __init__(self) -> None:
        """Begin with none."""
        self.open: dict[str, int] = {}
        self._began: dict[str, deque[float]] = {}
        self._senders: OrderedDict[str, None] = OrderedDict()

    def sent(self, addr: str) -> None:
        """A message of this address was accepted."""
        self._senders[addr] = None
        self._senders.move_to_end(addr)
        if len(self._senders) > REMEMBERED:
            self._senders.popitem(last=False)

    def has_sent(self, addr: str) -> bool:
        """Whether mail of this address was accepted before."""
        return addr in self._senders

    def begin(self, addr: str, now: float) -> tuple[int, int]:
        """Count a connection.

        Returns:
            How many the address has now, and how many it began within the window, this one included.
        """
        self.open[addr] = self.open.get(addr, 0) + 1
        began = self._began.setdefault(addr, deque())
        began.append(now)
        self._drop(began, now)
        return self.open[addr], len(began)

    def end(self, addr: str) -> None:
        """Count one less."""
        left = self.open[addr] - 1
        if left:
            self.open[addr] = left
        else:
            del self.open[addr]

    def forget(self, now: float) -> None:
        """Forget the addresses that began none lately; to be called now and then."""
        for addr, began in tuple(self._began.items()):
            self._drop(began, now)
            if not began:
                del self._began[addr]

    def _drop(self, began: deque[float], now: float) -> None:
        while began and began[0] < now - WINDOW:
            began.popleft()
