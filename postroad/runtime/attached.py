"""What the kernel says of the networks that this container is attached to. Standard library only: PID 1 looks here."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Tables:
    """The kernel's texts; empty under host networking, where the host's neighbours are strangers.

    Attributes:
        route: ``/proc/net/route``, IPv4's routes.
        ipv6_route: ``/proc/net/ipv6_route``; empty without IPv6.
        fib_trie: ``/proc/net/fib_trie``, which has this host's IPv4 addresses.
        if_inet6: ``/proc/net/if_inet6``, this host's IPv6 addresses.
        mtu: largest packet of each interface, in octets.
        taps: the interfaces behind which is a program and no network: those of slirp4netns, pasta and VPNs.
    """

    route: str = ""
    ipv6_route: str = ""
    fib_trie: str = ""
    if_inet6: str = ""
    mtu: dict[str, int] = field(default_factory=dict)
    taps: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Another one where networks or addresses are others; the kernel's counters and flags do not count."""
        lines = [
            *(f"4 {' '.join(words[:4] + words[7:8])}" for words in map(str.split, self.route.splitlines())),
            # not the references and the uses
            *(f"6 {' '.join(words[:6] + words[9:])}" for words in map(str.split, self.ipv6_route.splitlines())),
            *(f"a {line}" for line in re.findall(r"-- (\S+)\n\s*/32 host LOCAL", self.fib_trie)),
            *(f"a {line.split()[0]}" for line in self.if_inet6.splitlines()),
        ]
        return hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()[:16]


def read() -> Tables:
    """Ask the kernel."""
    devices = list(Path("/sys/class/net").iterdir())
    if any((device / mark).exists() for device in devices for mark in ("device", "bridge")):
        return Tables()
    return Tables(
        route=_text("/proc/net/route"),
        ipv6_route=_text("/proc/net/ipv6_route"),
        fib_trie=_text("/proc/net/fib_trie"),
        if_inet6=_text("/proc/net/if_inet6"),
        mtu={device.name: int((device / "mtu").read_text()) for device in devices if (device / "mtu").exists()},
        taps=frozenset(device.name for device in devices if (device / "tun_flags").exists()),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
