from postroad.checks import address
from tests.integration.checks.conftest import ADDRESS, SIX, Examine


def test_known(examine: Examine) -> None:
    (finding,) = examine(address, addresses=[ADDRESS, SIX])
    assert (finding.level, finding.message) == ("ok", f"mail leaves as {ADDRESS}, {SIX}")


def test_unknown(examine: Examine) -> None:
    (finding,) = examine(address, addresses=[])
    assert (finding.level, "public_ip" in finding.fix) == ("error", True)
