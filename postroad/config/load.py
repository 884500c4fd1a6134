"""Reads the configuration: environment over named files over mounted secrets over YAML over defaults."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from postroad.config.keys import PREFIX
from postroad.config.model import Config
from postroad.config.problems import Origin, explain
from postroad.config.sources import CONFIG_PATH, Layer, layers, shown
from postroad.config.yamlfile import Document, read
from postroad.errors import ConfigError

DEFAULT_PATH = Path("/etc/postroad/config.yaml")
SECRETS_DIR = Path("/run/secrets")
MISSING = " (not there)"


@dataclass(frozen=True)
class Loaded:
    """A configuration, and where its values come from.

    Attributes:
        config: the configuration.
        files: the YAML file, if it exists, and the files that held single values.
        source: where the value of a top-level key comes from, such as ``POSTROAD_HOSTNAME in the environment``.
        origin: where the value at a path comes from, such as ``("delivery", "queue", "retry")``; without a name: it is
            the default.
    """

    config: Config
    files: tuple[Path, ...]
    source: Callable[[str], str]
    origin: Callable[[Sequence[str | int]], Origin]


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, secrets_dir: Path = SECRETS_DIR) -> Config:
    """The configuration; arguments and errors are ``read_all``'s."""
    return read_all(path, environ, secrets_dir).config


def read_all(
    path: Path | None = None, environ: Mapping[str, str] | None = None, secrets_dir: Path = SECRETS_DIR
) -> Loaded:
    """The configuration, and where its values come from.

    Args:
        path: the YAML file; by default the one that ``POSTROAD_CONFIG`` names, else ``/etc/postroad/config.yaml``,
            which need not exist.
        environ: the environment variables; by default those of this process.
        secrets_dir: where secrets are mounted, as files named after the variables in upper or lower case.

    Raises:
        ConfigError: with every problem found, one per line.
    """
    environ = os.environ if environ is None else environ
    chosen = path or (Path(environ[CONFIG_PATH]) if environ.get(CONFIG_PATH) else None)
    found, problems = layers(Config, environ, secrets_dir)
    title = shown(chosen or DEFAULT_PATH)
    try:
        document = read(chosen or DEFAULT_PATH)
    except FileNotFoundError:
        document = Document({}, None)
        title += MISSING
        if chosen:
            raise _error(title, ["there is no such file", *problems]) from None
    except ConfigError as error:
        # without the file, most other keys would be reported as missing
        raise _error(title, [str(error), *problems]) from error

    values = document.values
    for layer in reversed(found):
        values = _merge(values, layer.values)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:

        def origin(at: Sequence[str | int]) -> Origin:
            return _origin(at, found, document)

        raise _error(title, [*problems, *explain(error, values, origin=origin)]) from None
    if problems:
        raise _error(title, problems)

    def source(key: str) -> str:
        layer = next((layer for layer in found if key in layer.values), None)
        if layer:
            name = layer.origin([key]) or f"{PREFIX}{key.upper()}__*"
            return name if layer.secret else f"{name} in the environment"
        line = document.line([key]) if key in document.values else None
        return f"{title}, line {line}" if line else "its default"

    named = (Path(origin.rpartition(", ")[2]) for layer in found if layer.secret for origin in layer.origins.values())
    there = () if title.endswith(MISSING) else (chosen or DEFAULT_PATH,)
    return Loaded(config, (*there, *named), source, lambda at: _origin(at, found, document))


def _error(title: str, problems: Sequence[str]) -> ConfigError:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return ConfigError("\n".join([f"{title}: {count}", *problems]))


def _merge(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge mappings key by key; everything else, including lists, is replaced as a whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _origin(path: Sequence[str | int], found: Sequence[Layer], document: Document) -> Origin:
    for layer in found:
        if _holds(layer.values, path):
            return Origin(layer.origin(path), layer.secret)
    line = document.line(path) if _holds(document.values, path) else None
    return Origin(f"line {line}" if line else None)


def _holds(values: Any, path: Sequence[str | int]) -> bool:
    for part in path:
        if isinstance(values, list):
            inside = isinstance(part, int) and part < len(values)
        else:
            inside = isinstance(values, Mapping) and part in values
        if not inside:
            return False
        values = values[part]
    return True
