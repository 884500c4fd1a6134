#!/usr/bin/env -S --block-signal=HUP --block-signal=INT --block-signal=TERM /opt/postroad/venv/bin/python3
"""The image's entrypoint: ``run`` supervises the daemons; other words are commands, and no word at all prints them.

The kernel drops a signal that PID 1 has no handler for: from the first moment on they are blocked, and wait until the
supervisor takes them.
"""

import os
import signal
import sys

AS_ROOT = """\
postroad: this runs as root, which Postroad refuses. Take `user:` out of the compose file (--user of docker run, -u of
docker exec, runAsUser: 0 in Kubernetes), and it runs as uid 2525; files that you mount must be readable for that uid.
"""
# a shell that completes a command line calls us with this variable, and whatever words there are
if sys.argv[1:] == ["run"] and "_POSTROAD_COMPLETE" not in os.environ:
    # the supervisor stays in memory: it must not load what the commands need
    from postroad.supervisor.main import main
else:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
    from postroad.cli import main

if __name__ == "__main__":
    if os.getuid() == 0:
        # it would leave files that uid 2525 can't change, and sendmail trusts root with more than it needs
        sys.stderr.write(AS_ROOT)
        sys.exit(2)
    sys.exit(main())
