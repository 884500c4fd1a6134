"""Whether ``clients.networks: auto`` stands for the networks that its reader means."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.install.generation import surroundings
from postroad.install.summary import network_warnings
from postroad.sendmail import networks

ID = "clients"
SHORT = False  # the start-up log has it


def run(context: Context) -> Iterator[Finding]:
    """A warning for each fault, or who is trusted."""
    config, around = context.config, surroundings()
    warnings = network_warnings(config, around)
    for warning in warnings:
        said, _, fix = warning.removeprefix("clients.networks: ").partition(": ")
        yield Finding(ID, Level.WARNING, f"clients.networks: {said}", fix=fix)
    if not warnings:
        trusted = networks.trusted(config.clients.networks, around, gateways=config.clients.trust_gateway)
        found = ", ".join(map(str, trusted)) or "no network"
        yield Finding(ID, Level.OK, f"trusted by address: {found}")
