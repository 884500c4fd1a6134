"""The rows that `make faults` keeps."""

from pathlib import Path

from tests.faults.account import Row
from tests.faults.report import Kept


def test_rows_outlive_a_run_and_a_later_one_takes_an_earlier_one_s_place(tmp_path: Path) -> None:
    path = tmp_path / "dist" / "faults.json"
    made = Kept(path, "sha256:1")
    made.keep(Row("mx-421", "421", injected=27, lost=["7"]))
    made.keep(Row("packets", "packets", notes=["slow"]))
    again = Kept(path, "sha256:1")
    again.keep(Row("mx-421", "421", injected=100))
    assert Kept(path, "sha256:1").rows == {
        "mx-421": Row("mx-421", "421", injected=100),
        "packets": Row("packets", "packets", notes=["slow"]),
    }


def test_rows_of_another_image_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    Kept(path, "sha256:1").keep(Row("packets", "packets"))
    assert Kept(path, "sha256:2").rows == {}
    Kept(path, "sha256:2").keep(Row("mx-421", "421"))
    assert Kept(path, "sha256:1").rows == {}


def test_without_a_file_nothing_is_written() -> None:
    made = Kept(None, "sha256:1")
    made.keep(Row("packets", "packets"))
    assert [*made.rows] == ["packets"]
