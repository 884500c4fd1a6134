"""Numbers of things in words."""

import pytest

from postroad.text import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("event",), "0 events"),
        (1, ("event",), "1 event"),
        (2, ("event",), "2 events"),
        (1, ("address is", "addresses are"), "1 address is"),
        (3, ("address is", "addresses are"), "3 addresses are"),
    ],
)
def test_one_thing_is_no_plural(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
