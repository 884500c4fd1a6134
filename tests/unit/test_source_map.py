"""docs/source.md against the tree."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
TEXT = (TOP / "docs" / "source.md").read_text()
ROOMS = {
    match[1]: set(re.findall(r"^- `([\w/.]+)`: \S", match[2], flags=re.MULTILINE))
    for match in re.finditer(r"^### `postroad/(\w+)/`\n(.*?)(?=^#|\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
}


def test_every_room_is_on_the_map() -> None:
    assert set(ROOMS) == {path.parent.name for path in (TOP / "postroad").glob("*/__init__.py")}


def test_every_module_is_in_its_room() -> None:
    for room, listed in ROOMS.items():
        modules = {path.name for path in (TOP / "postroad" / room).glob("*.py")} - {"__init__.py"}
        assert listed == modules, f"docs/source.md, postroad/{room}/"


def test_every_file_that_it_names_is_there() -> None:
    table = TEXT[TEXT.index("## Where does a change go?") :]
    named = {name for name in re.findall(r"`([\w./-]+/[\w.-]+)`", table) if not name.startswith("/")}
    assert named
    missing = {name for name in named if not (TOP / name).exists() and not (TOP / "postroad" / name).exists()}
    assert missing == {"templates/NAME.j2"}


def test_every_folder_at_the_top_is_there() -> None:
    table = TEXT[TEXT.index("## Top level") : TEXT.index("## `postroad/`, room by room")]
    named = set(re.findall(r"^\| `([\w.]+)/?` \|", table, flags=re.MULTILINE))
    tracked = {
        path.name
        for path in TOP.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name not in {"docs", "dist", "mutants", "__pycache__"}
    }
    assert named == tracked | {"entrypoint.py"}


def test_every_part_of_sendmail_mc_is_on_the_map() -> None:
    table = TEXT[TEXT.index("## `templates/mc/`") : TEXT.index("## Where does a change go?")]
    cells = "".join(line.split("|")[2] for line in table.splitlines() if line.startswith("| "))
    parts = TOP / "templates" / "mc"
    there = sorted(str(path.relative_to(parts).with_suffix("")) for path in parts.rglob("*.j2"))
    assert sorted(re.findall(r"`([\w/-]+)`", cells)) == there


def test_every_file_of_the_preload_is_on_the_map() -> None:
    (row,) = re.findall(r"^\| `preload/` .*", TEXT, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+\.[ch])`", row)) == {path.name for path in (TOP / "preload").glob("*.[ch]")}
