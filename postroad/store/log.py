"""A line to the log, from a process beside the supervisor."""

import socket

from postroad.events.syslog import format_datagram
from postroad.render.paths import LOG_SOCKET


def tell(level: str, message: str, patience: float = 0.0) -> None:
    """Give the log a line; a log that does not read is waited for so many seconds."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(patience)
            log.connect(str(LOG_SOCKET))
            log.send(format_datagram(level, message.replace("\n", " "))[:2000])
    except OSError:
        return
