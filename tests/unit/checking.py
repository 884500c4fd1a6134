"""A check by itself: the configuration, the DNS as a dictionary, and the facts of the test."""

import time
from typing import Any, TypeAlias

from postroad.checks.context import CheckFacts, Context
from postroad.checks.model import Check
from postroad.config.model import Config
from tests.oracle.dns_table import TableResolver

Zone: TypeAlias = dict[str, dict[str, tuple[str, ...]]]
ADDRESS = "203.0.113.10"
SIX = "2001:db8::10"
DEAD: dict[str, tuple[str, ...]] = {"TIMEOUT": ("TIMEOUT",)}
"""A name whose servers answer nothing."""


def context(zone: Zone, *, facts: CheckFacts | None = None, seconds: float = 9, **config: Any) -> Context:
    values = {"hostname": "mail.x.example", "domains": ["x.example"], **config}
    known = facts or CheckFacts((ADDRESS,), {})
    return Context(
        Config.model_validate(values), TableResolver(zone), lambda: known, deadline=time.monotonic() + seconds
    )


def levels(check: Check, made: Context) -> list[tuple[str, str]]:
    """(level, message) of each finding."""
    return [(str(each.level), each.message) for each in check.run(made)]
