from postroad.checks import resolvers
from tests.integration.checks.conftest import SILENT, Examine, levels
from tests.internet.internet import Internet


def test_a_resolver_that_answers(examine: Examine) -> None:
    answers, dnssec = examine(resolvers)
    assert (answers.level, dnssec.level) == ("ok", "info")
    assert "does not validate DNSSEC" in dnssec.message


def test_one_of_two_is_silent(zones: Internet, examine: Examine) -> None:
    findings = examine(resolvers, servers=[SILENT, zones.dns.address], limit=4)
    assert levels(findings) == ["warning", "ok", "info"]
    assert SILENT in findings[0].message


def test_none_answers(zones: Internet, examine: Examine) -> None:
    (finding,) = examine(resolvers, servers=[SILENT], limit=4)
    assert finding.level == "error"
    (finding,) = examine(resolvers, servers=[zones.mx.address], limit=4)  # no DNS server: refused at once
    assert finding.level == "error"
