"""What a row must show besides the account of its messages; pure."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WINDOW = 59.5
"""Seconds in which a receiver may see a minute's rate: its clock is read as data comes, the relay's as a try begins."""


def most_within(times: Iterable[float], seconds: float) -> int:
    """The most of these moments that lie in any window of so many seconds."""
    ordered = sorted(times)
    return max((bisect_left(ordered, at + seconds) - number for number, at in enumerate(ordered)), default=0)


def posted(requests: Sequence[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How often the end of each message was posted, by Message-ID and kind (``delivered``, ``bounced``)."""
    found: Counter[tuple[str, str]] = Counter()
    for request in requests:
        event = json.loads(request["body"])["data"]
        if event["event"] in {"delivered", "bounced"}:
            found[str(event.get("message_id", "")), str(event["event"])] += 1
    return found


def wrong_posts(
    requests: Sequence[Mapping[str, Any]], wanted: Iterable[tuple[str, str]]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Which of the wanted ends were not posted, and which more than once."""
    found = posted(requests)
    expected = set(wanted)
    return expected - found.keys(), {end for end in expected if found[end] > 1}
