"""Who listens where, asked of the kernel and not by connecting. Standard library only: PID 1 looks here."""

import contextlib
import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TCP_LISTEN = "0A"  # include/net/tcp_states.h, as /proc/net/tcp prints it


@dataclass(frozen=True)
class Listening:
    """A TCP socket that listens: where, and the inode by which ``/proc/PID/fd`` names it."""

    host: str
    port: int
    inode: str

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address; unspecified for all of this host's."""
        words = [struct.pack("=I", int(self.host[start : start + 8], 16)) for start in range(0, len(self.host), 8)]
        return ipaddress.ip_address(b"".join(words))


def parse(lines: Iterable[str]) -> Iterator[Listening]:
    """The sockets in the lines of ``/proc/net/tcp`` or ``tcp6``, as proc_pid_net(5) has them."""
    for fields in map(str.split, lines):
        if len(fields) > 9 and fields[3] == _TCP_LISTEN:
            host, _, port = fields[1].rpartition(":")
            yield Listening(host, int(port, 16), fields[9])


def tcp(proc: Path = PROC) -> Iterator[Listening]:
    """All TCP sockets that listen in this network namespace, IPv4's first."""
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError), open(proc / table) as lines:
            yield from parse(lines)
