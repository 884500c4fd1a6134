"""Whether the resolvers answer, each of them, and whether they validate DNSSEC, which DANE needs."""

from collections.abc import Iterator

from postroad.checks.context import Context, side_by_side
from postroad.checks.model import Finding, Level
from postroad.dns.resolver import ask

ID = "resolver"
SHORT = True

TIMEOUT = 3.0


def run(context: Context) -> Iterator[Finding]:
    """One finding for each that fails, one for the rest, one for DNSSEC."""
    limit = min(TIMEOUT, max(context.left / 2, 0.1))
    # the root is always there, and signed
    answers = side_by_side(lambda server: ask(server, ".", "SOA", timeout=limit), context.resolver.servers)
    good = [answer for answer in answers if not answer.unknown]
    for answer in answers:
        if answer.unknown:
            yield Finding(
                ID,
                Level.WARNING if good else Level.ERROR,
                f"the resolver {answer.server} does not answer",
                answer.detail or str(answer.status),
                "name resolvers that do: dns: in compose.yaml, or docker run --dns",
            )
    if good:
        yield Finding(ID, Level.OK, "the DNS answers", ", ".join(answer.server for answer in good))
        if not all(answer.authenticated for answer in good):
            yield Finding(
                ID,
                Level.INFO,
                "the resolver does not validate DNSSEC: DANE can't be used",
                "no AD flag in the answer for the root zone",
                "nothing, unless you want DANE: then use a resolver that validates, such as unbound",
            )
