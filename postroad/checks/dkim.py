"""Whether each key that signs is published as it is: the record parses, is not revoked, and not in test mode."""

from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.dkim_published import fault, is_revoked, seen
from postroad.dns.records import published_at

ID = "dkim"
SHORT = True


def run(context: Context) -> Iterator[Finding]:
    """One finding for each key."""
    if not context.config.dkim.enabled:
        yield Finding(ID, Level.WARNING, "mail is not signed", "dkim.enabled: false", "turn it on: dkim.enabled: true")
    for name, value in context.facts.dkim.items():
        if not value:
            fix = "let the server start, which makes it, and run this in its container"
            yield Finding(ID, Level.ERROR, f"the key of {name} is not here, or can't be read", fix=fix)
            continue
        answer = context.resolver.query(name, "TXT")
        if answer.unknown:
            yield unanswered(ID, answer)
            continue
        there = "; and ".join(answer.values) or f"no TXT record ({answer.status})"
        wrong = fault(answer.values, value)
        if wrong:
            level = Level.ERROR if wrong.fatal else Level.WARNING
            record = context.record(published_at(context.config, name), "TXT", "v=dkim1")
            yield Finding(ID, level, f"the DKIM record {name} {wrong.text}", there, "publish this TXT record", record)
        else:
            yield Finding(ID, Level.OK, f"{name} publishes the key in use")
    yield from _coming(context)
    yield from _past(context)


def _coming(context: Context) -> Iterator[Finding]:
    """One finding for each next key."""
    for name, value in context.facts.coming.items():
        found = seen(context.config, name, value, timeout=max(0.1, min(3.0, context.left - 1)))
        if found.enough:
            yield Finding(ID, Level.OK, f"{name} publishes the next key, which signs within 15 minutes", str(found))
            continue
        record = context.record(published_at(context.config, name), "TXT", "v=dkim1") if found.lack else None
        fix = "publish this TXT record" if record else "name resolvers that answer: dkim.resolvers"
        yield Finding(ID, Level.WARNING, f"the next key, {name}, waits for its record", str(found), fix, record)


def _past(context: Context) -> Iterator[Finding]:
    """One finding for each key that signed before, where there is something to do."""
    for name, (value, retired, end) in context.facts.past.items():
        answer = context.resolver.query(name, "TXT")
        if value and answer.missing:
            yield Finding(
                ID,
                Level.WARNING,
                f"{name} signed until {retired} and is not published: mail that is on its way does not verify",
                f"no TXT record ({answer.status})",
                f"publish it until {end}",
                context.record(published_at(context.config, name), "TXT", "v=dkim1"),
            )
        elif not value and answer.found and not all(map(is_revoked, answer.values)):
            yield Finding(
                ID,
                Level.INFO,
                f"{name} signed until {retired} and may be revoked since {end}",
                fix=f"remove the TXT record of {published_at(context.config, name)}, or empty its p=",
            )
