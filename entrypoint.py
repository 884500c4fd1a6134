#!/opt/postroad/venv/bin/python3
"""The image's entrypoint: ``run``, or no word at all, supervises the daemons; other words are commands."""

import sys

if sys.argv[1:] in ([], ["run"]):
    # the supervisor stays in memory: it must not load what the commands need
    from postroad.supervisor.main import main
else:
    from postroad.cli import main

if __name__ == "__main__":
    sys.exit(main())
