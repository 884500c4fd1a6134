"""The name of releases stands in one place, and no document tells a command that needs one without saying so."""

import re
import tomllib
from pathlib import Path

import pytest

from dev import published

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS_A_RELEASE = re.compile(
    r"ghcr\.io/|pip install '?postroad|docker pull postroad|uses: .*/postroad|releases/(latest|download)"
)
FROM = f"release {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}"


def test_every_place_follows_pyproject() -> None:
    behind = [path.name for path in published.files() if published.followed(path.read_text()) != path.read_text()]
    assert behind == [], "run make generate"


def test_the_names_are_found() -> None:
    old = "see https://github.com/OWNER/postroad/blob and ghcr.io/someone-else/postroad:1.2.3, https://github.com/a/b"
    new = published.followed(old)
    assert new == f"see {published.repository()}/blob and {published.image()}:1.2.3, https://github.com/a/b"


def test_the_label_and_the_workflow_have_them() -> None:
    assert f'org.opencontainers.image.source="{published.repository()}"' in (ROOT / "Dockerfile").read_text()
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    assert "IMAGE=$(python3 -m dev.published image)" in workflow
    assert "ghcr.io/" not in workflow


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.name))
def test_what_needs_a_release_says_since_which(path: Path) -> None:
    sections = re.split(r"^(?=#)", path.read_text(), flags=re.MULTILINE)
    told = [section for section in sections if NEEDS_A_RELEASE.search(section)]
    assert [section.splitlines()[0] for section in told if FROM not in section.replace("\n", " ")] == []
