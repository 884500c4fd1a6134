import pytest

from postroad.checks import spf
from tests.integration.checks.conftest import ADDRESS, SILENT, SIX, Examine
from tests.internet.internet import Internet

RECORDS = {
    "right": ["v=spf1 ip4:203.0.113.10 -all"],
    "other-texts": ["verification=1", "v=spf1 ip4:203.0.113.10 -all"],
    "like-spf": ["v=spf1 ip4:203.0.113.10 -all", "v=spf10 -all"],
    "by-include": ["v=spf1 include:right.spf-check.example -all"],
    "by-alias": ["v=spf1 a:alias.spf-check.example -all"],
    "by-mx": ["v=spf1 mx -all"],
    "by-redirect": ["v=spf1 redirect=right.spf-check.example"],
    "missing": [],
    "other-address": ["v=spf1 ip4:192.0.2.1 ~all"],
    "refuses": ["v=spf1 -all"],
    "two": ["v=spf1 ip4:203.0.113.10 -all", "v=spf1 include:right.spf-check.example -all"],
    "eleven": [
        "v=spf1 " + " ".join(f"a:h{number}.spf-check.example" for number in range(11)) + " ip4:203.0.113.10 -all"
    ],
    "eleven-after": [
        "v=spf1 ip4:203.0.113.10 " + " ".join(f"a:h{number}.spf-check.example" for number in range(11)) + " -all"
    ],
    "ten": ["v=spf1 " + " ".join(f"a:h{number}.spf-check.example" for number in range(10)) + " ip4:203.0.113.10 -all"],
    "loop": ["v=spf1 include:loop2.spf-check.example -all"],
    "loop2": ["v=spf1 include:loop.spf-check.example -all"],
    "void": ["v=spf1 a:no1.spf-check.example a:no2.spf-check.example a:no3.spf-check.example ip4:203.0.113.10 -all"],
    "misspelt": ["v=spf1 ipv4:203.0.113.10 -all"],
    "netmask": ["v=spf1 mx ip4:203.0.113.0/255.255.255.0 ip4:203.0.113.10 -all"],
    "after": ["v=spf1 ip4:203.0.113.10 a:192.0.2.10 -all"],
    "attempt": ["v=spf1; ip4:203.0.113.10 -all"],
    "some": ["v=spf1 ip4:203.0.113.10 -ip4:192.0.2.0/0"],
    "include-broken": ["v=spf1 include:servfail.example -all"],
    "include-missing": ["v=spf1 include:missing.spf-check.example -all"],
}


@pytest.fixture(scope="module")
def records(zones: Internet) -> Internet:
    zones.add_zone("spf-check.example")
    for name, texts in RECORDS.items():
        zones.publish(f"{name}.spf-check.example", "TXT", *texts)
        # the host's own SPF is right, so that each test sees its domain
        zones.publish(f"mail.{name}.spf-check.example", "TXT", "v=spf1 ip4:203.0.113.10 ip6:2001:db8::10 -all")
    for number in range(11):
        zones.publish(f"h{number}.spf-check.example", "A", f"192.0.2.{number + 10}")
    zones.publish("alias.spf-check.example", "CNAME", "target.spf-check.example.")
    zones.publish("target.spf-check.example", "A", ADDRESS)
    zones.publish("by-mx.spf-check.example", "MX", "10 target.spf-check.example.")
    return zones


@pytest.mark.parametrize(
    ("name", "level", "said"),
    [
        ("right", "ok", "(0 of 10 lookups)"),
        ("other-texts", "ok", "passes"),
        ("like-spf", "warning", "v=spf10 -all"),
        ("by-include", "ok", "(1 of 10 lookups)"),
        ("by-alias", "ok", "passes"),
        ("by-mx", "ok", "passes"),
        ("by-redirect", "ok", "passes"),
        ("ten", "ok", "(10 of 10 lookups)"),
        ("missing", "error", "has no SPF record"),
        ("other-address", "error", "gives softfail"),
        ("refuses", "error", "gives fail"),
        ("two", "error", "has 2 SPF records"),
        ("eleven", "error", "more than 10 DNS lookups"),
        ("eleven-after", "warning", "in error for others"),
        ("loop", "error", "more than 10 DNS lookups"),
        ("void", "error", "lookups find nothing"),
        ("misspelt", "error", "ipv4"),
        ("netmask", "error", "term 2, `ip4:203.0.113.0/255.255.255.0`: a prefix length, not a netmask"),
        ("after", "error", "term 2, `a:192.0.2.10`: an address"),
        ("attempt", "error", "is no SPF record: one begins with `v=spf1 `"),
        ("some", "warning", "not at all receivers: the record of some.spf-check.example: term 2, `-ip4:192.0.2.0/0`"),
        ("include-broken", "warning", "can't be evaluated now"),
        ("include-missing", "error", "leads to no SPF record"),
    ],
)
def test_each_record(name: str, level: str, said: str, records: Internet, examine: Examine) -> None:
    finding, host = examine(spf, f"{name}.spf-check.example")
    assert host.level == "ok"
    assert finding.level == level
    assert said in f"{finding.message} {finding.seen}"
    if name in {"eleven", "void"}:  # no record of ours keeps all of it and is right
        assert (finding.record, finding.fix) == (None, "mend that by hand: what is meant is not plain")
    elif level == "error":
        assert finding.record
        assert "ip4:203.0.113.10" in finding.record.value


@pytest.mark.parametrize(
    "record", ["v=spf1 +all", "v=spf1 ip4:203.0.113.10 all", "v=spf1 include:world.spf-world.example -all"]
)
def test_a_record_that_lets_everybody_pass_is_remarked(record: str, zones: Internet, examine: Examine) -> None:
    zones.add_zone("spf-world.example")
    zones.publish("world.spf-world.example", "TXT", "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all")
    zones.publish("spf-world.example", "TXT", record)
    domain, world, *_ = examine(spf, "spf-world.example")
    assert (domain.level, world.level, world.message) == (
        "ok", "warning", "SPF of spf-world.example lets anyone send as spf-world.example",
    )  # fmt: skip


def test_each_address_must_pass(records: Internet, examine: Examine) -> None:
    four, six, *host = examine(spf, "right.spf-check.example", addresses=[ADDRESS, SIX])
    assert (four.level, six.level) == ("ok", "error")
    assert [finding.level for finding in host] == ["ok", "ok"]


def test_the_host_s_own_record_is_wished_for(zones: Internet, examine: Examine) -> None:
    zones.add_zone("spf-host.example")
    zones.publish("spf-host.example", "TXT", "v=spf1 ip4:203.0.113.10 -all")
    domain, host = examine(spf, "spf-host.example")
    assert (domain.level, host.level, host.message) == ("ok", "warning", "mail.spf-host.example has no SPF record")


def test_no_answer_is_not_taken_for_an_absence(examine: Examine) -> None:
    for domain, servers in (("servfail.example", []), ("closed.example", []), ("x.example", [SILENT])):
        for finding in examine(spf, domain, servers=servers, limit=4):
            assert (finding.level, finding.record) == ("warning", None), domain
