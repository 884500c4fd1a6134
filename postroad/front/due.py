"""Which messages of the queue are to be tried again: a process that reads all of it, so that the front need not.

Prints a line for each, the one that was tried longest ago first: queue id, and the domains of recipients. Before those
whose senders have to be told that they wait, or that they come back, stands ``LATE``.
"""

import sys
import time

from postroad.runtime.paths import QUEUE
from postroad.sendmail import queue

LATE = "!"
MOST_DOMAINS = 20
"""Domains of a message that are printed."""
SLACK = 1.0
"""Seconds that an attempt may be early: sendmail notes whole ones."""


def main() -> int:
    """Print what is due: ``delivery.queue.retry`` in seconds, and ``untried`` for what was never tried, however new.

    Between them stands after how many seconds senders are told, with commas.

    The process that was to try that is gone where the front begins: nobody else would before ``retry`` is over.
    """
    retry, untried, now = float(sys.argv[1]), sys.argv[3:] == ["untried"], time.time()
    tell = [float(each) for each in sys.argv[2].split(",") if each]
    due = []
    for path in QUEUE.glob("qf*"):  # those of routes with limits are in folders below, and the shaper's
        message = queue.read(path)
        if message is None:
            continue
        when = now if untried and message.last_try is None else message.next_try(retry, now)
        if when is not None and when <= now + SLACK:
            domains = sorted(domain for domain in message.domains if not set(domain) & {" ", "\n"})[:MOST_DOMAINS]
            arrived, tried = message.arrived or now, message.last_try or 0
            late = LATE if any(tried < arrived + limit <= now for limit in tell) else ""
            due.append((tried, f"{late}{message.queue_id}", " ".join(domains)))
    sys.stdout.writelines(f"{queue_id} {domains}\n" for _, queue_id, domains in sorted(due))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
