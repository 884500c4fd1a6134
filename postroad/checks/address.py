"""Whether it is known which addresses the world sees: the other checks need them."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level

ID = "public-address"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding."""
    if not context.config.delivery.goes_to_receivers:
        yield Finding(ID, Level.INFO, "all mail goes to smarthosts: receivers see their addresses, not this host's")
        return
    facts = context.facts
    if facts.addresses:
        yield Finding(ID, Level.OK, f"mail leaves as {', '.join(facts.addresses)}", facts.how)
    else:
        yield Finding(
            ID,
            Level.ERROR,
            "it is not known which address the world sees, so nothing can be checked against it",
            facts.how,
            "set public_ip to the address that mail leaves from, such as the NAT gateway's",
            unknown=True,
        )
