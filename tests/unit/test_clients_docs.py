"""docs/clients.md and docs/apps.md show what the scripts of ``tests/clients`` do, which the suite runs."""

import re
import textwrap
from pathlib import Path

FOLDERS = {"docs/clients.md": Path("tests/clients/scripts"), "docs/apps.md": Path("tests/clients/apps")}
SCRIPTS = sorted(path for path in FOLDERS["docs/clients.md"].iterdir() if path.is_file())
REGION = re.compile(r"^[ \t]*(?:\S+ )?<(25|587|ini)>\n(.*?)^[ \t]*(?:\S+ )?</\1>$", re.DOTALL | re.MULTILINE)
NO_LIBRARY = 1
"""Blocks of docs/apps.md that nothing here runs: Grafana's, which it says."""


def regions(path: Path) -> dict[str, str]:
    """What a script marks for the page: by port, without the indentation that it has there."""
    return {port: textwrap.dedent(code).strip("\n") for port, code in REGION.findall(path.read_text())}


def shown(page: str) -> list[str]:
    return [code.strip("\n") for code in re.findall(r"```\w+\n(.*?)```", Path(page).read_text(), re.DOTALL)]


def test_each_snippet_on_the_page_is_run_and_each_that_is_run_for_it_is_there() -> None:
    run = [code for path in SCRIPTS for code in regions(path).values()]
    assert len(run) > 20
    assert sorted(shown("docs/clients.md")) == sorted(run)


def test_each_app_s_settings_are_run_but_for_those_that_say_so() -> None:
    run = [code for path in FOLDERS["docs/apps.md"].iterdir() for code in regions(path).values()]
    assert len(run) > 12
    others = [code for code in shown("docs/apps.md") if code not in run]
    assert [code for code in run if code not in shown("docs/apps.md")] == []
    assert len(others) == NO_LIBRARY
    assert "GF_SMTP" in others[0]
    assert "not in the suite" in Path("docs/apps.md").read_text()


def test_each_client_shows_both_ports() -> None:
    without = [path.name for path in SCRIPTS if set(regions(path)) not in ({"25", "587"}, set())]
    assert without == []
    assert [path.name for path in SCRIPTS if not regions(path)] == ["nodemailer_pool.js"]
