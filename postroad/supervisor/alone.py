"""One server in a container, and one on a state volume: locks that are held for as long as the process lives.

The lock goes with the process, so a server that was killed leaves nothing to clear away. It holds between containers
of one host, and over NFS between hosts. Standard library only.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from postroad.errors import InstallError
from postroad.runtime.paths import RUN, STATE

LOCK = "server.lock"


def claim() -> None:
    """Lock the container and the state volume for this server.

    Raises:
        InstallError: another server has one of them.
    """
    if _held(RUN / LOCK) is not None:
        raise InstallError(
            "a server runs in this container already, and goes on as it was: `postroad reload` lets it read its"
            " configuration again, `postroad --help` lists the commands"
        )
    if (name := _held(STATE / LOCK)) is not None:
        raise InstallError(
            f"the server in container {name or '(unknown)'} has the state volume, {STATE}, and two on one would harm"
            " each other's keys and events: stop that one first, or give this one volumes of its own"
        )


def holder() -> str | None:
    """The host name of the container whose server has the state volume; None: nobody's, or there is no such volume."""
    try:
        descriptor = os.open(STATE / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # no server has run on it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(descriptor) or "(unknown)"
    except OSError:
        return None  # a file system without locks
    finally:
        os.close(descriptor)
    return None


def _held(path: Path) -> str | None:
    """Lock a file; None: it is ours, or can't be locked; else who has it: the host name of its container."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # a folder that can't be written is told of by who needs it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        name = _name(descriptor)
        os.close(descriptor)
        return name
    except OSError:
        os.close(descriptor)
        return None  # a file system without locks
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, os.uname().nodename.encode() + b"\n", 0)
    return None  # never closed: the lock ends with the process


def _name(descriptor: int) -> str:
    return os.pread(descriptor, 100, 0).decode(errors="replace").strip()
