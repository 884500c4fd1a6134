"""Which release first had each key: ``dev/since.toml``, a line per key, kept by ``make generate``.

A key that has no line yet is new, and gets the release that comes next. Lines of keys that are gone go with them.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

TOP = Path(__file__).parents[1]
LEDGER = Path("dev/since.toml")
HEAD = "# Which release first had each key. `make generate` adds new keys, with the release that comes next.\n"


def releases(changelog: str) -> list[str]:
    """The releases that are out, newest first: the headings of the changelog but `Unreleased`."""
    return re.findall(r"^## v?(\d+\.\d+\.\d+)\b", changelog, re.MULTILINE)


def upcoming(changelog: str, version: str) -> str:
    """The release that comes next.

    Raises:
        ValueError: ``version``, which the project has, is out already.
    """
    if version in releases(changelog):
        raise ValueError(f"{version} is out already: raise project.version in pyproject.toml before you add a key")
    return version


def ledger(names: Iterable[str], written: dict[str, str], changelog: str, version: str) -> dict[str, str]:
    """The release of each key, in the order of ``names``."""
    return {name: written[name] if name in written else upcoming(changelog, version) for name in names}


def read(names: Iterable[str], top: Path = TOP) -> dict[str, str]:
    """The release of each of these keys, as the tree has it."""
    file = top / LEDGER
    written = tomllib.loads(file.read_text()) if file.exists() else {}
    version = tomllib.loads((top / "pyproject.toml").read_text())["project"]["version"]
    return ledger(names, written, (top / "CHANGELOG.md").read_text(), version)


def text(found: dict[str, str]) -> str:
    """The ledger as a file."""
    return HEAD + "".join(f'"{name}" = "{release}"\n' for name, release in found.items())
