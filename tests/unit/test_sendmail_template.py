"""sendmail.mc's parts: each is included once, and names tests that there are."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PARTS = sorted((TOP / "templates" / "mc").rglob("*.j2"))
TESTS = "".join(path.read_text() for path in sorted((TOP / "tests").rglob("test_*.py")))


def test_each_part_is_included_once() -> None:
    included = re.findall(r'\{% include "(mc/.+)" %\}', (TOP / "templates" / "sendmail.mc.j2").read_text())
    assert sorted(included) == [str(path.relative_to(TOP / "templates")) for path in PARTS]


@pytest.mark.parametrize("path", PARTS, ids=lambda path: str(path.relative_to(TOP / "templates" / "mc")))
def test_each_part_says_what_it_keeps_and_what_fails_without_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("{# ")
    keeps, found, tests = " ".join(text[3 : text.index("#}")].split()).partition(" Fails without it: ")
    assert keeps.endswith((".", "!"))
    assert found
    files = re.findall(r"(?:unit/|integration/|)(test_\w+\.py)", tests)
    assert all(list((TOP / "tests").rglob(name)) for name in files), files
    named = re.findall(r"\b(test_\w+)\b(?!\.py)", tests)
    assert [name for name in named if f"def {name}(" not in TESTS] == []
    assert files or named or "golden/" in tests


@pytest.mark.parametrize("path", [TOP / "templates" / "sendmail.mc.j2", *PARTS], ids=lambda path: path.name)
def test_no_part_asks_where_its_loop_is(path: Path) -> None:
    assert "loop." not in path.read_text()
