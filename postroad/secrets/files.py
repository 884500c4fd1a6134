"""The one reader of the files that a configuration names: secrets, keys, certificates. Its errors say what to do."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from postroad import system
from postroad.config import unreadable
from postroad.errors import CommandError, InstallError

LARGEST = 2**20
"""Octets of a file; far more than any of these files needs."""
LARGEST_BUNDLE = 2**23
"""Octets of a file of authorities; the system's own bundle has a quarter of a megabyte."""
MOUNTS = Path("/proc/self/mountinfo")
VOLUME = re.compile(r"/volumes/([^/]+)/_data$")

T = TypeVar("T")
R = TypeVar("R")


def read(where: str, path: Path, limit: int = LARGEST) -> bytes:
    """Up to ``limit`` octets of a file.

    Args:
        where: the beginning of an error message: the key in the form ``At 'tls.key_file'``.
        path: the file.
        limit: octets.

    Raises:
        InstallError: it does not exist, is not a regular file, or this user can't read it.
    """
    try:
        # opening a FIFO would block until it has a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            data = b""
            while regular and len(data) < limit and (part := file.read(limit - len(data))):
                data += part
    except OSError as error:
        raise InstallError(f"{where}: {path} {_unread(path, error)}") from error
    if not regular:
        raise InstallError(f"{where}: {path} {_irregular(path)}")
    return data


def _unread(path: Path, error: OSError) -> str:
    """Why a file can't be read and what to do, as the rest of a sentence that begins with its path."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "is not there: mount the file, or correct the key"
    if error.errno in {errno.EISDIR, errno.ENXIO}:
        return _irregular(path)
    return unreadable.reason(path, error)


def _irregular(path: Path) -> str:
    if path.is_dir():
        return (
            "is a folder, not a file: Docker makes one where the file to mount is missing on the host; put the file"
            " there and create the container again"
        )
    return "is not a regular file: mount one"


def unwritable(path: Path, purpose: str) -> str:
    """What is wrong with a folder that must be writable, and what to do; empty if nothing is wrong."""
    uid, gid = os.getuid(), os.getgid()
    if not path.is_dir():
        return f"{path} ({purpose}) is not there: mount a folder or volume there that uid {uid} can write"
    if os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return ""
    said = f"{path} ({purpose}) can't be written by uid {uid}{unreadable.owner(path)}"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{said}: it is mounted read-only; mount one that can be written"
    if "tmpfs" in purpose:
        return f"{said}: mount a tmpfs there that can, such as --tmpfs {path}:mode=0700,uid={uid},gid={gid}"
    if volume := VOLUME.search(mounted(path)):
        folder = f"\"$(docker volume inspect --format '{{{{.Mountpoint}}}}' {volume[1]})\""
        return f"{said}: run `chown -R {uid}:{gid} {folder}` on the host"
    return f"{said}: run `chown -R {uid}:{gid} FOLDER` on the host, FOLDER being what is mounted there"


def mounted(path: Path) -> str:
    """The mount at or above a path, other than ``/``: ``tmpfs``, or the root within its own file system (proc(5)).

    Empty if there is none.
    """
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    mounts = {}
    for fields in (line.split() for line in lines):
        # ID parent major:minor ROOT POINT options [optional...] - TYPE source super-options
        mounts[fields[4]] = "tmpfs" if fields[fields.index("-", 6) + 1] == "tmpfs" else fields[3]
    return next((mounts[str(each)] for each in (path, *path.parents[:-1]) if str(each) in mounts), "")


def replaced(paths: Iterable[Path]) -> list[str]:
    """A warning for each file that was replaced on the host since it was mounted.

    A bind mount of a single file refers to the file, not to its name: an editor saves a new file under that name, and
    the container keeps the old one, which has no name any more.
    """
    found = []
    for path in paths:
        try:
            unlinked = path.stat().st_nlink == 0
        except OSError:
            continue
        if unlinked:
            found.append(
                f"{path} was replaced on the host, and this container still has the old file, as it is mounted by"
                " itself: restart the container (docker compose restart), and mount its folder instead"
            )
    return found


def all_of(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item and return the results in order.

    Raises:
        InstallError: with the problems of all items, one line each.
    """
    results, problems = [], []
    for item in items:
        try:
            results.append(function(item))
        except (CommandError, InstallError) as error:
            problems.append(str(error))
    refuse_all(problems)
    return results


def refuse_all(problems: Sequence[str]) -> None:
    """Report all problems at once, if there are any.

    Raises:
        InstallError: with one line per problem.
    """
    if problems:
        raise InstallError("\n".join(problems))


def password(title: str, path: Path) -> str:
    """The password in a file; ``title`` begins an error message: its key, in the form ``At 'KEY'``.

    Raises:
        InstallError: the file can't be read, or does not hold a password.
    """
    where = f"{title}: {path}"
    try:
        found = read(title, path, 1025).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InstallError(f"{where} is not UTF-8 text: keep the password in it, on one line") from None
    if not found:
        raise InstallError(f"{where} is empty: put the password into it, on one line")
    if len(found) > 255 or not found.isprintable():
        raise InstallError(
            f"{where} is not a password: it has more than 255 characters or control characters; keep one line in it"
        )
    return found


def authorities(path: Path | None, key: str = "delivery.tls.ca_file") -> str:
    """The certificates in the file that a key names, as openssl writes them; empty if no file is named.

    Raises:
        InstallError: the file can't be read, or is not PEM.
    """
    if path is None:
        return ""
    title = f"At '{key}'"
    where = f"{title}: {path}"
    text = read(title, path, LARGEST_BUNDLE).decode("latin-1")
    certificates = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    if not certificates:
        raise InstallError(f"{where} {'holds no certificate' if text.strip() else 'is empty'}: give a PEM file")
    try:
        return "".join(system.run(["openssl", "x509"], stdin=each) for each in certificates)
    except CommandError as error:
        raise InstallError(f"{where} holds a certificate that openssl can't read: give a PEM file") from error
