"""The model's keys as a list: for the environment, the error messages and the generated files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from postroad.config.section import Section

PREFIX = "POSTROAD_"

REMOVED = {
    "listeners.bulk": "take the key out and let its clients connect to listeners.smtp, which is faster than bulk was",
}
"""Keys of former versions, and what to do instead."""


@dataclass(frozen=True)
class ConfigKey:
    """One key of the configuration, at any depth."""

    path: tuple[str, ...]
    """The names from the top; the name of a list has ``[]`` before its entries' keys."""
    field: FieldInfo
    section: type[Section] | None
    """The section below it, for a mapping of keys or a list of such mappings."""

    @property
    def name(self) -> str:
        """The key as people write it, such as ``domains[].dkim.selector``."""
        return ".".join(self.path)

    @property
    def is_list(self) -> bool:
        """Whether the key is a list of sections."""
        return self.section is not None and _holds_list(self.field.annotation)

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it; None inside a list, which can only be set as a whole."""
        return None if "[]" in self.name else f"{PREFIX}{'__'.join(self.path).upper()}"


def _holds_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_holds_list, get_args(annotation)))


def section_of(annotation: Any) -> type[Section] | None:
    """The section in an annotation: the section itself, ``X | None`` or a tuple of it."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_of, get_args(annotation))), None)


def keys(model: type[Section], above: tuple[str, ...] = ()) -> Iterator[ConfigKey]:
    """All keys of a model in the order of their declaration, each before the keys below it."""
    for name, field in model.model_fields.items():
        key = ConfigKey((*above, name), field, section_of(field.annotation))
        yield key
        if key.section:
            yield from keys(key.section, (*above, name + "[]" if key.is_list else name))
