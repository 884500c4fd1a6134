"""Whether the queue and the keys are on volumes that outlive the container, can be written, and have room."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.runtime.paths import QUEUE, STATE

ID = "volumes"
SHORT = True

MOUNTS = Path("/proc/self/mountinfo")
FULL, NEARLY_FULL = 100 * 2**20, 2**30
FEW_FILES, LITTLE_FILES = 1000, 10_000
ANONYMOUS = re.compile(r"/volumes/[0-9a-f]{64}/_data$")


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mountinfo`` (proc(5)): the file system's type, and which part of it is mounted."""

    type: str
    root: str


def run(context: Context) -> Iterator[Finding]:
    """One finding for each volume."""
    mounts = parse(MOUNTS.read_text())
    for path, holds in ((QUEUE, "the queue"), (STATE, "the DKIM keys")):
        stat = os.statvfs(path)
        yield judge(
            path,
            holds,
            mounts.get(str(path)),
            writable=os.access(path, os.W_OK | os.X_OK) and not stat.f_flag & os.ST_RDONLY,
            room=stat.f_bavail * stat.f_frsize,
            part=stat.f_bavail / stat.f_blocks if stat.f_blocks else 1.0,
            files=stat.f_favail if stat.f_files else None,  # btrfs counts none
        )


def judge(
    path: Path, holds: str, mount: Mount | None, *, writable: bool, room: int, part: float, files: int | None
) -> Finding:
    """The finding for one volume.

    Args:
        path: where it is mounted.
        holds: what for.
        mount: how; None: it is not.
        writable: whether we may write.
        room: free bytes.
        part: the free part of all bytes, 0 to 1.
        files: free inodes; None where they are not counted.
    """
    free = f"{room / 2**20:.0f} MiB ({part:.0%}) free" + ("" if files is None else f", {files} files")
    ends = f"mount a volume at {path}"
    if not writable:
        return Finding(
            ID, Level.ERROR, f"{path} can't be written", free, f"give uid {os.getuid()} a volume it can write"
        )
    if mount is None or mount.type in {"tmpfs", "overlay", "ramfs"}:
        what = mount.type if mount else "no volume"
        return Finding(ID, Level.ERROR, f"{holds} would be lost with the container: {path} is {what}", what, ends)
    if room < FULL or (files is not None and files < FEW_FILES):
        return Finding(ID, Level.ERROR, f"the volume of {path} is full", free, "make room")
    if (room < NEARLY_FULL and part < 0.1) or (files is not None and files < LITTLE_FILES):
        return Finding(ID, Level.WARNING, f"the volume of {path} is nearly full", free, "make room")
    if ANONYMOUS.search(mount.root):
        lost = f"{path} is a volume without a name: a new container would not get {holds} again"
        return Finding(ID, Level.WARNING, lost, mount.root, f"{ends} that has a name")
    return Finding(ID, Level.OK, f"{path} is a volume with room", free)


def parse(text: str) -> dict[str, Mount]:
    """``/proc/self/mountinfo`` by mount point; the last one mounted on a point counts."""
    mounts = {}
    for fields in (line.split() for line in text.splitlines()):
        # ID parent major:minor ROOT POINT options [optional...] - TYPE source super-options
        mounts[fields[4]] = Mount(fields[fields.index("-", 6) + 1], fields[3])
    return mounts
