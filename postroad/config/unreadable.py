"""Why a file can't be read by this user, and the command that mends it."""

import errno
import os
import stat
from pathlib import Path


def reason(path: Path, error: OSError | ValueError) -> str:
    """Why a file can't be read, as the rest of a sentence that begins with its path."""
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"can't be read by uid {os.getuid()}: {forbidden(path)}"
    return f"can't be read: {getattr(error, 'strerror', None) or error}"


def forbidden(path: Path) -> str:
    """Who owns a file, or a folder on the path to it, that this user can't read, and the command that fixes it."""
    uid = os.getuid()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return f"the folder {folder} is closed to it{owner(folder)}; run `chmod a+x` on it, on the host"
    return f"run `chown {uid} FILE && chmod 0400 FILE` on the host, FILE being what is mounted there{owner(path)}"


def owner(path: Path) -> str:
    """Whom a file or folder belongs to, and its mode, in brackets; empty if that can't be found out."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f" (it belongs to uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o})"
