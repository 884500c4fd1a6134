"""``python -m postroad.cli``: the command line, for processes of ours that call a command."""

import sys

from postroad.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
