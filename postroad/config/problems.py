"""Turns pydantic's errors about a configuration into lines that a person can act on."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from postroad.config.keys import REMOVED, ConfigKey, keys
from postroad.config.model import Config
from postroad.config.section import Section

LONGEST_SHOWN = 60

Part = str | int


class Origin(NamedTuple):
    """Where a value came from."""

    name: str | None
    """A variable, a file or a line, in words; None if there is nothing to say."""
    secret: bool = False
    """Whether the value must not be shown."""


def explain(
    error: ValidationError,
    values: Mapping[Any, Any],
    *,
    model: type[Section] = Config,
    origin: Callable[[Sequence[Part]], Origin] = lambda _: Origin(None),
) -> list[str]:
    """One line per problem: the key's path, what was found, what is accepted.

    Args:
        error: the error that ``model.model_validate(values)`` raised.
        values: the values that were validated.
        model: the model that refused them.
        origin: returns where the value at a path came from.
    """
    known = {key.name: key for key in keys(model)}
    lines = []
    for details in error.errors(include_url=False):
        context = details.get("ctx", {})
        path, value = _follow(values, details["loc"])
        if details["type"] == "too_short" and value:
            continue  # its entries were refused, each in a line of its own
        path += context.get("at", ())
        came = origin(path)
        key = known.get(_generic(path))
        secret = came.secret or (key is not None and _is_secret(key))
        source = f" ({came.name})" if came.name else ""
        shown = None if secret else context.get("found") or describe(value)
        lines.append(f"At '{_dotted(path)}'{source}: {_say(details, path, shown, known)}")
    return list(dict.fromkeys(lines))


def describe(value: Any) -> str:
    """A value on one line, shortened and escaped; containers are not descended into, since YAML can nest endlessly."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]!r}... ({len(value)} characters)"
    if isinstance(value, int | float):
        # Python refuses to print integers of more than 4,300 digits
        return str(value) if abs(value) < 10**20 or value != value else "a very large number"  # noqa: PLR0124
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, Iterable):
        return "a list" if value else "an empty list"
    return f"a {type(value).__name__}"


def _follow(values: Any, loc: Sequence[Part]) -> tuple[list[Part], Any]:
    """The part of a location that exists in the file, or is missing from it, and the value there.

    Where a list entry may be text or a mapping, pydantic continues inside a plain value and adds ``[key]``.
    """
    path: list[Part] = []
    for part in loc:
        if isinstance(values, Mapping):
            path.append(part)
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int) and part < len(values):
            path.append(part)
            values = values[part]
        else:
            break
    return path, values


def _dotted(path: Sequence[Part]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_short(part)}"
    return text.removeprefix(".")


def _short(key: object) -> str:
    """A key as written, escaped and shortened, since an unknown key can be any text."""
    text = repr(str(key)[:LONGEST_SHOWN])[1:-1]
    return text if len(str(key)) <= LONGEST_SHOWN else f"{text}..."


def _generic(path: Sequence[Part]) -> str:
    """The name of the key at a path, without a list's positions."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _is_secret(key: ConfigKey) -> bool:
    return any(kind.__name__ in str(key.field.annotation) for kind in (SecretStr, SecretBytes))


def _say(details: ErrorDetails, path: Sequence[Part], found: str | None, known: Mapping[str, ConfigKey]) -> str:
    """What is wrong; ``found`` is None where it must not be shown."""
    if details["type"] == "extra_forbidden":
        return _unknown(path, known)
    key = known.get(_generic(path))
    if details["type"] == "missing" and key:
        return _missing(key)
    hint = details.get("ctx", {}).get("hint", "") if found else ""
    return f"found {found or 'a value that is not shown'}; accepted: {_accepted(details, key)}{hint}"


_ACCEPTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_type": "a whole number",
    "invalid_key": "a word",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "string_type": "text",
    "string_unicode": "text",
    "path_type": "a path",
    "too_short": "at least one entry",
}
"""The accepted values to name, for each of pydantic's error types."""


def _accepted(details: ErrorDetails, key: ConfigKey | None) -> str:
    kind = details["type"]
    if kind == "tuple_type":
        examples = key.field.examples if key else None
        return f"a list, such as {_plain(examples[0])}" if examples else "a list, such as [a, b]"
    if kind == "model_type" and key and key.section:
        return f"a mapping with any of {', '.join(key.section.model_fields)}"
    if kind == "refused":
        return str(details.get("ctx", {}).get("accepted"))
    if kind in _ACCEPTED:
        return _ACCEPTED[kind].format_map(details.get("ctx", {})).replace("'", "")
    return details["msg"].removeprefix("Input should be ")


def _plain(example: Any) -> str:
    """An example as it would be written in the file."""
    return json.dumps(example).replace('"', "")


def _missing(key: ConfigKey) -> str:
    variable = f", or set {key.variable}" if key.variable else ""
    return f"missing; write {key.path[-1]}: {_plain((key.field.examples or ['...'])[0])} in the file{variable}"


def _unknown(path: Sequence[Part], known: Mapping[str, ConfigKey]) -> str:
    if removed := REMOVED.get(_generic(path)):
        return f"removed; {removed}"
    *above, last = path
    word, inside = str(last).lower()[:200], _generic(above)
    prefix = f"{inside}." if inside else ""
    siblings = {name.removeprefix(prefix): name for name in known if name.startswith(prefix)}
    siblings = {short: name for short, name in siblings.items() if "." not in short}
    near = difflib.get_close_matches(word, siblings, n=1)
    if near:
        return f"unknown key; did you mean '{near[0]}'?"
    # prefer keys outside lists, then those nearest to the top
    elsewhere = sorted((name.count("[]"), name.count("."), name) for name in known if name.rpartition(".")[2] == word)
    if elsewhere:
        return f"unknown key here; did you mean '{elsewhere[0][2]}'?"
    return f"unknown key; known here: {', '.join(siblings)}"
