"""The README's pictures are what ``make pictures`` takes of today's commands."""

import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pytest

from dev.pictures import FOLDER, PAGES, WIDTH, picture
from postroad.checks import CHECKS
from tests.documents import ROOT

README = (ROOT / "README.md").read_text()
CONSOLE = (ROOT / "docs/console.md").read_text()
PICTURES = sorted((ROOT / FOLDER).glob("*.svg"))


def words(name: str) -> str:
    """What a picture shows, without the spaces."""
    text = (ROOT / FOLDER / name).read_text()
    ET.fromstring(text)
    return re.sub(r"\s", "", unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", text))))


def test_the_readme_shows_each_and_is_short() -> None:
    shown = re.findall(r"!\[[^\]]{20,}\]\(((?:docs/)?pictures/[\w-]+\.(?:svg|png))\)", README + CONSOLE)
    taken = sorted(path.name for path in (ROOT / FOLDER).iterdir())
    assert sorted(Path(each).name for each in shown) == taken
    assert set(taken) == {*(f"{name}.png" for name, *_ in PAGES), "doctor.svg", "trace.svg"}
    assert len(README.splitlines()) < 100


def test_pictures_are_small() -> None:
    assert all(path.stat().st_size < 150_000 for path in (ROOT / FOLDER).iterdir())


def test_the_doctor_s_checks_are_those_of_today() -> None:
    seen = words("doctor.svg")
    assert "postroaddoctor" in seen
    # these say nothing unless something is configured or published
    silent = {"smarthost", "smarthost-session", "returns", "reports", "mta-sts", "bimi", "store"}
    expected = {check.ID for check in CHECKS} - silent
    missing = [name for name in expected if name not in seen]
    # what is below the last line is cut
    assert len(missing) < len(expected) / 2, missing


def test_the_trace_shows_a_delivery_and_a_bounce() -> None:
    seen = words("trace.svg")
    for word in ("delivered", "bounced", "you@example.net"):
        assert word in seen


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_fetches_nothing(path: object) -> None:
    text = str(path) and (ROOT / str(path)).read_text()
    assert set(re.findall(r"https?://[^\"')\s]+", text)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def test_the_same_output_is_the_same_picture() -> None:
    output = "\x1b[32m✔\x1b[0m fine\n" * 40
    assert picture("postroad doctor", output) == picture("postroad doctor", output)
    assert "…" in picture("postroad doctor", output)
    assert WIDTH > 80
