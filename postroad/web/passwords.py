"""The console's password: argon2id, one check at a time, and longer and longer waits for whoever guesses."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

TIME, MEMORY, LANES = 2, 19_456, 1
"""argon2id's cost (OWASP): 40 ms and 19 MiB for a check, which a process of 60 MiB can bear one at a time."""
FREE = 5
"""Attempts of an address before it has to wait."""
LONGEST_WAIT = 300.0
MOST = 10_000
"""Addresses that are remembered; the one that tried longest ago is forgotten first."""
LONGEST = 255
"""Characters of a password."""


class Password:
    """The password, of which a hash is kept."""

    def __init__(self, password: str) -> None:
        """Know a password, or its argon2id hash."""
        self._hasher = PasswordHasher(TIME, MEMORY, LANES)
        self._hash = password if password.startswith("$argon2id$") else self._hasher.hash(password)
        self._lock = threading.Lock()

    def fits(self, given: str) -> bool:
        """Whether this is the password; takes a while."""
        if not 0 < len(given) <= LONGEST:
            return False
        try:
            with self._lock:
                return self._hasher.verify(self._hash, given)
        except (Argon2Error, InvalidHashError, UnicodeEncodeError):
            return False


class Throttle:
    """Who has to wait before another attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody has to wait yet."""
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds that an address has to wait; 0: it may try, and this is noted as an attempt that failed."""
        name = _network(address)
        number, last = self._tries.get(name, (0, 0.0))
        now = self._clock()
        if number >= FREE:
            left = last + min(2.0 ** (number - FREE), LONGEST_WAIT) - now
            if left > 0:
                return left
        self._tries[name] = number + 1, now
        self._tries.move_to_end(name)
        if len(self._tries) > MOST:
            self._tries.popitem(last=False)
        return 0.0

    def forgive(self, address: str) -> None:
        """Forget the attempts of an address that knew the password."""
        self._tries.pop(_network(address), None)


def _network(address: str) -> str:
    """An address; of IPv6 its /64, in which one client has any number of addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)
