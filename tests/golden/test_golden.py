"""Each folder here is a configuration and every file that it must give.

``python -m tests.golden.test_golden`` writes the expected files anew: read the difference before you commit it.
"""

import shutil
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from postroad.config.load import load
from postroad.secrets.keys import wanted
from postroad.sendmail.files import RenderedFile, files
from postroad.sendmail.networks import Surroundings

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/config.yaml"))
AROUND = Surroundings(
    subnets=(ip_network("172.20.0.0/16"), ip_network("fd00:1::/64")),
    gateways=(ip_address("172.20.0.1"), ip_address("fd00:1::1")),
)


def rendered(case: str) -> list[RenderedFile]:
    config = load(HERE / case / "config.yaml", environ={}, secrets_dir=HERE / "no-secrets")
    return files(config, wanted(config, Path("/var/lib/postroad")), AROUND, base=Path("/run/postroad/gen-1"))


@pytest.mark.parametrize("case", CASES)
def test_every_file_is_as_expected(case: str) -> None:
    expected = {
        str(path.relative_to(HERE / case / "expected")): path.read_text()
        for path in (HERE / case / "expected").rglob("*")
        if path.is_file()
    }
    assert {file.path: file.text for file in rendered(case)} == expected


if __name__ == "__main__":
    for name in CASES:
        shutil.rmtree(HERE / name / "expected", ignore_errors=True)
        for each in rendered(name):
            target = HERE / name / "expected" / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(each.text)
