"""What is compared."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.scenarios import SENDER_DOMAIN, Scenario

RELAY_HOST = "relay.example"
SELECTOR = "bench"
PEERS_IMAGE = "postroad-bench-peers"

# for every contender: room for the generator, which is one client; the doctor would find no internet to look at
_CONFIG: Mapping[str, Any] = {
    "hostname": "mail.sender.example",
    "domains": [SENDER_DOMAIN],
    "public_ip": "203.0.113.25",
    "dkim": {"selector": SELECTOR},
    "limits": {"connections_per_client": None},
    "doctor": {"at_start": False, "every": None},
}


@dataclass(frozen=True)
class Contender:
    """One relay.

    Attributes:
        name: in tables.
        text: what it is, in a sentence.
        image: the image's tag.
        is_postroad: run as compose.yaml runs Postroad; else a peer, run as its image would be.
        config: Postroad's, over what all contenders get.
        optional: left out where the image does not know the configuration.
        waits: its clients wait for receivers, and so for the time-out of dead ones: it is not measured with these.
        port: where it takes mail.
        command: a peer's words.
    """

    name: str
    text: str
    image: str
    is_postroad: bool
    config: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    waits: bool = False
    port: int = 25
    command: tuple[str, ...] = ()

    def serves(self, scenario: Scenario) -> bool:
        """Whether it is measured there."""
        return not (self.waits and scenario.has_dead)

    def environment(self, scenario: Scenario) -> dict[str, Any]:
        """What its container gets, a value that is no text as JSON, so that it serves this scenario."""
        through = scenario.receivers == "smarthost"
        if not self.is_postroad:
            level = "encrypt" if through and scenario.tls else "may"
            return {"RELAYHOST": f"[{RELAY_HOST}]:25" if through else "", "TLS_LEVEL": level}
        smarthost = {"host": RELAY_HOST, "port": 25, "tls": "require" if scenario.tls else "none"}
        config = {**_CONFIG, **self.config, "delivery": {"smarthost": smarthost if through else None}}
        return {f"POSTROAD_{key.upper()}": value for key, value in config.items()}


_IMAGE = os.environ.get("POSTROAD_IMAGE", "postroad:latest")

CONTENDERS = [
    Contender("postroad", "the normal door, everything at its default", _IMAGE, is_postroad=True),
    Contender("popular", "Postfix as popular images have it", PEERS_IMAGE, is_postroad=False, command=("popular",)),
    Contender("best", "Postfix as well as it can be", PEERS_IMAGE, is_postroad=False, command=("best",)),
]
NORMAL, POPULAR, BEST = (contender.name for contender in CONTENDERS)
