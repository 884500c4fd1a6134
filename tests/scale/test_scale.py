"""The short form of ``make scale``: two engines, a few rows; no message that was answered 250 is lost."""

import os
from collections.abc import Iterator

import pytest

from tests.scale.rows import deeds, run
from tests.scale.site import Site, build

ENGINES = 2


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    build()
    with Site(os.environ.get("POSTROAD_IMAGE", "postroad:latest"), 1, ENGINES, ENGINES) as made:
        yield made


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["update", "scale", "db-restart"])
def test_nothing_is_lost(name: str, site: Site) -> None:
    (deed,) = [deed for deed in deeds(ENGINES, ENGINES) if deed.name == name]
    row = run(deed, site, print)
    assert row.injected
    assert row.lost == row.faults == []
    assert row.accepted == row.delivered + row.bounced + row.queued
