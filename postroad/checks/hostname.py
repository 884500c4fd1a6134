"""Whether the host name leads to the addresses that the world sees (A, AAAA)."""

import ipaddress
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered

ID = "hostname"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each address."""
    host = context.config.hostname
    for address in context.facts.addresses:
        rtype = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
        answer = context.resolver.query(host, rtype)
        if answer.unknown:
            yield unanswered(ID, answer)
        elif address in answer.values:
            yield Finding(ID, Level.OK, f"{host} leads to {address}")
        else:
            yield Finding(
                ID,
                Level.ERROR,
                f"{host} does not lead to {address}, where its mail comes from",
                ", ".join(answer.values) or f"no {rtype} record ({answer.status})",
                f"publish the {rtype} record; if mail leaves from another address, set public_ip",
                context.record(host, rtype, address),
            )
