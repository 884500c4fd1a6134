"""Runs the checks side by side, within a time that does not depend on what they meet."""

import time
from collections.abc import Iterator, Sequence
from functools import partial

from postroad.checks.context import CheckFacts, Context, Late, Task
from postroad.checks.model import Check, Finding, Level
from postroad.config.model import Config
from postroad.dns import egress
from postroad.dns.resolver import Resolver, servers
from postroad.runtime.paths import STATE
from postroad.secrets import keys
from postroad.secrets.keys import Stage
from postroad.secrets.rotation import date

LIMIT = 8.5
"""Seconds for all checks together; with the start of the program and its end less than ten."""
LAST_LOOKUP = 6.5
"""Seconds after which no lookup is waited for: what was learnt until then is told."""
GRACE = 0.2
"""Seconds that all checks together have after the end, for what ends when its time does."""
LOOKUP = 2.5
"""Seconds for one lookup: some need the answer of another first."""


def begin(config: Config, *, short: bool = False) -> Context:
    """What the checks of one run share; its time starts now."""
    addresses = [str(address) for address in config.dns.servers]
    resolver = Resolver(servers(addresses), timeout=LOOKUP, deadline=LAST_LOOKUP)
    deadline = time.monotonic() + LIMIT
    return Context(config, resolver, partial(find_facts, config, resolver), deadline=deadline, short=short)


def find_facts(config: Config, resolver: Resolver) -> CheckFacts:
    """The addresses the world sees, and the records of the keys in use."""
    dkim, coming, past = {}, {}, {}
    for each in keys.published(config, STATE, time.time()):
        value = keys.value(each)
        if each.stage is Stage.ACTIVE:
            dkim[each.key.name] = value
        elif each.stage is Stage.NEXT:
            coming[each.key.name] = value
        else:
            retired, end = each.until
            past[each.key.name] = (value, date(retired), date(end))
    if not config.delivery.goes_to_receivers:
        return CheckFacts((), dkim, "all mail goes to smarthosts", coming, past)
    found = egress.find(config, resolver)
    return CheckFacts(found.addresses, dkim, found.sentence, coming, past)


def examine(checks: Sequence[Check], context: Context) -> Iterator[tuple[Check, list[Finding]]]:
    """Run checks at the same time, and give each with its findings, in the order of ``checks``.

    One that raises, or does not end in time, has a finding that says so.
    """
    tasks = [(check, Task(partial(_findings, check, context))) for check in checks]
    for check, task in tasks:
        try:
            yield check, task.result(context.deadline + GRACE - time.monotonic())
        except Late:
            unfinished = "this check did not end in time, so its result is unknown"
            fix = f"run it alone: --only {check.ID}"
            yield check, [Finding(check.ID, Level.WARNING, unfinished, fix=fix, unknown=True)]
        except Exception as error:  # noqa: BLE001 - a check that fails must not hide what the others found
            yield check, [_broken(check, error)]


def _findings(check: Check, context: Context) -> list[Finding]:
    return list(check.run(context))


def _broken(check: Check, error: Exception) -> Finding:
    trace, where = error.__traceback__, ""
    while trace:
        where = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    seen = f"{type(error).__name__}: {error} ({where})"
    return Finding(
        check.ID, Level.ERROR, "this check itself failed, so its result is unknown", seen, "this is a bug: report it"
    )
