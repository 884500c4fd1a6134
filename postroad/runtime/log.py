"""A line to the log, from a process beside the supervisor: the one client of the log's FIFO and socket."""

from collections.abc import Callable

from postroad.events import syslog
from postroad.events.syslog import Severity
from postroad.runtime.paths import LOG_SOCKET

Tell = Callable[[Severity, str], object]
"""What gives the log a line: ``tell``, or what a test puts in its place."""


def tell(level: Severity, message: str, patience: float = 0.0, program: str = "postroad") -> bool:
    """Give the log a line; False where it is lost.

    Args:
        level: syslog's name of it.
        message: the line; what is beyond 2,000 octets is cut off.
        patience: seconds to wait for a log that does not read.
        program: who says it.
    """
    return syslog.tell(LOG_SOCKET, level, message, patience, program)


def tell_as_sendmail(message: str) -> None:
    """Give the log a line in sendmail's words, of what a process of ours decided in its place."""
    tell("notice", message, program="sendmail")
