"""The benchmark measures: a small load through every contender, with all that makes a round count."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.contenders import BEST, CONTENDERS, NORMAL, POPULAR
from bench.lab import Lab, build_images
from bench.measure import Run
from bench.scenarios import BASE
from bench.tables import Figures


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    build_images()
    with Lab() as made:
        yield made


@pytest.mark.long
@pytest.mark.timeout(900)  # the first time, images are built
def test_a_short_run(lab: Lab) -> None:
    contenders = [contender for contender in CONTENDERS if lab.knows(contender)]
    scenario = replace(BASE, messages=20)
    said: list[str] = []
    result = Run(lab, contenders, [scenario], 1, lambda text, *_: said.append(text), whole=False).measure()

    assert result["failures"] == []
    figures = Figures(result)
    assert {NORMAL, POPULAR, BEST} <= {*figures.contenders}
    assert said == [f"base: {name}, round 1" for name in figures.contenders]
    assert [row["contender"] for row in result["rounds"]] == list(figures.contenders)
    for row in result["rounds"]:
        assert 0 < row["accept_p50"] <= row["accept_p99"]
        assert 0 < row["transit_p50"] <= row["transit_p99"]
        assert row["rate"] > 0
        assert row["cpu_ms"] > 0.5  # a signature alone takes as much
        assert 2**23 < row["memory"] <= row["memory_with_files"]
