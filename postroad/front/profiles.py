"""Receivers: all domains behind the same MX hosts are one. What big ones say of themselves is in ``receivers.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroad import domains

PAUSE = 600.0
"""Seconds for which mail waits after a block, where the receiver says nothing of it."""
SHORT = 3
"""Letters of a label such as ``co`` or ``com`` that stands before a country's: no receiver by itself."""


@dataclass(frozen=True)
class Profile:
    """A receiver.

    Attributes:
        name: what people call it; of those that nobody knows the end of their MX hosts' names.
        hosts: ends of the names of its MX hosts.
        domains: domains known to be behind them.
        connections: most connections at once; None: not known.
        messages: most messages in a connection; None: not known.
        pause: seconds for which mail waits after a block.
        source: who says so.
    """

    name: str
    hosts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    connections: int | None = None
    messages: int | None = None
    pause: float = PAUSE
    source: str = ""


def read(data: Mapping[str, Mapping[str, Any]]) -> tuple[Profile, ...]:
    """The profiles in a file. TypeError if it is not well-formed."""
    found = []
    for name, entry in data.items():
        fields: dict[str, Any] = {}
        for key, value in entry.items():
            fields[key] = tuple(value) if isinstance(value, list) else value
        found.append(Profile(name, **fields))
    return tuple(found)


PROFILES = read(tomllib.loads(Path(__file__).with_name("receivers.toml").read_text("utf-8")))


def of_host(host: str) -> Profile:
    """The receiver that an MX host belongs to, by its name or, where it has none, its address."""
    name = host.lower().rstrip(".")
    for profile in PROFILES:
        if any(domains.is_within(name, end) for end in profile.hosts):
            return profile
    labels = name.split(".")
    # of mx1.example.net and mx2.example.net both, and not of all that is below co.kr
    shared = len(labels) > 2 and not (len(labels) == 3 and len(labels[2]) == 2 and len(labels[1]) <= SHORT)
    numeric = labels[-1].isdigit() or ":" in name
    return Profile(".".join(labels[1:]) if shared and not numeric else name)


def of_domain(domain: str) -> Profile | None:
    """The receiver of a domain that a profile names."""
    return next((profile for profile in PROFILES if domain in profile.domains), None)
