"""What differs between two generations: a line for each key, and for each file that was read anew."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from postroad.runtime import plan

_FILE = "file "
"""What comes before a path, so that it is no key."""
_NETWORKS, _POLICY = "networks ", "policy "
"""The networks that this container is attached to, and who may send because of them: no keys either."""

_NULL = "null"


def snapshot(generation: Path) -> Mapping[str, str]:
    """A generation's keys with their values as JSON, and what else it was made from; empty where there is none."""
    written = generation / "config.json"
    if not written.exists():
        return {}
    made = plan.load(generation / plan.FILE)
    files = {f"{_FILE}{path}": made.watched[path] for path in made.watched}
    return {**dict(_flat(json.loads(written.read_text()))), **files, _NETWORKS: made.networks, _POLICY: made.policy}


def between(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What changed, a line each; nothing where there was none before."""
    if not before:
        return []
    # a key that is not there is null: what is below an optional section comes and goes with it
    changed = [key for key in sorted({*before, *after}) if before.get(key, _NULL) != after.get(key, _NULL)]
    keys = [key for key in changed if not key.startswith((_FILE, _NETWORKS, _POLICY))]
    files = [key for key in changed if key.startswith(_FILE) and key in before and key in after]
    return [
        *(f"{key}: {before.get(key, _NULL)} -> {after.get(key, _NULL)}" for key in keys),
        *(f"{key.removeprefix(_FILE)}: another file, read anew" for key in files),
        *([f"this container's networks: read anew, now {after[_POLICY]}"] if _NETWORKS in changed else []),
    ]


def _flat(value: object, at: str = "") -> Iterator[tuple[str, str]]:
    """A nested mapping as (dotted key, JSON of the value) pairs."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{at}.{key}" if at else key)
    else:
        yield at, json.dumps(value)
