"""A line to the log, from a process beside the supervisor."""

from postroad.events import syslog
from postroad.runtime.paths import LOG_SOCKET


def tell(level: str, message: str, patience: float = 0.0) -> None:
    """Give the log a line; a log that does not read is waited for so many seconds."""
    syslog.tell(LOG_SOCKET, level, message, patience)


def tell_as_sendmail(message: str) -> None:
    """Give the log a line in sendmail's words, of what a process of ours decided in its place."""
    syslog.tell(LOG_SOCKET, "notice", message, program="sendmail")
