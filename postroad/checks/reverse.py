"""Whether each public address leads back to the host name (PTR): many receivers refuse mail otherwise."""

import ipaddress
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered

ID = "reverse-dns"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each address."""
    host = context.config.hostname
    for address in context.facts.addresses:
        pointer = ipaddress.ip_address(address).reverse_pointer
        answer = context.resolver.query(pointer, "PTR")
        if answer.unknown:
            yield unanswered(ID, answer)
            continue
        record = context.record(pointer, "PTR")
        fix = "whoever gave you the address sets its reverse DNS: `postroad dns` tells how to ask"
        if host in answer.values and len(answer.values) == 1:
            yield Finding(ID, Level.OK, f"{address} leads back to {host}")
        elif host in answer.values:
            yield Finding(
                ID,
                Level.WARNING,
                f"{address} has {len(answer.values)} reverse names: receivers look at any one of them",
                ", ".join(answer.values),
                fix,
                record,
            )
        elif any(_confirmed(context, name, address) for name in answer.values):
            # forward-confirmed, but not the name in HELO
            yield Finding(
                ID,
                Level.WARNING,
                f"{address} leads back to another name than {host}, which the mail server says it is",
                ", ".join(answer.values),
                f"{fix}; or let hostname be that name",
                record,
            )
        else:
            yield Finding(
                ID,
                Level.ERROR,
                f"{address} does not lead back to {host}",
                ", ".join(answer.values) or f"no PTR record ({answer.status})",
                fix,
                record,
            )


def _confirmed(context: Context, name: str, address: str) -> bool:
    rtype = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
    return address in context.resolver.query(name, rtype).values
