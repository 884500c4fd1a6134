"""Where values come from: the environment, the files that it names, and mounted secrets.

All three are pairs of name and text, like environment variables, and pydantic-settings parses them alike.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.sources.utils import parse_env_vars

from postroad.config import unreadable
from postroad.config.keys import PREFIX, REMOVED, keys
from postroad.config.section import Section

CONFIG_PATH = f"{PREFIX}CONFIG"
"""Names the YAML file. Not ``..._FILE``: that would be the file to read a key's value from."""

RESERVED = frozenset({CONFIG_PATH, f"{PREFIX}FQDN", f"{PREFIX}LOG_SOCKET", f"{PREFIX}ATTEMPT_TIMEOUT"})
"""Variables that are not keys: the YAML file's path, and what the supervisor tells its children."""

# no service name yields two consecutive underscores, as our own nested keys have
_SERVICE = rf"{PREFIX}(?:[A-Z0-9]+_)*"
_LINK = re.compile(rf"{_SERVICE}(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_[A-Z]+_(?:PROTO|PORT|ADDR))")
_LINK_URL = re.compile(rf"{_SERVICE}PORT(?:_\d+_[A-Z]+)?=(?:tcp|udp|sctp)://\S+")


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set this: it does so in each container, for every service of the namespace.

    The names begin with the service's: ``POSTROAD_PORT`` and ``POSTROAD_SERVICE_HOST`` for ``postroad``,
    ``POSTROAD_METRICS_PORT_9090_TCP_ADDR`` for ``postroad-metrics``.
    """
    return bool(_LINK.fullmatch(name) or _LINK_URL.fullmatch(f"{name}={value}"))


LARGEST_VALUE = 2**20


@dataclass(frozen=True)
class Layer:
    """The values of one source, and how to name the origin of each."""

    values: dict[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    """The name to show in messages for each variable, by the variable in upper case."""
    secret: bool = False
    """Whether the values must not be shown, because they come from files that may hold secrets."""

    def origin(self, path: Sequence[str | int]) -> str | None:
        """The name of the variable or file that set the value at this path."""
        names = (PREFIX + "__".join(map(str, path[:end])).upper() for end in range(len(path), 0, -1))
        return next((self.origins[name] for name in names if name in self.origins), None)


class _Texts(EnvSettingsSource):
    """Parses names and texts as pydantic-settings does, but never fails: the model's own errors explain better."""

    def __init__(self, settings: type[BaseSettings], texts: Mapping[str, str]) -> None:
        # sorted, so that POSTROAD_LOG={...} comes before POSTROAD_LOG__FORMAT, which adds to it
        self._texts = dict(sorted(texts.items()))
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return parse_env_vars(self._texts, self.case_sensitive, self.env_ignore_empty, self.env_parse_none_str)

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON, or a comma-separated list where the key is a list, or the text unchanged."""
        if get_origin(field.annotation) is tuple and not value.lstrip().startswith(("[", "{")):
            return [item.strip() for item in value.split(",") if item.strip()]
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value


@cache
def _settings(model: type[Section]) -> type[BaseSettings]:
    """The model as settings, only for pydantic-settings to look up names; never instantiated."""

    class Settings(model, BaseSettings):  # type: ignore[misc, valid-type]
        model_config = SettingsConfigDict(
            env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True, env_parse_none_str="null"
        )

    return Settings


def layers(model: type[Section], environ: Mapping[str, str], secrets_dir: Path) -> tuple[list[Layer], list[str]]:
    """The environment, the files it names and the mounted secrets, in order of precedence; and their problems.

    Names match in any case. An unknown ``POSTROAD_`` variable is a problem unless Kubernetes made it; an unknown
    secret is not, since a ``..._file`` key may name it.
    """
    known = {key.variable for key in keys(model) if key.variable}
    texts: dict[str, str] = {}
    files: dict[str, tuple[str, Path]] = {}
    problems = []
    for original, value in environ.items():
        name = original.upper()
        stem = name.removesuffix("_FILE")
        if name in known:
            texts[name] = value
        elif stem in known:
            files[stem] = (original, Path(value))
        elif name.startswith(PREFIX) and name not in RESERVED and not _is_service_link(name, value):
            problems.append(_unknown(original, known))

    named, named_problems = _read((stem, f"{name}, {shown(path)}", name, path) for stem, (name, path) in files.items())
    try:
        mounted = sorted(secrets_dir.iterdir()) if secrets_dir.is_dir() else []
    except OSError as error:
        mounted = []
        problems.append(
            f"{secrets_dir} can't be read by uid {os.getuid()}: {error.strerror}{unreadable.owner(secrets_dir)}"
        )
    secrets, secret_problems = _read(
        (path.name.upper(), shown(path), shown(path), path) for path in mounted if path.name.upper() in known
    )
    settings = _settings(model)
    found = [
        Layer(_Texts(settings, texts)(), {name: name for name in texts}),
        Layer(_Texts(settings, named[0])(), named[1], secret=True),
        Layer(_Texts(settings, secrets[0])(), secrets[1], secret=True),
    ]
    return found, problems + named_problems + secret_problems


def _read(
    files: Iterable[tuple[str, str, str, Path]],
) -> tuple[tuple[dict[str, str], dict[str, str]], list[str]]:
    """The text and origin by variable, from (variable, origin, name in messages, path), and the problems."""
    texts: dict[str, str] = {}
    origins: dict[str, str] = {}
    problems = []
    for variable, origin, name, path in files:
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_VALUE + 1)
            if len(data) > LARGEST_VALUE:
                problems.append(f"At {name!r}: {shown(path)} is larger than 1 MiB")
                continue
            texts[variable] = data.decode().removesuffix("\n").removesuffix("\r")
            origins[variable] = origin
        except UnicodeDecodeError:
            problems.append(f"At {name!r}: {shown(path)} is not UTF-8 text")
        except (OSError, ValueError) as error:
            # ValueError: a path with a NUL in it
            problems.append(f"At {name!r}: {shown(path)} {unreadable.reason(path, error)}")
    return (texts, origins), problems


def shown(path: Path) -> str:
    """A path for a message, escaped and shortened, since it may be any text."""
    return repr(str(path)[:200])[1:-1]


def _unknown(name: str, known: Iterable[str]) -> str:
    key = name.upper().removesuffix("_FILE").removeprefix(PREFIX).replace("__", ".").lower()
    if removed := REMOVED.get(key):
        return f"At {name[:100]!r}: removed; {removed}"
    # compared without the prefix, which would make all of them similar
    words = [variable.removeprefix(PREFIX) for variable in (*known, *RESERVED)]
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX)[:100], words, n=1)
    return f"At {name[:100]!r}: unknown variable" + (f"; did you mean '{PREFIX}{near[0]}'?" if near else "")
