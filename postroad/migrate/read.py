"""Reads environments: an env file, ``docker run``'s options, a compose file."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from postroad.errors import ConfigError
from postroad.migrate.images import by_repository

NAME = re.compile(r"[A-Za-z_]\w*")
LARGEST = 2**20


@dataclass(frozen=True)
class Source:
    """The environment in a text.

    Attributes:
        variables: names and values.
        image: the image that it names; empty if it names none.
        volumes: paths in the container at which something is mounted.
        notes: the parts that could not be read.
    """

    variables: Mapping[str, str]
    image: str = ""
    volumes: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = field(default=())


def read(text: str, service: str | None = None) -> Source:
    """Read a text in any of the three forms.

    Args:
        text: the text.
        service: the service of a compose file; by default the one whose image is known.

    Raises:
        ConfigError: it has none of the forms.
    """
    if len(text) > LARGEST:
        raise ConfigError(f"larger than {LARGEST} characters: that is too large for an environment")
    if re.search(r"(^|\s)(docker|podman)\s+run\s|^\s*(-e|--env)[\s=]", text):
        return _command(text)
    services = _services(text)
    return _compose(services, service) if services else _env_file(text)


def _command(text: str) -> Source:
    try:
        words = shlex.split(re.sub(r"\\\r?\n", " ", text), comments=True)
    except ValueError as error:
        raise ConfigError(f"the command can't be read as a shell would: {error}") from error
    variables: dict[str, str] = {}
    volumes = []
    image = ""
    notes = []
    pending = ""
    for word in words:
        option, equals, value = word.partition("=")
        if pending in {"-e", "--env"} or (option == "--env" and equals) or re.match(r"-e[A-Za-z_]", word):
            setting = word if pending else value if option == "--env" else word[2:]
            name, _, content = setting.partition("=")
            variables[name] = content
        elif pending in {"-v", "--volume"} or (option == "--volume" and equals):
            volumes.append((word if pending else value).partition(":")[2].partition(":")[0])
        elif pending == "--env-file" or (option == "--env-file" and equals):
            notes.append(("--env-file", "not read: name the file after this one."))
        elif by_repository(word):
            image = image or word
        pending = "" if pending else word if word in {"-e", "--env", "-v", "--volume", "--env-file"} else ""
    return Source(_named(variables), image, tuple(volumes), tuple(notes))


def _services(text: str) -> dict[str, Any]:
    """The services of a compose file, also an old one with services at the top level; empty if it is not one."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    services = document.get("services", document)
    found = {str(k): v for k, v in services.items() if isinstance(v, dict)} if isinstance(services, dict) else {}
    return {name: each for name, each in found.items() if {"image", "build", "environment"} & set(each)}


def _compose(services: Mapping[str, dict[str, Any]], wanted: str | None) -> Source:
    known = [name for name, each in services.items() if by_repository(str(each.get("image", "")))]
    names = [wanted] if wanted else known or (list(services) if len(services) == 1 else [])
    if len(names) != 1 or names[0] not in services:
        raise ConfigError(f"which service is meant? Add --service with one of {', '.join(services)}")
    service = services[names[0]]
    given = service.get("environment") or {}
    pairs = [str(each).partition("=")[::2] for each in given] if isinstance(given, list) else list(given.items())
    variables, notes = {}, []
    for name, value in pairs:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if re.search(r"(?<!\$)(\$\$)*\$[{A-Za-z_]", text):
            notes.append((name, "has a ${…} that Compose fills in: give the output of `docker compose config`."))
        else:
            variables[str(name)] = text.replace("$$", "$")
    if service.get("env_file"):
        notes.append(("env_file", "not read: name the file after the compose file."))
    return Source(_named(variables), str(service.get("image", "")), _mounts(service.get("volumes")), tuple(notes))


def _mounts(volumes: Any) -> tuple[str, ...]:
    found = []
    for each in volumes if isinstance(volumes, list) else []:
        found.append(str(each.get("target", "")) if isinstance(each, dict) else str(each).rpartition(":")[2])
        if isinstance(each, str) and each.count(":") > 1:
            found[-1] = each.split(":")[1]
    return tuple(found)


def _env_file(text: str) -> Source:
    variables = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().removeprefix("export ").strip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not equals or not NAME.fullmatch(name.strip()):
            raise ConfigError(
                f"line {number} is no NAME=value: give an env file, a `docker run` command or a compose file"
            )
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        variables[name.strip()] = value
    return Source(variables)


def _named(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if NAME.fullmatch(name)}
