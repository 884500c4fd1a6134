"""Reads the YAML file strictly: one mapping, no duplicate keys, and the line of every value is known.

Plain values follow YAML 1.2's core schema, so ``no`` is a string and ``1:30`` is not ninety.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from postroad.config import unreadable
from postroad.errors import ConfigError

LARGEST_FILE = 2**20

Part = str | int


@dataclass(frozen=True)
class Document:
    """The contents of a YAML file."""

    values: dict[Any, Any]
    root: yaml.Node | None

    def line(self, path: Sequence[Part]) -> int | None:
        """The line, from 1, on which the value at this path (or its key) starts."""
        node, line = self.root, None
        for part in path:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(part)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = (node.value[part], node.value[part])
            if not found:
                break
            node, line = found[1], found[0].start_mark.line + 1
        return line


class _Loader(yaml.SafeLoader):
    """The pure Python loader: the C one overruns its stack on deep nesting, and files are small."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own declaration

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave merge keys alone: YAML 1.2 has none, and nested ones grow without bound."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a duplicate key: the later one would silently win."""
        first: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not a word", key_node.start_mark)
            if key in first:
                problem = f"the key {key[:60]!r} stands twice, first on line {first[key]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            first[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Turn the exceptions that PyYAML leaks for explicit tags (``!!int x``) into errors with a position."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problem = f"a value that does not fit its tag {node.tag.rpartition(':')[2][:60]!r}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), [*_first.replace("\0", ""), ""]
    )


def read(path: Path) -> Document:
    """The mapping in the file; empty if the file is empty.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: it can't be read or has no valid mapping; the message is one line, without the file's name.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(unreadable.reason(path, error)) from error
    if len(data) > LARGEST_FILE:
        raise ConfigError("larger than 1 MiB, the most that is read")
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"At line {line}: text that is not UTF-8") from error


def parse(text: str) -> Document:
    """The mapping in a text.

    Raises:
        ConfigError: as ``read``.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        values = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"At line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{place}{_plain(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"At line {line}: a control character") from error
    except RecursionError as error:
        raise ConfigError("nested too deeply") from error
    if values is None:
        return Document({}, None)
    if not isinstance(values, dict):
        raise ConfigError("At line 1: a mapping of keys is needed, such as hostname: mail.example.com")
    return Document(values, root)


_PLAIN = {
    "could not determine a constructor": "a tag (!...) that means nothing here",
    "cannot start any token": "a character that can't be here; indent with spaces, quote values with signs",
    "mapping values are not allowed": "a colon where no key can be; check the indentation or quote the value",
    "expected <block end>": "indentation that does not line up with the lines above",
    "expected ',' or": "a list or mapping that is not closed, or lacks a comma",
    "unexpected end of stream": "a quote that is never closed",
    "another document": "a second document (---); only one is read",
}
"""Parts of PyYAML's messages, and ours in their place."""


def _plain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "not YAML"
    return next((ours for theirs, ours in _PLAIN.items() if theirs in problem), problem)
