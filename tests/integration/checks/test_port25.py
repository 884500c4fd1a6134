import pytest

from postroad.checks import port25, starttls
from postroad.checks.receivers import AttemptStage, Visit
from tests.integration.checks.conftest import SILENT, Examine, levels
from tests.internet.internet import Internet


def domains(*names: str) -> dict[str, object]:
    return {"doctor": {"receivers": [f"{name}.receivers.example" for name in names]}}


@pytest.mark.parametrize("name", ["right", "slow", "plain", "self-signed", "bad-tls", "other-name"])
def test_whoever_greets_shows_that_the_port_is_open(name: str, receivers: Internet, examine: Examine) -> None:
    assert levels(examine(port25, config=domains(name))) == ["ok"]


@pytest.mark.parametrize(
    ("names", "seen"), [(["drops"], "no answer"), (["refuses"], "refused"), (["drops", "refuses"], "no answer")]
)
def test_a_network_that_lets_nothing_out(
    names: list[str], seen: str, receivers: Internet, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port25, "on_aws", lambda: False)
    (finding,) = examine(port25, config=domains(*names))
    assert (finding.level, seen in finding.seen) == ("error", True)
    assert "does not leave this network" in finding.message
    assert "provider" in finding.fix
    monkeypatch.setattr(port25, "on_aws", lambda: True)
    (finding,) = examine(port25, config=domains(*names))
    assert "postroad aws-request" in finding.fix


@pytest.mark.parametrize(
    ("routes", "level"), [([], "info"), ([{"domains": ["a.example"], "smarthost": None}], "error")]
)
def test_a_smarthost_needs_no_way_to_the_receivers(
    routes: list[dict[str, object]], level: str, receivers: Internet, examine: Examine
) -> None:
    config = {**domains("drops"), "delivery": {"smarthost": {"host": "smart.example"}, "routes": routes}}
    assert levels(examine(port25, config=config)) == [level]
    assert levels(examine(starttls, config={**config, **domains("self-signed")})) == ["error"] * (level == "error")


@pytest.mark.parametrize(
    ("name", "said", "seen"),
    [
        ("drops", "can't be reached", "no answer"),
        ("refuses", "can't be reached", "refused"),
        ("hangs", "does not greet in time", "no answer in time"),
        ("blocks", "does not let this host in", "554 5.7.1 you are on our list"),
        ("busy", "does not let this host in", "421 4.3.2 come back later"),
        ("gone", "can't be found", "it has no address (nxdomain)"),
        ("broken", "can't be found", "SERVFAIL"),
    ],
)
def test_a_receiver_in_trouble_is_not_taken_for_the_network(
    name: str, said: str, seen: str, receivers: Internet, examine: Examine
) -> None:
    findings = examine(port25, config=domains("right", name), limit=7)
    assert levels(findings) == ["ok", "warning"]
    assert "mx.rcpt.example" in findings[0].seen
    assert said in findings[1].message
    assert seen in findings[1].seen


def test_dns_that_does_not_work_is_not_taken_for_the_network(examine: Examine) -> None:
    for config, servers in (
        (domains("right", "slow"), [SILENT]),
        ({"doctor": {"receivers": ["servfail.example"]}}, []),
    ):
        (finding,) = examine(port25, config=config, servers=servers, limit=5)
        assert (finding.level, "the DNS does not tell" in finding.message) == ("warning", True)


def test_connections_that_open_onto_nothing(receivers: Internet, examine: Examine) -> None:
    (finding,) = examine(port25, config=domains("hangs", "drops"), limit=6)
    assert (finding.level, "no receiver greets" in finding.message) == ("error", True)


def test_nothing_to_ask(examine: Examine) -> None:
    assert examine(port25, config={"doctor": {"receivers": []}}) == []


def test_a_host_that_lets_nobody_in_is_reached() -> None:
    visit = Visit("a.example", AttemptStage.CONNECTED, "mx", "192.0.2.1", "554 no", refused=True)
    assert levels(list(port25.judge([visit], on_aws=False))) == ["ok", "warning"]
