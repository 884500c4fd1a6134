"""How the rows of ``make scale`` are judged; that what is done fits the number of engines."""

import json
from typing import Any

import pytest

from tests.scale.judge import most_within, posted, wrong_posts
from tests.scale.rows import WATCH, deeds


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5.0], 1), ([0, 59, 60], 2), ([100, 0, 59, 60, 61], 4), ([0, 60, 120], 1), ([7, 7, 7], 3)],
)
def test_the_most_in_any_window(times: list[float], most: int) -> None:
    assert most_within(times, 60) == most


def request(number: str, kind: str) -> dict[str, Any]:
    return {"body": json.dumps({"id": "x", "data": {"event": kind, "message_id": f"<{number}@sender.example>"}})}


def test_an_end_that_was_not_posted_or_twice_is_seen() -> None:
    requests = [request("1", "delivered"), request("2", "bounced"), request("2", "bounced"), request("9", "accepted")]
    first, second, third = (
        ("<1@sender.example>", "delivered"),
        ("<2@sender.example>", "bounced"),
        ("<3@x>", "delivered"),
    )
    assert posted(requests) == {first: 1, second: 2}
    assert wrong_posts(requests, [first]) == (set(), set())
    assert wrong_posts(requests, [first, second, third]) == ({third}, {second})
    assert wrong_posts([], [first]) == ({first}, set())


@pytest.mark.parametrize(
    ("members", "engines", "way"), [(3, 5, "3 → 5 → 2 → 3"), (2, 2, "2 → 1 → 2"), (3, 3, "3 → 2 → 3")]
)
def test_what_is_done(members: int, engines: int, way: str) -> None:
    found = deeds(members, engines)
    assert way in next(deed.title for deed in found if deed.name == "scale")
    assert [deed.final for deed in found] == [False] * (len(found) - 1) + [True], "nothing comes after a loss"
    compile(WATCH, "watch", "exec")
