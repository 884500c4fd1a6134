"""Which messages of the queue are to be tried again: a process that reads all of it, so that the front need not.

Prints a line for each, the one that was tried longest ago first: queue id, and the domain of a recipient.
"""

import sys
import time

from postroad.runtime.paths import QUEUE
from postroad.sendmail import queue

SLACK = 1.0
"""Seconds that an attempt may be early: sendmail notes whole ones."""


def main() -> int:
    """Print what is due: ``delivery.queue.retry`` in seconds, and ``untried`` for what was never tried, however new.

    The process that was to try that is gone where the front begins: nobody else would before ``retry`` is over.
    """
    retry, untried, now = float(sys.argv[1]), sys.argv[2:] == ["untried"], time.time()
    due = []
    for path in QUEUE.glob("qf*"):  # those of routes with limits are in folders below, and the shaper's
        message = queue.read(path)
        if message is None:
            continue
        when = now if untried and message.last_try is None else message.next_try(retry, now)
        if when is not None and when <= now + SLACK:
            due.append((message.last_try or 0, message.queue_id, min(message.domains, default="")))
    sys.stdout.writelines(f"{queue_id} {domain}\n" for _, queue_id, domain in sorted(due))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
