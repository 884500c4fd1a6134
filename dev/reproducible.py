"""In what two root file systems differ: ``python -m dev.reproducible ONE.tar TWO.tar``; exits with 1 if in anything."""

import hashlib
import sys
import tarfile
from collections.abc import Iterator

Entries = dict[str, dict[str, object]]


def read(path: str) -> Entries:
    """Give each path in a tar archive, and what a container could tell of it."""
    with tarfile.open(path) as tar:
        return {
            member.name: {
                "type": member.type.decode("ascii"),
                "mode": oct(member.mode),
                "owner": f"{member.uid}:{member.gid}",
                "time": member.mtime,
                "link": member.linkname,
                "size": member.size,
                "content": content(tar, member),
            }
            for member in tar
        }


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Give a file's SHA-256, and nothing for what is no file."""
    file = tar.extractfile(member) if member.isreg() else None
    return hashlib.file_digest(file, "sha256").hexdigest() if file else ""  # type: ignore[arg-type]


def differences(one: Entries, two: Entries) -> Iterator[str]:
    """Describe each path that is not the same in both."""
    for path in sorted(one.keys() | two.keys()):
        if path not in two or path not in one:
            yield f"{path}: only in the {'first' if path in one else 'second'}"
            continue
        changed = [
            f"{what} {value} / {two[path][what]}" for what, value in one[path].items() if value != two[path][what]
        ]
        if changed:
            yield f"{path}: {', '.join(changed)}"


def main(first: str, second: str) -> int:
    """Print them, or the digest that both have."""
    found = list(differences(read(first), read(second)))
    print(*found, sep="\n", end="\n" if found else "")
    digests = []
    for path in (first, second):
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if digests[0] == digests[1]:
        print(f"reproducible: both builds are sha256:{digests[0]}")
        return 0
    print(f"not reproducible: {len(found)} differences, sha256:{digests[0]} and sha256:{digests[1]}")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
