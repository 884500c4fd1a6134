"""Whether the clock is right: signatures and certificates are not valid before their time (SNTP, RFC 4330)."""

import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterator

from postroad.checks.context import Context, side_by_side
from postroad.checks.model import Finding, Level
from postroad.errors import plainly

ID = "clock"
SHORT = False

EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970."""
TIMEOUT = 2.0
WRONG, DOUBTFUL = 300.0, 30.0
"""Seconds; some receivers refuse signatures of the future after five minutes."""


def run(context: Context) -> Iterator[Finding]:
    """One finding."""
    answers = side_by_side(lambda server: _ask(context, server), context.config.doctor.ntp)
    offsets = {server: offset for server, offset in answers if isinstance(offset, float)}
    failed = "; ".join(f"{server}: {offset}" for server, offset in answers if isinstance(offset, str))
    if not answers:
        return
    if not offsets:
        yield Finding(
            ID,
            Level.INFO,
            "the clock can't be compared: no time server answers",
            failed,
            "name one that does: doctor.ntp",
            unknown=True,
        )
        return
    # a server may be wrong, but hardly in the same way as this clock
    least = min(offsets.values(), key=abs)
    seen = ", ".join(f"{server}: {offset:+.1f} s" for server, offset in offsets.items())
    off = abs(least)
    if off < DOUBTFUL:
        yield Finding(ID, Level.OK, "the clock is right", seen)
    else:
        yield Finding(
            ID,
            Level.ERROR if off >= WRONG else Level.WARNING,
            f"the clock is {off:.0f} s {'behind' if least > 0 else 'ahead'}",
            seen,
            "set it on the host, and let it follow a time server (chrony, systemd-timesyncd)",
        )


def _ask(context: Context, server: str) -> tuple[str, float | str]:
    """Seconds to add to our clock, or why they are not known."""
    try:
        address = str(ipaddress.ip_address(server))
    except ValueError:
        answer = context.resolver.query(server, "A")
        if not answer.found:
            return server, answer.detail or str(answer.status)
        address = answer.values[0]
    try:
        return server, offset(address, min(TIMEOUT, max(context.left - 0.3, 0.1)))
    except TimeoutError:
        return server, "no answer"
    except (OSError, ValueError) as error:
        return server, plainly(error)


def offset(address: str, timeout: float) -> float:
    """Ask one server: seconds to add to our clock (RFC 4330, section 5).

    Raises:
        OSError: it does not answer in time.
        ValueError: it answers something else than the time.
    """
    family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
    # the server sends this back: random, so that nobody else can answer
    cookie = secrets.token_bytes(8)
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect((address, 123))
        sent = time.time()
        client.send(bytes([0x23]) + bytes(39) + cookie)  # version 4, mode 3: client
        reply = client.recv(512)
        received = time.time()
    if len(reply) < 48 or reply[0] & 7 != 4 or reply[24:32] != cookie or not 1 <= reply[1] <= 15:
        raise ValueError("it does not know the time")
    came, left = (_time(reply[start : start + 8]) for start in (32, 40))
    return ((came - sent) + (left - received)) / 2


def _time(stamp: bytes) -> float:
    seconds: int
    fraction: int
    seconds, fraction = struct.unpack("!II", stamp)
    # the count of seconds starts again in 2036
    return (seconds - EPOCH) % 2**32 + fraction / 2**32
