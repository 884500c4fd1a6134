"""The files that a configuration names: secrets, keys, certificates. One reader, whose errors say what mends them."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from postroad import system
from postroad.errors import CommandError, InstallError

LARGEST = 2**20
"""Octets of a file; none of these is near it."""
LARGEST_BUNDLE = 2**23
"""Octets of a file of authorities: the system's own bundle is a quarter of a megabyte."""
MOUNTS = Path("/proc/self/mountinfo")
VOLUME = re.compile(r"/volumes/([^/]+)/_data$")

T = TypeVar("T")
R = TypeVar("R")


def read(where: str, path: Path, limit: int = LARGEST) -> bytes:
    """Up to ``limit`` octets of a file.

    Args:
        where: the beginning of an error's sentence: the key in the form ``At 'tls.key_file'``.
        path: the file.
        limit: octets.

    Raises:
        InstallError: it is not there, is no file, or this user can't read it.
    """
    try:
        # a FIFO would keep us waiting for its writer
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
    if error.errno == errno.EACCES:
        return f"can't be read by uid {os.getuid()}: {forbidden(path)}"
    return f"can't be read: {error.strerror}"


def _irregular(path: Path) -> str:
    if path.is_dir():
        return (
            "is a folder, not a file: Docker makes one where the file to mount is missing on the host; put the file"
            " there and make the container anew"
        )
    return "is no regular file: mount one"


def forbidden(path: Path) -> str:
    """Who owns a file that this user can't read, or the folder in its way, and the command that mends it."""
    uid = os.getuid()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return f"the folder {folder} is closed to it{_owner(folder)}; run `chmod a+x` on it, on the host"
    return f"run `chown {uid} FILE && chmod 0400 FILE` on the host, FILE being what is mounted there{_owner(path)}"


def _owner(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f" (it belongs to uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o})"


def unwritable(path: Path, purpose: str) -> str:
    """What is wrong with a folder that has to be written, and what to do; empty where nothing is."""
    uid, gid = os.getuid(), os.getgid()
    if not path.is_dir():
        return f"{path} ({purpose}) is not there: mount a folder or volume there that uid {uid} can write"
    if os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return ""
    said = f"{path} ({purpose}) can't be written by uid {uid}{_owner(path)}"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{said}: it is mounted read-only; mount one that can be written"
    if "tmpfs" in purpose:
        return f"{said}: mount a tmpfs there that can, such as --tmpfs {path}:mode=0700,uid={uid},gid={gid}"
    if volume := VOLUME.search(mounted(path)):
        folder = f"\"$(docker volume inspect --format '{{{{.Mountpoint}}}}' {volume[1]})\""
        return f"{said}: run `chown -R {uid}:{gid} {folder}` on the host"
    return f"{said}: run `chown -R {uid}:{gid} FOLDER` on the host, FOLDER being what is mounted there"


def mounted(path: Path) -> str:
    """What is mounted at a path or above it, short of ``/``: ``tmpfs``, or the place in its own file system (proc(5)).

    Empty where nothing is.
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
    """A warning for each file that has another in its place on the host by now.

    A bind mount of one file holds the file, not its name: what an editor saved under that name is another file, and
    the one in the container has no name any more.
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
    """Call a function for each item; the results, in order.

    Raises:
        InstallError: with what was wrong with each item, a line each.
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
    """End with all problems at once, if there are any.

    Raises:
        InstallError: a line for each.
    """
    if problems:
        raise InstallError("\n".join(problems))


def password(title: str, path: Path) -> str:
    """The password in a file; ``title`` begins an error's sentence: its key, in the form ``At 'KEY'``.

    Raises:
        InstallError: it can't be read, or is none.
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
            f"{where} is no password: it is longer than 255 characters or holds control characters; keep one line in it"
        )
    return found


def authorities(path: Path | None, key: str = "delivery.tls.ca_file") -> str:
    """The certificates in the file that a key names, as openssl reads them; empty where there is none.

    Raises:
        InstallError: it can't be read, or is no PEM.
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
