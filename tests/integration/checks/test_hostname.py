from postroad.checks import hostname
from tests.integration.checks.conftest import ADDRESS, SILENT, SIX, Examine, levels
from tests.internet.internet import Internet


def test_right(zones: Internet, examine: Examine) -> None:
    zones.add_zone("host-right.example")
    zones.publish("mail.host-right.example", "A", "192.0.2.1", ADDRESS)
    zones.publish("mail.host-right.example", "AAAA", SIX)
    assert levels(examine(hostname, "host-right.example", addresses=[ADDRESS, SIX])) == ["ok", "ok"]


def test_wrong_and_missing(zones: Internet, examine: Examine) -> None:
    zones.add_zone("host-wrong.example")
    zones.publish("mail.host-wrong.example", "A", "192.0.2.1")
    wrong, missing = examine(hostname, "host-wrong.example", addresses=[ADDRESS, SIX])
    assert (wrong.level, wrong.seen) == ("error", "192.0.2.1")
    assert wrong.record
    assert (wrong.record.name, wrong.record.type, wrong.record.value) == ("mail.host-wrong.example", "A", ADDRESS)
    assert (missing.level, missing.seen) == ("error", "no AAAA record (nodata)")
    assert missing.record
    assert missing.record.value == SIX


def test_a_name_that_does_not_exist(zones: Internet, examine: Examine) -> None:
    zones.add_zone("host-none.example")
    (finding,) = examine(hostname, "host-none.example")
    assert (finding.level, finding.seen) == ("error", "no A record (nxdomain)")


def test_an_alias_counts(zones: Internet, examine: Examine) -> None:
    zones.add_zone("host-alias.example", "host-real.example")
    zones.publish("mail.host-alias.example", "CNAME", "www.host-real.example.")
    zones.publish("www.host-real.example", "A", ADDRESS)
    assert levels(examine(hostname, "host-alias.example")) == ["ok"]


def test_no_answer_is_not_taken_for_an_absence(examine: Examine) -> None:
    for domain, servers in (("servfail.example", []), ("closed.example", []), ("x.example", [SILENT])):
        (finding,) = examine(hostname, domain, servers=servers, limit=4)
        assert (finding.level, finding.record) == ("warning", None), domain
        assert finding.message == f"mail.{domain} A can't be looked up"
