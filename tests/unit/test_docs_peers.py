"""Each cell of the README's table of peers has its source in docs/peers.md."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2]
DASH = "\N{EN DASH}"


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables in a text, without their heads."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [
        cells for before, cells in zip([[], *found], found, strict=False) if not set("".join(cells)) <= {"-"} and before
    ]


def sections(path: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", (DOCS / path).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("column", "peer"), [(2, "boky/postfix"), (3, "wader/postfix-relay")])
def test_every_cell_has_a_source(column: int, peer: str) -> None:
    table = rows(sections("README.md")["Beside its peers"])
    known = (DOCS / "docs/peers.md").read_text()
    shorts = set(re.findall(r"^\| ([bw]-\w+) \|.*\| `[0-9a-f]{40}` \|", known, re.MULTILINE))
    sources = {name.strip(): row for row in rows(sections("docs/peers.md")[peer]) for name in row[0].split(", ")}
    assert len(table) > 10
    for cells in table:
        cell, source = cells[column], sources.get(cells[0])
        assert source, f"{cells[0]}: docs/peers.md says nothing of {peer}"
        assert (cell == DASH) == (source[1] == DASH), cells[0]
        assert set(re.findall(r"\b[bw]-\w+", source[2])) & shorts, f"{cells[0]}: no file"
