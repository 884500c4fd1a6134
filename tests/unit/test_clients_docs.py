"""docs/clients.md shows what the scripts of ``tests/clients`` do, which the suite runs."""

import re
import textwrap
from pathlib import Path

PAGE = Path("docs/clients.md")
SCRIPTS = sorted(path for path in Path("tests/clients/scripts").iterdir() if path.is_file())
REGION = re.compile(r"^[ \t]*\S+ <(25|587)>\n(.*?)^[ \t]*\S+ </\1>$", re.DOTALL | re.MULTILINE)


def regions(path: Path) -> dict[str, str]:
    """What a script marks for the page: by port, without the indentation that it has there."""
    return {port: textwrap.dedent(code).strip("\n") for port, code in REGION.findall(path.read_text())}


def test_each_snippet_on_the_page_is_run_and_each_that_is_run_for_it_is_there() -> None:
    shown = [code.strip("\n") for code in re.findall(r"```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    run = [code for path in SCRIPTS for code in regions(path).values()]
    assert len(run) > 20
    assert sorted(shown) == sorted(run)


def test_each_client_shows_both_ports() -> None:
    without = [path.name for path in SCRIPTS if set(regions(path)) not in ({"25", "587"}, set())]
    assert without == []
    assert [path.name for path in SCRIPTS if not regions(path)] == ["nodemailer_pool.js"]
