"""``make mutants``: what becomes of a change that is tried alone, and the share that is told."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dev import mutants

TEST = """
import os

def test_it(): assert os.environ["MUTANT_UNDER_TEST"] != "postroad.room.noticed"
def test_that(): assert {works}
"""


@pytest.mark.parametrize(
    ("name", "works", "became"),
    [("noticed", True, "killed"), ("other", True, "survived"), ("noticed", False, "not tried")],
)  # fmt: skip
def test_a_change_counts_as_noticed_where_the_tests_pass_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, works: bool, became: str
) -> None:
    (tmp_path / "test_small.py").write_text(TEST.format(works=works))
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["docker", "compiler", "node"]\n')
    monkeypatch.setattr(mutants, "TREE", tmp_path)
    tests = ["test_small.py::test_it", "test_small.py::test_that"]
    assert mutants.alone(f"postroad.room.{name}", tests, 60) == became


def test_a_test_that_is_not_found_by_its_name_is_run_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_small.py").write_text(TEST.format(works=True))
    monkeypatch.setattr(mutants, "TREE", tmp_path)
    assert mutants.alone("postroad.room.other", ["test_small.py::test_gone"], 60) == "survived"


def test_the_share_is_told_by_room_and_fails_below_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mutants, "get_diff_for_mutant", lambda name: f"# {name}\n")
    became = {f"postroad.a.x{number}": "killed" for number in range(84)} | {"postroad.b.x1": "timeout"}
    became |= {f"postroad.b.y{number}": "survived" for number in range(15)}
    said = StringIO()
    assert mutants.report(became, Console(file=said, width=200)) == 0
    assert said.getvalue().splitlines()[-1].split("(")[0].split() == ["all", "85", "of", "100", "85.0", "%"]
    assert said.getvalue().endswith("(76.7 to 90.7 %)  1 timeout, 15 survived\n")
    assert (tmp_path / "dist" / "mutants.txt").read_text().count("# postroad.b.y") == 15
    assert mutants.report(became | {"postroad.a.x0": "no tests"}, Console(file=said)) == 1
