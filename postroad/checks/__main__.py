"""``python -m postroad.checks``: the short form, after a start: what fails goes to the log, a line each.

The supervisor starts it in the background; it ends by itself, and nothing depends on it.
"""

import os
import socket
import sys

from postroad.checks import CHECKS
from postroad.checks.doctor import begin, examine
from postroad.checks.model import Finding, Level
from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.events.syslog import format_datagram
from postroad.runtime.paths import LOG_SOCKET

LEVELS = {Level.ERROR: "err", Level.WARNING: "warning"}
"""What is told, and as what in syslog."""


def line(finding: Finding) -> str:
    """A finding in a line."""
    seen = f" ({finding.seen[:500]})" if finding.seen else ""
    fix = f"; {finding.fix}" if finding.fix else ""
    record = finding.record
    publish = f": {record.name} {record.type} {record.value}" if record else ""
    return f"doctor: {finding.id}: {finding.message}{seen}{fix}{publish}".replace("\n", " ")


def main() -> int:
    """Look, and tell the log; return the exit code, which nobody asks for."""
    os.nice(19)  # the mail goes first
    try:
        config = load()
    except PostroadError as error:  # it was changed since the server started
        sys.stderr.write(f"postroad: {error}\n")
        return error.exit_code
    context = begin(config, short=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(1)
        log.connect(str(LOG_SOCKET))
        for _, findings in examine([check for check in CHECKS if check.SHORT], context):
            for finding in findings:
                if finding.level in LEVELS:
                    log.send(format_datagram(LEVELS[finding.level], line(finding)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
