"""``python -m postroad.install``: put the configuration in force, and print what changed, a key a line.

The supervisor calls it at start and at each reload, so that the libraries it needs are in memory only meanwhile.
"""

import os
import sys

from postroad.config.load import read_all
from postroad.errors import InstallError, PostroadError, plainly
from postroad.install.generation import install


def main() -> int:
    """Install; return the exit code: 0, or 2 with the reasons on standard error."""
    try:
        for change in install(read_all()):
            print(change)  # noqa: T201 - the supervisor reads it
    except PostroadError as error:
        sys.stderr.write(f"postroad: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"postroad: {plainly(error)}\n")
        return InstallError.exit_code
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    code = main()
    sys.stdout.flush()
    # nothing is left to clean up, and taking the interpreter down costs a tenth of the whole start
    os._exit(code)
