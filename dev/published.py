"""The names of releases, which follow from ``[project.urls]`` in ``pyproject.toml``.

``python -m dev.published`` writes them wherever else they are; with ``image`` or ``repository`` it prints that one.
Needs the standard library only.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("README.md", "SECURITY.md", "Dockerfile", "compose.yaml", "mkdocs.yml", "docs/*.md", "deploy/**/*")
"""Where the names are found, as git's pathspecs."""


def repository() -> str:
    """The repository's URL, without a slash at its end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["urls"]["Repository"]).rstrip("/")


def image() -> str:
    """The image's name without a tag: the repository's, in lower case, in GitHub's registry."""
    return repository().replace("https://github.com/", "ghcr.io/").lower()


def followed(text: str) -> str:
    """The text with the names as they should be."""
    text = re.sub(r"ghcr\.io/[\w.-]+/postroad\b", image(), text)
    return re.sub(r"https://github\.com/[\w.-]+/postroad\b", repository(), text)


def files() -> Iterator[Path]:
    """The files in which the names may be."""
    words = ["git", "ls-files", "-z", "--", *(f":(glob){place}" for place in PLACES)]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (ROOT / name for name in listed.split("\0") if name)


def main(*words: str) -> int:
    """Write them, or print one."""
    if words:
        print({"image": image, "repository": repository}[words[0]]())
        return 0
    for path in files():
        text = path.read_text()
        if followed(text) != text:
            path.write_text(followed(text))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
