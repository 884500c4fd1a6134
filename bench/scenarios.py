"""What is measured: scenarios that each vary one thing from a base."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Receivers = Literal["smarthost", "mx", "mx-half-dead"]

SENDER_DOMAIN = "sender.example"
LIVE = [f"live{number}.example" for number in range(1, 21)]
"""Recipient domains whose MX hosts, one each, take mail."""
DEAD = [f"dead{number}.example" for number in range(1, 11)]
"""Recipient domains whose MX hosts, one each, answer no connection."""


@dataclass(frozen=True)
class Scenario:
    """One load and what receives it.

    Attributes:
        name: for ``--only``.
        differs: in what, from which other scenario.
        messages: how many, in one round.
        sessions: clients at once.
        size: bytes of a message's text.
        reuse: clients keep their connection; else one for each message.
        rate: messages begun a second, over all sessions; 0: as fast as they go.
        receivers: one relay host, 20 domains with an MX host each, or the latter with half of them dead.
        delay_ms: between a message's end and the receiver's answer.
        tls: receivers offer STARTTLS, and a relay host is spoken to with TLS only.
        sizes: bytes of text of message i are the (i mod n)th of these; none: ``size`` for all.
    """

    name: str
    differs: str
    messages: int = 400
    sessions: int = 8
    size: int = 2048
    reuse: bool = False
    rate: int = 0
    receivers: Receivers = "smarthost"
    delay_ms: int = 0
    tls: bool = False
    sizes: Sequence[int] = ()

    @property
    def domains(self) -> list[str]:
        """Where message i goes: to the (i mod n)th of these."""
        match self.receivers:
            case "smarthost":
                return LIVE[:1]
            case "mx":
                return LIVE
            case "mx-half-dead":
                return [domain for pair in zip(LIVE, DEAD, strict=False) for domain in pair]

    @property
    def arriving(self) -> set[int]:
        """The numbers of the messages that go to live receivers."""
        domains = self.domains
        return {number for number in range(self.messages) if domains[number % len(domains)] in LIVE}

    @property
    def has_dead(self) -> bool:
        """Some messages stay in the queue."""
        return self.receivers == "mx-half-dead"

    @property
    def is_fast(self) -> bool:
        """Receivers answer at once."""
        return self.delay_ms == 0

    @property
    def is_paced(self) -> bool:
        """The load is given, so that throughput says nothing and waiting says all."""
        return self.rate > 0


BASE = Scenario("base", "fast receiver, one relay host, one message a connection, 2 KB, 8 sessions")
_FIFTY = replace(BASE, name="50-sessions", differs="base with 50 sessions", sessions=50, messages=500)
_SLOW = replace(BASE, name="slow", differs="base with a receiver that takes 300 ms", delay_ms=300, messages=240)
_PACED = replace(
    BASE, name="paced", differs="base with 20 messages a second: the relay is at rest", rate=20, messages=120
)
_KB = 1024
GREAT = replace(BASE, name="1-MB", differs="base with 1 MB", size=_KB * _KB, messages=60)
MIXED = Scenario(
    "mixed",
    "30 sessions, 2 KB to 500 KB, 20 domains that have an MX each and take 50 ms",
    messages=700,
    sessions=30,
    receivers="mx",
    delay_ms=50,
    sizes=(2 * _KB, 2 * _KB, 50 * _KB, 2 * _KB, 2 * _KB, 50 * _KB, 500 * _KB),
)

SCENARIOS = [
    BASE,
    replace(BASE, name="reused", differs="base with reused connections", reuse=True, messages=600),
    replace(BASE, name="1-session", differs="base with 1 session", sessions=1, messages=60),
    _FIFTY,
    replace(BASE, name="200-sessions", differs="base with 200 sessions", sessions=200, messages=600),
    replace(_FIFTY, name="50-sessions-reused", differs="50-sessions with reused connections", reuse=True, messages=600),
    replace(BASE, name="50-KB", differs="base with 50 KB", size=50 * 1024, messages=300),
    GREAT,
    _SLOW,
    replace(_SLOW, name="slow-reused", differs="slow with reused connections", reuse=True, messages=160),
    replace(BASE, name="tls", differs="base with TLS and a receiver that takes 100 ms", tls=True, delay_ms=100),
    replace(BASE, name="20-mx", differs="base with 20 domains that have an MX each", receivers="mx"),
    replace(BASE, name="20-mx-half-dead", differs="20-mx with half of the domains dead", receivers="mx-half-dead"),
    MIXED,
    _PACED,
    replace(_PACED, name="paced-slow", differs="paced with a receiver that takes 300 ms", delay_ms=300),
    replace(_PACED, name="paced-half-dead", differs="paced with 20-mx-half-dead's receivers", receivers="mx-half-dead"),
]

SHORT = [replace(BASE, messages=100)]
"""What ``BENCH=short`` measures, once: it shows that everything works, and proves nothing."""


def steady(capacity: float, minutes: float) -> Scenario:
    """``mixed`` for so many minutes, at half of a throughput in messages a second."""
    rate = max(1, round(capacity / 2))
    text = f"mixed at {rate} messages a second, half of what was reached, for {minutes:g} minutes"
    return replace(MIXED, name="steady", differs=text, rate=rate, messages=round(rate * minutes * 60))
