"""The base class of all sections of the model: closed to unknown keys, frozen, and safe to render."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from postroad.config.values import refuse

_Value = TypeVar("_Value", bound=str)


class Section(BaseModel):
    """A mapping of keys: frozen, hashable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: ClassVar[frozenset[str]] = frozenset()
    """Keys whose text is m4 by design; all others refuse characters that m4 could read as quotes."""

    @field_validator("*")
    @classmethod
    def _inert(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse text that could end a quoted m4 string. This is the only place for it, so that no key is forgotten.

        It sees the final values that will be rendered, whatever they were made from.
        """
        if info.field_name not in cls.raw:
            for at, text in _texts(value):
                if "`" in text or "'" in text or not text.isprintable():
                    refuse("text without `, ', line breaks and control characters", at=at)
        return value


def _texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The texts in a value, each with the rest of its path; nested sections check their own."""
    if isinstance(value, str | PurePath):
        yield path, str(value)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _texts(item, (*path, i))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key, path)
            yield from _texts(item, (*path, key))


class FrozenMap(Mapping[str, _Value]):
    """A mapping that can't be changed and is therefore hashable."""

    def __init__(self, items: Mapping[str, _Value]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> _Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)
