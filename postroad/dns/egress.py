"""The public addresses of this host, found by DNS names that return the client's address."""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from postroad.config.model import Config
from postroad.config.networks import is_nobody
from postroad.dns import instance
from postroad.dns.resolver import Resolver, ask

TIMEOUT = 2.5
AGREE = 2
"""How many names must return the same address: one may be wrong, or a resolver on the path may answer instead."""


@dataclass(frozen=True)
class Saying:
    """What one name answered: an address, or the reason in words why there is none."""

    source: str
    version: int
    address: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Egress:
    """The public addresses and where they are known from.

    Attributes:
        addresses: IPv4 before IPv6; empty if they could not be determined.
        source: ``configured``, ``dns``, ``instance metadata``, or several joined by ``and``.
        local: this host's own addresses, IPv4 before IPv6.
        sayings: what each name answered; empty if everything is configured.
    """

    addresses: tuple[str, ...]
    source: str
    local: tuple[str, ...]
    sayings: tuple[Saying, ...] = ()

    @property
    def sentence(self) -> str:
        """The addresses in one line, such as ``this host is 10.0.3.7; it leaves as 203.0.113.10``."""
        local = f"this host is {', '.join(self.local)}" if self.local else "this host has no address"
        if self.addresses and set(self.addresses) <= set(self.local):
            return local
        if self.addresses:
            how = {"configured": "as configured", "dns": "as the DNS says"}.get(self.source, f"says {self.source}")
            return f"{local}; it leaves as {', '.join(self.addresses)} ({how})"
        said = "; ".join(f"{each.source}: {each.address or each.problem}" for each in self.sayings)
        return f"{local}; which address it leaves as is not known ({said or 'nobody was asked'})"


def find(config: Config, resolver: Resolver) -> Egress:
    """The public addresses: those configured; for ``auto`` what two names agree on, else the instance's metadata.

    Takes at most about ``TIMEOUT`` plus one second for the metadata.
    """
    fixed = tuple(str(address) for address in config.public_ip if address != "auto")
    mine = local_addresses()
    if "auto" not in config.public_ip:
        return Egress(_ordered(fixed), "configured", mine)
    known = {ipaddress.ip_address(address).version for address in fixed}
    versions = [version for version in (4, 6) if version not in known and (version == 4 or _has(mine, 6))]
    sayings = _ask_all(config.dns.egress, versions, resolver)
    found = [address for version in versions if (address := agreed(sayings, version))]
    sources = (["configured"] if fixed else []) + (["dns"] if found else [])
    if 4 in versions and not _has(found, 4) and (hint := instance.ask().public_ipv4):
        found.append(hint)
        sources.append("instance metadata")
    return Egress(_ordered((*fixed, *found)), " and ".join(sources), mine, tuple(sayings))


def _has(addresses: Sequence[str], version: int) -> bool:
    return any(ipaddress.ip_address(address).version == version for address in addresses)


def _ordered(addresses: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(addresses), key=lambda address: ipaddress.ip_address(address).version))


def agreed(sayings: Sequence[Saying], version: int) -> str:
    """The address of this IP version that ``AGREE`` names returned; empty if there is none."""
    said = [each.address for each in sayings if each.version == version and each.address]
    return next((address for address in said if said.count(address) >= AGREE), "")


def local_addresses() -> tuple[str, ...]:
    """The local addresses of outgoing connections; none for an IP version without a route."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))  # sends nothing
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return tuple(found)


def _ask_all(names: Sequence[str], versions: Sequence[int], resolver: Resolver) -> list[Saying]:
    """Ask all names in parallel until enough agree, all have answered, or the time is up."""
    answers: queue.SimpleQueue[Saying] = queue.SimpleQueue()
    end = time.monotonic() + TIMEOUT
    for version in versions:
        for name in names:
            # never joined: the answer of a thread that hangs is not needed
            threading.Thread(
                target=lambda *said: answers.put(_ask(*said)), args=(name, version, resolver), daemon=True
            ).start()
    sayings: list[Saying] = []
    while len(sayings) < len(names) * len(versions) and not all(agreed(sayings, version) for version in versions):
        try:
            sayings.append(answers.get(timeout=max(end - time.monotonic(), 0)))
        except queue.Empty:
            answered = {(each.source, each.version) for each in sayings}
            left = [(name, version) for version in versions for name in names if (name, version) not in answered]
            sayings += [Saying(name, version, problem="no answer in time") for name, version in left]
    return sayings


def _ask(egress: str, version: int, resolver: Resolver) -> Saying:
    """Ask one name, in dig's notation: ``NAME [[CH] TXT] @SERVER``."""
    name, *kind, server = egress.removesuffix(" ").replace("@", "").split()
    rtype: Literal["A", "AAAA"] = "A" if version == 4 else "AAAA"
    try:
        addresses = [server] if ipaddress.ip_address(server).version == version else []
        problem = f"{server} is not IPv{version}"
    except ValueError:
        answer = resolver.query(server, rtype)
        addresses, problem = list(answer.values), answer.detail or f"{server} has no IPv{version} address"
    if not addresses:
        return Saying(egress, version, problem=problem)
    said = ask(addresses[0], name, "TXT" if kind else rtype, timeout=TIMEOUT, rclass="CH" if "CH" in kind else "IN")
    for value in said.values:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            continue  # a TXT answer may hold more, such as the client subnet
        if address.version == version and not is_nobody(address):
            return Saying(egress, version, str(address))
    problem = said.detail or (
        f"said {', '.join(said.values)}, which is not a host's address" if said.found else str(said.status)
    )
    return Saying(egress, version, problem=problem)
