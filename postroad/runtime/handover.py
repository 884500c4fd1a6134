"""Settings that an installation writes and a process reads: a frozen dataclass, as JSON. Standard library only.

Reading is strict, because both sides come from the same image: a field too many or too few, or one of another type,
is a bug of ours, and a process that went on with a guess would be worse than one that does not start.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)
else:
    Settings = TypeVar("Settings")


class SettingsError(ValueError):
    """A file of settings does not hold what the dataclass says; the message names the field and both types."""


def dumps(settings: "DataclassInstance") -> str:
    """Settings as JSON. Fields hold str, int, float, bool, None, tuples, dicts by str, and dataclasses of these."""
    return json.dumps(asdict(settings), indent=1) + "\n"


def load(kind: type[Settings], path: Path) -> Settings:
    """Read settings of this kind from a file.

    Raises:
        OSError: the file can't be read.
        SettingsError: it holds something else.
    """
    return loads(kind, path.read_text(), path.name)


def loads(kind: type[Settings], text: str, name: str = "settings") -> Settings:
    """Read what ``dumps`` wrote; ``name`` is what an error calls it.

    Raises:
        SettingsError: it is something else.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name} is not JSON: {error}") from error
    settings: Settings = _dataclass(kind, data, name)
    return settings


def _dataclass(kind: Any, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise _other(kind, data, where)
    types = get_type_hints(kind)
    wanted = {field.name for field in fields(kind)}
    if data.keys() != wanted:
        missing, unknown = sorted(wanted - data.keys()), sorted(data.keys() - wanted)
        raise SettingsError(f"{where}: missing fields {missing}, unknown fields {unknown}")
    return kind(**{name: _value(types[name], value, f"{where}.{name}") for name, value in data.items()})


def _value(kind: Any, value: object, where: str) -> Any:
    """A value of JSON as one of this type."""
    origin = get_origin(kind)
    if origin in {UnionType, Union}:
        return _any_of(get_args(kind), value, where)
    if origin is tuple and isinstance(value, list):
        return _tuple(get_args(kind), value, where)
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(get_args(kind)[1], each, f"{where}[{key!r}]") for key, each in value.items()}
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    return _plain(kind, value, where)


def _plain(kind: Any, value: object, where: str) -> Any:
    if type(value) is kind or (get_origin(kind) is Literal and value in get_args(kind)):  # a bool is no int
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise _other(kind, value, where)


def _any_of(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    errors = []
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except SettingsError as error:
            errors.append(error)
    raise errors[0]


def _tuple(kinds: tuple[Any, ...], values: list[object], where: str) -> tuple[Any, ...]:
    if kinds[1:] == (...,):
        kinds = (kinds[0],) * len(values)
    if len(kinds) != len(values):
        raise SettingsError(f"{where}: {len(kinds)} values wanted, {len(values)} found")
    pairs = zip(kinds, values, strict=True)
    return tuple(_value(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(pairs))


def _other(kind: Any, value: object, where: str) -> SettingsError:
    # the type alone: settings may be secret
    return SettingsError(f"{where}: {getattr(kind, '__name__', kind)} wanted, {type(value).__name__} found")
