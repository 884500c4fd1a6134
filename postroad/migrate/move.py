"""One migration: the settings that it collects, notes about what has no counterpart, and the YAML of both."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from postroad.config.model import Config
from postroad.config.problems import explain
from postroad.text import printable

PLACEHOLDER = "example.com"
WIDTH = 100


@dataclass(frozen=True)
class Variable:
    """A variable of another image, for the translation and for the table in docs/moving.md.

    Attributes:
        name: its name; a ``*`` at the end stands for any name with this prefix.
        keys: our keys that replace it; empty if it has no counterpart.
        note: what differs, or why there is no counterpart.
        take: puts its value into a move; None if another variable's ``take`` reads it.
    """

    name: str
    keys: tuple[str, ...]
    note: str
    take: "Callable[[Move, str], None] | None" = None

    def covers(self, name: str) -> bool:
        """Whether this entry describes a variable of that name."""
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


@dataclass(frozen=True)
class Image:
    """An image whose environment can be read.

    Attributes:
        name: its usual name.
        repositories: the image's repositories, without a tag.
        variables: its variables, those with a ``*`` last.
        begin: runs before the variables, for settings that need several of them or none.
        marks: variables that only this image has.
    """

    name: str
    repositories: tuple[str, ...]
    variables: tuple[Variable, ...]
    begin: "Callable[[Move], None]"
    marks: tuple[str, ...]

    def variable(self, name: str) -> Variable | None:
        """The entry for a variable."""
        return next((each for each in self.variables if each.covers(name)), None)


@dataclass
class Move:
    """One migration.

    Attributes:
        variables: the other image's environment.
        volumes: paths in its container at which something was mounted.
        notes: what the reader must know, each with the variable or key that it is about.
        settings: groups of our keys that are accepted or refused together, each with the variable it comes from.
    """

    variables: Mapping[str, str]
    volumes: Sequence[str] = ()
    notes: list[tuple[str, str]] = field(default_factory=list)
    settings: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    hostname: str | None = None
    domains: list[dict[str, Any] | str] = field(default_factory=list)

    def get(self, *names: str) -> str | None:
        """The first non-empty value of these variables."""
        return next((self.variables[name] for name in names if self.variables.get(name)), None)

    def set(self, by: str, **keys: Any) -> None:
        """Set our keys together, because of a variable; ``__`` stands for the dot in a key."""
        self.settings.append((by, {name.replace("__", "."): value for name, value in keys.items()}))

    def note(self, about: str, text: str) -> None:
        """Add a note for the reader, once."""
        if (about, text) not in self.notes:
            self.notes.append((about, text))

    def config(self) -> dict[str, Any]:
        """The configuration that the model accepts; what it refuses becomes a note."""
        values: dict[str, Any] = {"hostname": self._hostname()}
        values["domains"] = self._domains(values["hostname"])
        if "*" in values["domains"]:
            values["dkim"] = {"enabled": False}  # the model allows any domain only without signatures
        for by, keys in self.settings:
            candidate = values
            for key, value in keys.items():
                candidate = _with(candidate, key.split("."), value)
            problems = _problems(candidate)
            if problems:
                self.note(by, f"not taken over: {'; '.join(problems)}")
            else:
                values = candidate
        return values

    def _hostname(self) -> str:
        if self.hostname and not _problems({"hostname": self.hostname, "domains": [PLACEHOLDER]}):
            return self.hostname.lower()
        named = [each if isinstance(each, str) else each["name"] for each in self.domains]
        guesses = [f"mail.{name}" for name in (*named, PLACEHOLDER)]
        guess = next(each for each in guesses if not _problems({"hostname": each, "domains": [PLACEHOLDER]}))
        was = f"{printable(self.hostname)} is not a full name" if self.hostname else "not in the environment"
        self.note("hostname", f"{was}. {guess} is a guess: put the reverse DNS name of your address.")
        return guess

    def _domains(self, hostname: str) -> list[dict[str, Any] | str]:
        found: list[dict[str, Any] | str] = []
        for domain in self.domains:
            problems = _problems({"hostname": hostname, "domains": [domain], "dkim": {"enabled": domain != "*"}})
            if problems:
                self.note("domains", f"not taken over: {'; '.join(problems)}")
            elif domain not in found:
                found.append(domain)
        if not found:
            parent = hostname.partition(".")[2]
            found = [parent if "." in parent else PLACEHOLDER]
            self.note("domains", f"{found[0]} is a guess: list every domain that your apps send as.")
        return found


def _problems(values: dict[str, Any]) -> list[str]:
    try:
        Config.model_validate(values)
    except ValidationError as error:
        return explain(error, values)
    return []


def _with(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The mapping with a value at this path; an existing list is extended."""
    key, *below = path
    old = values.get(key)
    if below:
        return {**values, key: _with(old if isinstance(old, Mapping) else {}, below, value)}
    if isinstance(old, list) and isinstance(value, list):
        value = old + [each for each in value if each not in old]
    return {**values, key: value}


def translate(image: Image, move: Move) -> str:
    """The configuration as YAML, with comments about what differs or has no counterpart."""
    image.begin(move)
    for name, value in move.variables.items():
        variable = image.variable(name)
        if variable is None:
            move.note(name, f"{image.name} has no such variable that `postroad migrate` knows.")
        elif value and variable.take:
            variable.take(move, value)
        elif value and not variable.keys:
            move.note(name, variable.note)
    values = move.config()
    head = f"# From {image.name}, by `postroad migrate`."
    if move.notes:
        head += " What differs, or has no counterpart:"
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=WIDTH)
    return "\n".join([head, *_comments(move.notes), "", body])


def _comments(notes: Sequence[tuple[str, str]]) -> Iterator[str]:
    for about, text in notes:
        line = printable(f"{about}: {text}")
        yield from textwrap.wrap(
            line, WIDTH, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False, break_long_words=False
        )
