"""Writes the files that follow from the model: the example, the JSON schema, the reference page, the keys' releases;
and the page on moving.

``python -m dev.config_files`` writes them into the current directory; ``--check`` only compares.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dev import since
from dev.config_reference import reference
from dev.config_schema import repeats, resolve, schema
from dev.moving import page
from postroad import system
from postroad.config.keys import keys
from postroad.config.model import Config

HEAD = """\
# yaml-language-server: $schema=config.schema.json
#
# Every key of Postroad with its default; only hostname and domains are needed.
# Made from the model by `python -m dev.config_files`; docs/configuration.md says more.
"""


def example() -> str:
    """A configuration file with every key, its default and its meaning; it loads."""
    root = schema()
    return HEAD + "\n".join(lines(root, root)) + "\n"


def lines(root: dict[str, Any], section: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A section's keys as YAML, each below its meaning; ``root`` is the schema that its references lead into."""
    for name, entry in section["properties"].items():
        below = resolve(root, entry)
        if not indent:
            yield ""
        description = entry.get("description") or below["description"]
        yield from textwrap.wrap(description, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if below is entry or repeats(section, below):
            yield f"{indent}{name}: {_value(entry)}"
        elif "items" in entry or "anyOf" in entry:
            # a list, or a section that may be null: empty as it is, and what could be there as a comment
            yield f"{indent}{name}: {_value(entry)}"
            inside = [line if "items" not in entry else "  " + line for line in lines(root, below, "  ")]
            yield f"{indent}# {name}:"
            yield from (f"{indent}# {line}" for line in ("  -", *inside)[0 if "items" in entry else 1 :])
        else:
            yield f"{indent}{name}:"
            yield from lines(root, below, indent + "  ")


def _value(entry: dict[str, Any]) -> str:
    value = entry["default"] if "default" in entry else entry["examples"][0]
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def files() -> dict[Path, str]:
    """What is generated, by path from the top of the source."""
    return {
        Path("config.example.yaml"): example(),
        Path("config.schema.json"): json.dumps(schema(), indent=2) + "\n",
        since.LEDGER: since.text(since.read(key.name for key in keys(Config))),
        Path("docs/configuration.md"): reference(),
        Path("docs/moving.md"): page(),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which differ; 1 if any does."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    if "--check" not in arguments:
        for path, text in files().items():
            system.write(path, text, mode=0o644)
        return 0
    for path in stale:
        sys.stderr.write(f"{path} is not what the model says: run python -m dev.config_files\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
