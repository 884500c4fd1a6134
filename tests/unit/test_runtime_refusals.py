"""Texts that one process writes and another understands."""

from datetime import date

import pytest

from postroad.config.delivery import Route, WarmUp
from postroad.runtime import flushing, refusals
from postroad.sendmail import outbound

ROUTES = [
    Route(domains=("a.example",), smarthost=None, concurrency=2, rate="100/minute"),
    Route(senders=(".b.example",), smarthost=None, warm_up=WarmUp(since=date(2026, 11, 24), daily=(50,))),
    Route(domains=("c.example",), senders=("d.example",), smarthost=None, rate="5/day"),
]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("noted", ["{}", "Deferred: 451 {}", "Deferred: 451 4.7.0 {}"])
def test_the_group_of_a_route_is_read_as_it_was_written(index: int, noted: str) -> None:
    shape = outbound.RouteGroup(index, ROUTES[index], None)
    assert refusals.group_of(noted.format(shape.waits)) == shape.group
    assert shape.said in shape.waits


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "Deferred: Connection refused by mx.rcpt.example.",
        "Deferred: 451 waits for its turn: delivery.routes[3] (2 at once)",
        "Deferred: 451 queue group route-5f7aef8e",
        "Deferred: 451 waits for its turn: x, queue group route-5f7aef8e.example",
    ],
)
def test_other_reasons_name_no_group(reason: str) -> None:
    assert refusals.group_of(reason) is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (f"550 5.1.1 <u@rcpt.example>... {refusals.SUPPRESSED} (userunknown): postroad suppress remove", "suppressed"),
        (f"451 4.7.1 no mail from ex.org {refusals.BRAKED}: 3 of 20", "braked"),
        ("550 5.1.1 User unknown", None),
    ],
)
def test_the_class_of_a_refusal_of_ours(reply: str, expected: str | None) -> None:
    assert refusals.class_of(reply) == expected


@pytest.mark.parametrize("ids", [None, frozenset(), frozenset({"a1", "b2"})])
def test_a_request_to_flush_is_read_as_it_was_written(ids: frozenset[str] | None) -> None:
    assert flushing.read(flushing.request(ids)) == ids


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"ids": 1}', b"\xff"])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        flushing.read(data)
