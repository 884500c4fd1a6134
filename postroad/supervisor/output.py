"""What daemons print: a pipe each, whose lines become events like all else in the log. Standard library only."""

import os
from collections.abc import Iterator

LONGEST = 4000
"""Octets of a line; what is longer comes in pieces."""
AT_ONCE = 1 << 16


class Output:
    """The reading end of a daemon's standard output and error.

    Neither end waits: a daemon whose lines are not read loses them, and goes on.
    """

    def __init__(self, name: str) -> None:
        """Make the pipe; ``target`` is the end that the daemon inherits.

        Raises:
            OSError: there is no descriptor left.
        """
        self.name = name
        self._source, self.target = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""
        self.arrived = False
        """Whether the last ``read`` found anything."""
        self.ended = False
        """Whether nobody has the other end any more, and all is read."""

    def fileno(self) -> int:
        """The reading end."""
        return self._source

    def started(self) -> None:
        """Leave the other end to the daemon."""
        os.close(self.target)

    def read(self) -> Iterator[str]:
        """The lines that have come, without empty ones."""
        self.arrived = False
        try:
            data = os.read(self._source, AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.arrived = bool(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            for i in range(0, len(line), LONGEST):
                if text := line[i : i + LONGEST].decode(errors="backslashreplace").strip():
                    yield text
        self.ended = not data

    def close(self) -> None:
        """Read no more."""
        os.close(self._source)
