"""Unix sockets of our processes in the file system. Standard library only."""

import socket
from pathlib import Path


def bound(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking unix socket at ``path`` that only this user can open, in place of one that an earlier run left.

    Raises:
        OSError: the socket can't be made there.
    """
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    try:
        made.bind(str(path))
        path.chmod(0o600)
    except OSError:
        made.close()
        raise
    return made


def listening(path: Path, backlog: int = 128) -> socket.socket:
    """The same, of a stream, listening; ``backlog`` is how many clients may wait to be accepted.

    Raises:
        OSError: the socket can't be made there.
    """
    made = bound(path)
    made.listen(backlog)
    return made
