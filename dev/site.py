"""Hooks of MkDocs for mkdocs.yml: the pages are written for GitHub, and are to read the same on the site."""

import re
from typing import Any

from dev.published import repository

REPOSITORY = f"{repository()}/blob/main/"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with links out of docs/ that lead to the repository."""
    return re.sub(r"\]\(\.\./([^)]+)\)", rf"]({REPOSITORY}\1)", markdown)


def slug(text: str, separator: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", separator)
