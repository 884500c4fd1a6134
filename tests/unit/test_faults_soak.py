"""What `make soak` concludes from its samples."""

from pathlib import Path

import pytest

from tests.faults.account import Row
from tests.faults.soak import MEASURES, Result, duration, fill, p99, rows

FLAT = (80 * 2.0**20, 90.0, 20.0, 12.0, 2.0**20)


def result(**growth: float) -> Result:
    """A run of an hour, with a sample every 15 seconds; what grows, by how much an hour in its own unit."""
    made = Result(seed=1, seconds=3600.0, row=Row("soak", "all"))
    units = {each.name: each.unit[0] for each in MEASURES}
    for at in range(0, 3600, 15):
        values = (
            value + growth.get(each.name, 0.0) * units[each.name] * at / 3600
            for each, value in zip(MEASURES, FLAT, strict=True)
        )
        made.samples.append((float(at), *values))
    made.first, made.last = 0.1, 0.11
    return made


def test_what_is_flat_is_good() -> None:
    made = result(memory=5.0)
    made.judge()
    assert made.faults == []
    assert made.line(0)[1] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("name", "growth"),
    [("memory", 40.0), ("descriptors", 60.0), ("processes", 20.0), ("threads", 10.0), ("journal", 9.0)],
)
def test_what_grows_is_told(name: str, growth: float) -> None:
    made = result(**{name: growth})
    made.judge()
    assert [fault.split()[0] for fault in made.faults] == [name]


def test_what_is_slower_is_told_and_what_is_lost() -> None:
    made = result()
    made.last = 0.2
    made.row.lost = ["r1-7 (6AQ7Gk5e000012)"]
    made.judge()
    assert [fault.partition(":")[0] for fault in made.faults] == [
        "lost",
        "p99 of acceptance grew from 0.100 s to 0.200 s",
    ]


def test_a_beginning_that_fills_caches_does_not_count() -> None:
    made = result()
    made.samples = [(at, *(value / 2 if at < 300 else value for value in rest)) for at, *rest in made.samples]
    made.judge()
    assert made.faults == []


def test_without_samples_nothing_is_shown() -> None:
    made = result()
    made.samples = made.samples[:5]
    made.judge()
    assert made.faults == ["5 samples only: this shows nothing"]


def test_durations() -> None:
    assert [duration(text) for text in ("90s", "10m", "1h")] == [90, 600, 3600]
    assert p99([float(number) for number in range(1000)]) == 990.0


def test_the_page_is_filled(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- soak: begin -->\nold\n<!-- soak: end -->\nb\n")
    fill(page, result())
    text = page.read_text()
    assert "old" not in text
    assert text.endswith("<!-- soak: end -->\nb\n")
    assert all(f"| {name} |" in text for name, _ in rows(result()))
