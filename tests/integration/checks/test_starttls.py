import pytest

from postroad.checks import starttls
from tests.integration.checks.conftest import Examine, levels
from tests.internet.internet import Internet


def domains(*names: str) -> dict[str, object]:
    return {"doctor": {"receivers": [f"{name}.receivers.example" for name in names]}}


def test_right(trusted: None, receivers: Internet, examine: Examine) -> None:
    (finding,) = examine(starttls, config=domains("right"))
    assert (finding.level, finding.seen.endswith("TLSv1.3")) == ("ok", True)


@pytest.mark.parametrize(
    ("name", "said", "seen"),
    [
        ("plain", "offers no TLS", "no STARTTLS"),
        ("bad-tls", "TLS that does not work", "WRONG_VERSION_NUMBER"),
        ("self-signed", "can't be trusted", "self-signed certificate"),
        ("other-name", "can't be trusted", "Hostname mismatch"),
    ],
)
def test_each_kind_of_bad_tls(
    name: str, said: str, seen: str, trusted: None, receivers: Internet, examine: Examine
) -> None:
    findings = examine(starttls, config=domains("right", name))
    assert levels(findings) == ["ok", "warning"]
    assert said in findings[1].message
    assert seen.lower() in findings[1].seen.lower().replace("_", " ").replace(
        "wrong version number", "wrong_version_number"
    )
    # nobody is left who could be trusted: that is no receiver's fault
    (finding,) = examine(starttls, config=domains(name))
    assert finding.level == "error"


def test_an_authority_that_is_not_known(receivers: Internet, examine: Examine) -> None:
    (finding,) = examine(starttls, config=domains("right"))
    assert (finding.level, "issuer" in finding.seen) == ("error", True)


@pytest.mark.parametrize("name", ["drops", "refuses", "hangs", "blocks", "gone", "broken"])
def test_whoever_can_not_be_reached_says_nothing_of_tls(name: str, receivers: Internet, examine: Examine) -> None:
    assert examine(starttls, config=domains(name), limit=6) == []
