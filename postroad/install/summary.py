"""The lines that a start and ``postroad check`` print of a configuration: its sources, who may send, warnings."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from postroad.config.load import Loaded
from postroad.config.model import Config
from postroad.install.material import Material
from postroad.runtime.paths import EVENTS, RUN
from postroad.secrets import files as named_files
from postroad.sendmail import networks, outbound

SHARED = f"{RUN} can be written by every user of this container: let nothing else run in it"


def sources(loaded: Loaded) -> str:
    """The sources of ``hostname`` and ``domains``, in one line."""
    names = ", ".join(domain.name for domain in loaded.config.domains)
    return (
        f"hostname {loaded.config.hostname} from {loaded.source('hostname')}; domains {names} from"
        f" {loaded.source('domains')}"
    )


def policy(config: Config, around: networks.Surroundings) -> str:
    """Who may send through this relay, and whether its mail keeps to MTA-STS, in one line."""
    trust_gateway = config.clients.trust_gateway
    trusted = [str(network) for network in networks.trusted(config.clients.networks, around, gateways=trust_gateway)]
    gateways = [] if trust_gateway else [str(router) for router in around.gateways]
    without = f" (not the gateways {', '.join(gateways)})" if gateways and trusted else ""
    overlays = ", ".join(map(str, around.overlays)) if "auto" in config.clients.networks else ""
    if overlays:
        without += f" (nor for the overlay {overlays}, which may be Swarm's ingress, unless clients.networks names it)"
    senders = ", ".join(domain.name + (" and subdomains" if domain.subdomains else "") for domain in config.domains)
    names = f" and for users {', '.join(user.name for user in config.clients.users)}" if config.clients.users else ""
    sts = "; keeping to recipients' MTA-STS policies" if config.delivery.tls.mta_sts else ""
    return f"relaying for {', '.join(['postroad send', *trusted])}{without}{names}; senders in {senders}{sts}"


def warnings(loaded: Loaded, material: Material, around: networks.Surroundings) -> Iterator[str]:
    """What is no reason not to start, a line each: a start and ``postroad check`` tell the same."""
    config = loaded.config
    yield from material.pair.warnings
    yield from outbound.warnings(config.delivery, datetime.now(UTC).date(), around.own)
    yield from network_warnings(config, around)
    if _others_may_write():
        yield SHARED
    yield from named_files.replaced([*loaded.files, *map(Path, material.watched)])
    if config.events.enabled and EVENTS.exists() and (problem := named_files.unwritable(EVENTS, "the event store")):
        yield problem


def network_warnings(config: Config, around: networks.Surroundings) -> list[str]:
    """Whether ``clients.networks: auto`` trusts nobody here, or only a part, and what to set."""
    return networks.warnings(config, around, kubernetes="KUBERNETES_SERVICE_HOST" in os.environ)


def _others_may_write() -> bool:
    """Whether these are other users, as in a volume that Kubernetes makes: our own group has us, root's has root."""
    found = RUN.stat()
    return bool(found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in {0, os.getgid()}))
