"""Every value of a configuration, and where it comes from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from postroad.config.load import Loaded
from postroad.config.section import Section

HIDDEN = "***"
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*(?=@)")
"""The account in a URL, which may have a password."""


@dataclass(frozen=True)
class ValueInForce:
    """A value.

    Attributes:
        key: its path, such as ``delivery.routes[0].rate``.
        value: as JSON has it; ``HIDDEN`` where it comes from a file that may hold secrets.
        source: where it comes from: a line of the file, a variable, a file; None: it is the default.
    """

    key: str
    value: Any
    source: str | None


def values(loaded: Loaded) -> Iterator[ValueInForce]:
    """All values in force, in the order of the model's keys."""
    yield from _below(loaded, loaded.config, loaded.config.model_dump(mode="json"), ())


def _below(loaded: Loaded, section: Section, dumped: Any, path: tuple[str | int, ...]) -> Iterator[ValueInForce]:
    for name in type(section).model_fields:
        value, at = getattr(section, name), (*path, name)
        if isinstance(value, Section):
            yield from _below(loaded, value, dumped[name], at)
        elif isinstance(value, tuple) and value and all(isinstance(each, Section) for each in value):
            for i, each in enumerate(value):
                yield from _below(loaded, each, dumped[name][i], (*at, i))
        else:
            origin = loaded.origin(at)
            yield ValueInForce(_key(at), HIDDEN if origin.secret else _shown(dumped[name]), origin.name)


def _key(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _shown(value: Any) -> Any:
    """A value without passwords in URLs."""
    if isinstance(value, str):
        return _PASSWORD.sub(HIDDEN, value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return value
