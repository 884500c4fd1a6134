"""Recipients whose mail goes to another address: the line that the signer writes, and its reader."""

import json
import re
from collections.abc import Iterable, Iterator

LONGEST = 1900
"""Octets of such a line: the log takes 2,000, with what stands before it."""

_LINE = re.compile(r"(?P<id>[0-9A-Za-z]{1,32}): redirected (?P<pairs>\{.*\})")


def written(queue_id: str, redirected: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The lines about a message: as many as its recipients need.

    Args:
        queue_id: the message's.
        redirected: each recipient as the client named it, and the address that its mail goes to.
    """
    head = f"{queue_id}: redirected "
    pairs: dict[str, str] = {}
    size = 0
    for recipient, target in redirected:
        more = len(json.dumps({recipient: target})) + 2
        if pairs and len(head) + size + more > LONGEST:
            yield head + json.dumps(pairs)
            pairs, size = {}, 0
        pairs[recipient] = target
        size += more
    if pairs:
        yield head + json.dumps(pairs)


def read(text: str) -> tuple[str, dict[str, str]] | None:
    """The queue id in such a line, and its recipients with the address that the mail of each goes to; else None."""
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    try:
        pairs = json.loads(match["pairs"])
    except ValueError:
        return None
    whole = all(isinstance(target, str) for target in pairs.values())
    return (match["id"], pairs) if whole else None
