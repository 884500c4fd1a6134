"""Texts that tests meet, whole, to the last word: what a check found, a record and what it is for, a configuration moved.

``tests/whole/`` has a file for each module of tests, and in it a paragraph for each test. ``python -m tests.unit.whole``
writes the files anew: read the difference before you commit it.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postroad.checks.model import Finding
from postroad.dns.records import Record
from postroad.dns.survey import Planned

FOLDER = Path(__file__).parents[1] / "whole"
USES = ('("whole_', ": Whole")
"""How a module of tests that needs them can be told."""
HEAD = "== "
WRITING = "POSTROAD_WRITE_WHOLE"


class Whole:
    """The texts of one test."""

    def __init__(self) -> None:
        """Begin with none."""
        self._texts: dict[str, None] = {}

    def add(self, text: str) -> None:
        """One more; what was there before counts once."""
        self._texts[text] = None

    def watch(self, monkeypatch: pytest.MonkeyPatch, kind: type[Any], tell: Callable[[Any], str]) -> None:
        """Add each object of a type that is made from now on."""
        original = kind.__init__

        def made(self_: Any, *args: Any, **fields: Any) -> None:
            original(self_, *args, **fields)
            self.add(tell(self_))

        monkeypatch.setattr(kind, "__init__", made)

    def compare(self, module: str, test: str, folder: Path) -> None:
        """Hold them against what is written down: sorted, as some come from threads; the test's own folder as ``~``.

        Raises:
            AssertionError: they are others.
        """
        text = "\n".join(sorted(self._texts)).replace(str(folder), "~").strip("\n")
        path = FOLDER / f"{module}.txt"
        written = parse(path.read_text()) if path.exists() else {}
        if WRITING not in os.environ:
            assert text == written.get(test, "")
        elif text:
            written[test] = text
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n\n".join(f"{HEAD}{name}\n{said}" for name, said in written.items()) + "\n")


def parse(text: str) -> dict[str, str]:
    """The paragraphs of a file, by test."""
    parts = [part.partition("\n") for part in f"\n{text}".split(f"\n{HEAD}")[1:]]
    return {name: rest.strip("\n") for name, _, rest in parts}


def finding(found: Finding) -> str:
    """What a check found."""
    lines = [f"{found.level}{'?' if found.unknown else ''} {found.id}: {found.message}"]
    lines += [f"    {name}: {value}" for name in ("seen", "fix") if (value := getattr(found, name))]
    return "\n".join([*lines, f"    {record(found.record)}"] if found.record else lines)


def record(made: Record) -> str:
    """A record to publish, and what it is for."""
    return f"{made.name} {made.ttl} {made.type} {made.value}\n    {made.purpose}"


def planned(made: Planned) -> str:
    """What is to become of a record."""
    lines = [record(made.record), f"    {made.state}, in the zone {made.zone!r}, {'ours' if made.ours else 'not ours'}"]
    for name in ("replaces", "beside", "notes"):
        lines += [f"    {name}: {value}" for value in getattr(made, name)]
    return "\n".join(lines)


def returned(found: object) -> str:
    """What came back, as it was read; the beginning of what is long."""
    return repr(found)[:1000]


def main() -> int:
    """Write the files anew."""
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    os.environ[WRITING] = "1"
    modules = [
        path for path in sorted(Path(__file__).parent.glob("test_*.py")) if any(use in path.read_text() for use in USES)
    ]
    return int(pytest.main(["-q", *map(str, modules)]))


if __name__ == "__main__":
    sys.exit(main())
