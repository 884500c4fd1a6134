"""``python -m postroad.checks start|regular``: the doctor beside the server that runs.

``start``: the short form, once, after a start; what fails goes to the log, a line each. ``regular``: every so often;
what has changed since the last look is an event. The supervisor starts it in the background; it ends by itself, and
nothing depends on it.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from postroad import system
from postroad.checks import CHECKS, history
from postroad.checks.context import Late
from postroad.checks.doctor import begin, examine
from postroad.checks.model import Check, Finding, Level
from postroad.config.load import load
from postroad.config.model import Config
from postroad.errors import PostroadError
from postroad.events import own
from postroad.events.syslog import Severity
from postroad.runtime import looks
from postroad.runtime.log import tell
from postroad.runtime.paths import DOCTOR

LEVELS: dict[Level, Severity] = {Level.ERROR: "err", Level.WARNING: "warning"}
"""What is told after a start, and as what in syslog."""
LONGEST = 120
"""Seconds after which it is ended, whatever it does."""
CONFIRM = 30.0
"""Seconds at most until what has begun to fail is looked at once more, before it is told: a datagram may get lost."""
PATIENCE = 1.0
"""Seconds that a line waits for a log that does not read."""


def line(finding: Finding) -> str:
    """A finding in a line."""
    seen = f" ({finding.seen[:500]})" if finding.seen else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    record = finding.record
    publish = f": {record.name} {record.type} {record.value}" if record else ""
    return f"doctor: {finding.id}: {finding.message}{seen}{fix}{publish}".replace("\n", " ")


def look_after_start(config: Config) -> None:
    """Tell what is wrong, a line each."""
    for _, findings in examine([check for check in CHECKS if check.SHORT], begin(config, short=True)):
        for finding in findings:
            if finding.level in LEVELS:
                tell(LEVELS[finding.level], line(finding), PATIENCE)


def look_regularly(config: Config, pause: float) -> None:
    """Tell what has changed since the last look; ``pause`` seconds later what fails is looked at again, to be sure."""
    before = looks.read(DOCTOR)
    found, blind = run_checks(config, CHECKS)
    after, changes = history.compare(before, found, time.time(), blind=blind)
    if doubtful := {change.finding.id for change in changes if change.failed_for is None}:
        time.sleep(pause)
        again, blind = run_checks(config, [check for check in CHECKS if check.ID in doubtful])
        after, changes = history.compare(before, {**found, **again}, time.time(), blind=blind)
    for change in changes:
        tell("notice" if change.failed_for is not None else "err", own.doctor(change.fields()), PATIENCE)
    looks.write(DOCTOR, after)  # last: what is told twice is better than what is never told


def run_checks(config: Config, checks: Sequence[Check]) -> tuple[Mapping[str, list[Finding]], bool]:
    """What these checks find, by their ids; and whether the public address, which others need, is not known."""
    context = begin(config, short=True)
    found = {check.ID: findings for check, findings in examine(checks, context)}
    try:
        blind = config.delivery.goes_to_receivers and not context.facts.addresses
    except Late:
        blind = True
    return found, blind


def main() -> int:
    """Look, and tell the log; return the exit code, which nobody asks for."""
    os.nice(19)  # the mail goes first
    with suppress(OSError):  # and where memory runs out, it stays
        system.offer_to_oom_killer()
    signal.alarm(LONGEST)
    try:
        config = load()
        if sys.argv[1:] == ["regular"]:
            every = config.doctor.every.total_seconds() if config.doctor.every else CONFIRM
            look_regularly(config, min(CONFIRM, every / 4))
        else:
            look_after_start(config)
    except PostroadError as error:  # the configuration was changed since the server started, or a volume is full
        sys.stderr.write(f"postroad: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
