"""Who may connect and how often, and which recipients there are; pure but for the clock that it is given.

Everything here is counted within bounds: addresses of the net make no list longer than ``REMEMBERED``.
"""

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

from postroad.runtime import return_address
from postroad.runtime.return_address import ReturnAddressError

MOST_SESSIONS, MOST_SESSIONS_EACH = 50, 10
"""Open connections: of all clients, and of one."""
MOST_MESSAGES, MOST_MESSAGES_EACH = 300, 60
"""Messages a minute: of all clients, and of one. A large provider's bounces come from many addresses."""
MOST_ABOUT = 100
"""Messages an hour to one return address: a message has at most some hundred recipients who bounce."""
MOST_FORWARDED, MOST_FORWARDED_EACH = 60, 20
"""Messages an hour that are handed on to a person: of all clients, and of one."""
REMEMBERED = 10_000

ROLES = frozenset({"abuse", "postmaster", "dmarc", "tlsrpt"})
"""The local parts that there are besides return addresses (RFC 2142, RFC 5321)."""


class Gate:
    """Counts, and knows the addresses."""

    def __init__(self, domain: str, key: bytes, clock: Callable[[], float]) -> None:
        """Begin.

        Args:
            domain: the domain that mail is taken for, in lower case.
            key: what signs return addresses.
            clock: seconds since the epoch.
        """
        self.domain, self.key, self._clock = domain, key, clock
        self._open: Counter[str] = Counter()
        self._minute = self._hour = -1
        self._messages: Counter[str] = Counter()
        self._about: Counter[str] = Counter()
        self._forwarding_hour = -1
        self._forwarded: Counter[str] = Counter()

    def change(self, domain: str, key: bytes) -> None:
        """From now on take mail for another domain, or by another key."""
        self.domain, self.key = domain, key

    def enter(self, peer: str) -> bool:
        """Whether a client may connect; if so it counts until ``leave``."""
        client = _client(peer)
        if self._open.total() >= MOST_SESSIONS or self._open[client] >= MOST_SESSIONS_EACH:
            return False
        self._open[client] += 1
        return True

    def leave(self, peer: str) -> None:
        """A client has gone that ``enter`` let in."""
        client = _client(peer)
        self._open[client] -= 1
        if self._open[client] <= 0:
            del self._open[client]

    def takes(self, peer: str) -> bool:
        """Whether a client may give a message now; if so it counts."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._messages.clear()
        client = _client(peer)
        if self._messages.total() >= MOST_MESSAGES or self._messages[client] >= MOST_MESSAGES_EACH:
            return False
        self._messages[client] += 1
        return True

    def forwards(self, peer: str) -> bool:
        """Whether what a client brought may be handed on to a person now; if so it counts."""
        hour = int(self._clock() // 3600)
        if hour != self._forwarding_hour:
            self._forwarding_hour = hour
            self._forwarded.clear()
        client = _client(peer)
        if self._forwarded.total() >= MOST_FORWARDED or self._forwarded[client] >= MOST_FORWARDED_EACH:
            return False
        self._forwarded[client] += 1
        return True

    def refusal(self, recipient: str) -> str:
        """What RCPT is answered where the recipient is refused; empty where there is such an address."""
        local, at, domain = recipient.rpartition("@")
        if not at and recipient.lower() == "postmaster":
            return ""
        if domain.lower().rstrip(".") != self.domain:
            return "550 5.7.1 relaying denied: this server only takes what comes back to it"
        if local.lower() in ROLES:
            return ""
        try:
            found = return_address.read(self.key, self.domain, local, return_address.day_of(self._clock()))
        except ReturnAddressError as error:
            return f"550 5.1.1 no such address here: {error}"
        return self._too_often(found.queue_id)

    def queue_id(self, recipient: str) -> str | None:
        """The queue id in a return address; None where it is none, or too old."""
        local, _, domain = recipient.rpartition("@")
        if domain.lower().rstrip(".") != self.domain:
            return None
        try:
            return return_address.read(self.key, self.domain, local, return_address.day_of(self._clock())).queue_id
        except ReturnAddressError:
            return None

    def _too_often(self, queue_id: str) -> str:
        hour = int(self._clock() // 3600)
        if hour != self._hour or len(self._about) >= REMEMBERED:
            self._hour = hour
            self._about.clear()
        self._about[queue_id] += 1
        return "452 4.5.3 too much about one message: later" if self._about[queue_id] > MOST_ABOUT else ""


def _client(peer: str) -> str:
    """An address, or the /64 of an IPv6 one, which a single host has all of."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
    return str(address)
