"""The short form of ``make faults``: a few faults, a few times each; no message that was answered 250 is lost."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.__main__ import STEPS
from tests.faults.bench import Bench, build_images
from tests.faults.model import run


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    build_images()
    with Bench(os.environ.get("POSTROAD_IMAGE", "postroad:latest"), seed=1) as made:
        yield made


SHORT = (
    "container",
    "mx-after-dot",
    "fsync",
    "doors",
    "front",
    "front-stopped",
    "helper-dies",
    "dripping-mx",
    "uplink",
)
LONG = (
    *("delivery", "front-descriptors", "front-idle", "idle-clients", "neighbours", "guessing", "silent-mx"),
    *("smarthost-password", "token-expires", "evacuate"),
)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_nothing_is_lost(name: str, bench: Bench) -> None:
    (step,) = [step for step in STEPS if step.name == name]
    row = run(step, bench, print, short=True)
    assert row.injected
    assert row.lost == row.faults == []
    assert row.accepted == row.delivered + row.bounced + row.queued
