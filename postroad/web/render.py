"""The console's pages as HTML.

Whatever is no text of our own is shown without markup, without control characters, and to a viewer without mail
addresses. The templates' environment does it, so that no template can forget it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from postroad.runtime.paths import TEMPLATES
from postroad.sinks.redact import Redactor
from postroad.text import printable, printable_lines
from postroad.web.words import Own, words

FOLDER = TEMPLATES / "console"


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None, places: int = 1) -> str:
    return "-" if value is None else f"{value:.{places}%}"


def _hour(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m-%d %H:00")


def _own(value: object) -> Own:
    """What is shown to a viewer, too: ids, and what he typed himself."""
    return Own(printable(value))


def _quoted(value: object) -> Own:
    """A part of an address of ours."""
    return Own(quote(str(value), safe="", errors="replace"))


def _environment(hide: Callable[[str], str]) -> jinja2.Environment:
    def shown(value: Any) -> Any:
        if isinstance(value, Markup | Own) or not isinstance(value, str):
            return value
        return hide(printable_lines(value))

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.filters.update(
        {"number": _number, "percent": _percent, "hour": _hour, "own": _own, "quoted": _quoted, "printable": printable}
    )
    return made


class Renderer:
    """Makes pages."""

    def __init__(self, hostname: str, redactor: Redactor) -> None:
        """For this relay; viewers see addresses as the redactor leaves them."""
        self._hostname = Own(printable(hostname))
        self._operators = _environment(lambda text: text)
        self._viewers = _environment(redactor.text)

    def html(self, template: str, language: str, *, redacted: bool, **facts: Any) -> str:
        """The page of a template in a language."""
        environment = self._viewers if redacted else self._operators
        common = {"language": Own(language), "words": words(language), "hostname": self._hostname}
        return environment.get_template(template).render(common | facts)
