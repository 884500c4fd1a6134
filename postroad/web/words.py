"""The console's words, English and Korean: ``templates/console/words.toml``."""

import tomllib
from collections.abc import Mapping

from postroad.runtime.paths import TEMPLATES

LANGUAGES = ("en", "ko")


class Own(str):
    """Text of our own, or of whoever asks: it is shown as it stands, also to a viewer."""

    __slots__ = ()


def _catalogue() -> dict[str, tuple[str, str]]:
    """All words: by their name English and Korean."""
    pages = tomllib.loads((TEMPLATES / "console" / "words.toml").read_text())
    return {name: (english, korean) for words in pages.values() for name, (english, korean) in words.items()}


CATALOGUE: Mapping[str, tuple[str, str]] = _catalogue()


def language(accepted: str) -> str:
    """The language for an ``Accept-Language`` (RFC 9110, 12.5.4): the first with the most weight; else English."""
    best, found = 0.0, "en"
    for part in accepted[:500].split(","):
        name, _, weight = part.strip().partition(";")
        name = name.strip().lower().partition("-")[0]
        try:
            value = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name in LANGUAGES and best < value <= 1:
            best, found = value, name
    return found


_WORDS = {
    language: {name: Own(texts[number]) for name, texts in CATALOGUE.items()}
    for number, language in enumerate(LANGUAGES)
}


def words(language: str) -> Mapping[str, str]:
    """All words in a language."""
    return _WORDS[language]
