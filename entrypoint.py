#!/usr/bin/env -S --block-signal=HUP --block-signal=INT --block-signal=TERM /opt/postroad/venv/bin/python3
"""The image's entrypoint: ``run``, or no word at all, supervises the daemons; other words are commands.

The kernel drops a signal that PID 1 has no handler for: from the first moment on they are blocked, and wait until the
supervisor takes them.
"""

import signal
import sys

if sys.argv[1:] in ([], ["run"]):
    # the supervisor stays in memory: it must not load what the commands need
    from postroad.supervisor.main import main
else:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
    from postroad.cli import main

if __name__ == "__main__":
    sys.exit(main())
