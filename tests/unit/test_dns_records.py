"""The records for a configuration; the same in a real DNS is in tests/integration."""

from typing import Any

import pytest

from postroad.config.model import Config
from postroad.dns.records import RecordFacts, expected, is_version, questions
from postroad.dns.resolver import Answer, Question, Status

pytestmark = pytest.mark.usefixtures("whole_records")


def config(**keys: Any) -> Config:
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **keys})


def there(name: str, rtype: str, *values: str) -> dict[Question, Answer]:
    return {(name, rtype): Answer(name, rtype, Status.FOUND if values else Status.NODATA, values)}


def values(found: Config, facts: RecordFacts, name: str, rtype: str = "TXT") -> list[str]:
    return [record.value for record in expected(found, facts) if (record.name, record.type) == (name, rtype)]


def test_v6_only() -> None:
    facts = RecordFacts(("2001:db8::10",))
    assert values(config(), facts, "mail.example.com", "A") == []
    assert values(config(), facts, "mail.example.com", "AAAA") == ["2001:db8::10"]
    assert values(config(), facts, "0.1.0.0." + "0.0.0.0." * 5 + "8.b.d.0.1.0.0.2.ip6.arpa", "PTR") == [
        "mail.example.com"
    ]
    assert values(config(), facts, "example.com") == ["v=spf1 ip6:2001:db8::10 ~all"]


def test_a_host_that_is_a_sender_domain_has_one_spf_record() -> None:
    found = config(hostname="mail.example.com", domains=["mail.example.com"])
    assert values(found, RecordFacts(("203.0.113.10",)), "mail.example.com") == ["v=spf1 ip4:203.0.113.10 -all"]


def test_any_domain_has_no_records_of_its_own() -> None:
    names = {
        record.name
        for record in expected(config(domains=["*"], dkim={"enabled": False}), RecordFacts(("203.0.113.10",)))
    }
    assert names == {"mail.example.com", "10.113.0.203.in-addr.arpa"}


def test_without_an_address_no_record_speaks_of_one() -> None:
    found = expected(config(), RecordFacts((), {"postroad._domainkey.example.com": "v=DKIM1; p=x"}))
    assert [(record.type, record.name) for record in found] == [
        ("TXT", "postroad._domainkey.example.com"),
        ("TXT", "_dmarc.example.com"),
        ("MX", "example.com"),
    ]


def test_selectors_and_keys() -> None:
    found = config(domains=["example.com", {"name": "example.net", "dkim": {"selector": "other"}}])
    keys = {"postroad._domainkey.example.com": "v=DKIM1; p=a", "other._domainkey.example.net": "v=DKIM1; p=b"}
    assert values(found, RecordFacts((), keys), "postroad._domainkey.example.com") == ["v=DKIM1; p=a"]
    assert values(found, RecordFacts((), keys), "other._domainkey.example.net") == ["v=DKIM1; p=b"]


def test_keys_in_a_zone_of_ours() -> None:
    """Two CNAMEs for each series of keys, whichever of the two signs; one for a key that does not change by itself."""
    given = {"name": "example.net", "dkim": {"key_file": "/run/secrets/key"}}
    found = config(domains=["example.com", given], dkim={"cname": "keys.example.org"})
    facts = RecordFacts(
        (), {"postroad-2._domainkey.example.com": "v=DKIM1; p=a", "postroad._domainkey.example.net": "v=DKIM1; p=b"}
    )
    made = [
        (record.type, record.name, record.value) for record in expected(found, facts) if "_domainkey" in record.name
    ]
    assert made == [
        ("TXT", "postroad-2._domainkey.example.com.keys.example.org", "v=DKIM1; p=a"),
        *(
            ("CNAME", f"{name}._domainkey.example.com", f"{name}._domainkey.example.com.keys.example.org")
            for name in ("postroad", "postroad-2")
        ),
        ("TXT", "postroad._domainkey.example.net.keys.example.org", "v=DKIM1; p=b"),
        ("CNAME", "postroad._domainkey.example.net", "postroad._domainkey.example.net.keys.example.org"),
    ]


def test_a_domain_that_mail_reaches_by_its_own_address_needs_no_mx() -> None:
    facts = RecordFacts((), existing=there("example.com", "MX") | there("example.com", "A", "192.0.2.1"))
    assert values(config(), facts, "example.com", "MX") == []


def test_a_dmarc_record_above_is_enough() -> None:
    found = config(domains=["shop.example.com"])
    above = there("_dmarc.example.com", "TXT", "v=DMARC1; p=reject")
    assert values(found, RecordFacts((), existing=above), "_dmarc.shop.example.com") == []
    own = there("_dmarc.shop.example.com", "TXT", "v=DMARC1;p=quarantine")
    assert values(found, RecordFacts((), existing=above | own), "_dmarc.shop.example.com") == ["v=DMARC1;p=quarantine"]
    other = there("_dmarc.example.com", "TXT", "something else")
    assert values(found, RecordFacts((), existing=other), "_dmarc.shop.example.com") != []


def test_a_dmarc_record_between_a_domain_and_its_organization_s_is_not_found_by_all() -> None:
    found = config(domains=["a.b.example.com"])
    between = there("_dmarc.b.example.com", "TXT", "v=DMARC1; p=reject")
    assert values(found, RecordFacts((), existing=between), "_dmarc.a.b.example.com") != []
    above = there("_dmarc.example.com", "TXT", "v=DMARC1; p=reject")
    assert values(found, RecordFacts((), existing=above), "_dmarc.a.b.example.com") == []
    found = config(domains=["shop.example.co.uk"])
    above = there("_dmarc.co.uk", "TXT", "v=DMARC1; p=reject")
    assert values(found, RecordFacts((), existing=above), "_dmarc.shop.example.co.uk") != []


@pytest.mark.parametrize(
    ("there_is", "published"),
    [
        ("v=dmarc1; p=reject; rua=mailto:a@x.example", "v=DMARC1; p=reject; rua=mailto:a@x.example"),
        ("v=DMARC12;p=reject", "v=DMARC1; p=reject"),
        ("v=dmarc1; p=deny", "v=DMARC1; p=none; rua=mailto:postmaster@example.com"),
    ],
)
def test_a_record_that_is_meant_for_a_policy_is_mended(there_is: str, published: str) -> None:
    facts = RecordFacts((), existing=there("_dmarc.example.com", "TXT", there_is))
    assert values(config(), facts, "_dmarc.example.com") == [published]


def test_a_record_that_is_meant_for_spf_is_merged() -> None:
    facts = RecordFacts(("203.0.113.10",), existing=there("example.com", "TXT", "v=spf1; include:x.example -all"))
    assert values(config(), facts, "example.com") == ["v=spf1 ip4:203.0.113.10 include:x.example -all"]


def test_an_address_that_passes_already_is_not_added() -> None:
    existing = there("example.com", "TXT", "v=spf1 include:x.example -all")
    facts = RecordFacts(
        ("203.0.113.10", "2001:db8::10"), existing=existing, passing=frozenset({("example.com", "203.0.113.10")})
    )
    assert values(config(), facts, "example.com") == ["v=spf1 ip6:2001:db8::10 include:x.example -all"]


def test_all_that_is_chosen_by_is_asked() -> None:
    asked = set(questions(config(domains=["shop.example.com"]), RecordFacts(("203.0.113.10",), tls_rpt=True)))
    assert asked >= {
        ("mail.example.com", "A"),
        ("10.113.0.203.in-addr.arpa", "PTR"),
        ("shop.example.com", "TXT"),
        ("shop.example.com", "MX"),
        ("_dmarc.shop.example.com", "TXT"),
        ("_dmarc.example.com", "TXT"),
        ("_smtp._tls.shop.example.com", "TXT"),
        ("shop.example.com", "SOA"),
    }


@pytest.mark.parametrize(
    ("text", "version", "is_it"),
    [
        ("v=spf1", "v=spf1", True),
        ("V=SPF1 -all", "v=spf1", True),
        ("v=spf10 -all", "v=spf1", False),
        ("v=spf1; a", "v=spf1", False),
        ("v=DMARC1;p=none", "v=DMARC1", True),
        ("v=DMARC1 ; p=none", "v=DMARC1", True),
        ("v=DMARC12; p=none", "v=DMARC1", False),
        ("v=dmarc1; p=none", "v=DMARC1", False),
        ("V=DMARC1; p=none", "v=DMARC1", False),
        ("v=TLSRPTv1; rua=mailto:a@x.example", "v=TLSRPTv1", True),
        ("v=tlsrptv1; rua=mailto:a@x.example", "v=TLSRPTv1", False),
        (" v=spf1", "v=spf1", False),
    ],
)
def test_versions(text: str, version: str, is_it: bool) -> None:
    assert is_version(text, version) == is_it


BOUNCES = "bounces.example.com"


def test_the_domain_of_return_addresses_has_an_mx_and_spf() -> None:
    found, facts = config(returns={"domain": BOUNCES}), RecordFacts(("203.0.113.10",), tls_rpt=True)
    assert values(found, facts, BOUNCES, "MX") == ["10 mail.example.com"]
    assert values(found, facts, BOUNCES) == ["v=spf1 ip4:203.0.113.10 -all"]
    assert values(found, facts, "_dmarc.example.com") == [f"v=DMARC1; p=none; rua=mailto:dmarc@{BOUNCES}"]
    assert values(found, facts, "_smtp._tls.example.com") == [f"v=TLSRPTv1; rua=mailto:tlsrpt@{BOUNCES}"]
    assert values(found, facts, f"example.com._report._dmarc.{BOUNCES}") == [], "the same organization"
    assert {(BOUNCES, "MX"), (BOUNCES, "TXT")} <= set(questions(found, facts))
    assert not [record for record in expected(config(), facts) if BOUNCES in f"{record.name} {record.value}"]


def test_what_is_published_for_return_addresses_is_kept() -> None:
    existing = there(BOUNCES, "MX", "5 mx.elsewhere.example") | there(BOUNCES, "TXT", "v=spf1 include:a.example ~all")
    facts = RecordFacts(("203.0.113.10",), existing=existing)
    found = config(returns={"domain": BOUNCES})
    assert values(found, facts, BOUNCES, "MX") == ["5 mx.elsewhere.example"]
    assert values(found, facts, BOUNCES) == ["v=spf1 ip4:203.0.113.10 include:a.example ~all"]


def test_another_organization_s_reports_need_a_record_that_agrees() -> None:
    found = config(domains=["example.com", "example.org"], returns={"domain": BOUNCES})
    assert values(found, RecordFacts(()), f"example.org._report._dmarc.{BOUNCES}") == ["v=DMARC1"]
    elsewhere = RecordFacts((), reports="me@example.net")
    assert values(found, elsewhere, f"example.org._report._dmarc.{BOUNCES}") == []
    assert values(found, elsewhere, "_dmarc.example.org") == ["v=DMARC1; p=none; rua=mailto:me@example.net"]


def test_a_smarthost_s_mail_has_no_return_address_and_so_no_spf() -> None:
    found = config(returns={"domain": BOUNCES}, delivery={"smarthost": {"host": "smtp.example.net", "tls": "require"}})
    assert values(found, RecordFacts(("203.0.113.10",)), BOUNCES) == []


@pytest.mark.parametrize(
    ("published", "wanted"),
    [
        ("v=DMARC1; p=reject", "v=DMARC1; p=reject; rua=mailto:dmarc@b.example.com"),
        ("v=DMARC1; p=none;", "v=DMARC1; p=none; rua=mailto:dmarc@b.example.com"),
        (
            "v=DMARC1; p=none; rua = mailto:a@x.example!10m ; pct=5",
            "v=DMARC1; p=none; rua = mailto:a@x.example!10m,mailto:dmarc@b.example.com; pct=5",
        ),
        (
            "v=DMARC1; p=none; rua=mailto:a@x.example",
            "v=DMARC1; p=none; rua=mailto:a@x.example,mailto:dmarc@b.example.com",
        ),
        ("v=DMARC1; p=none; rua=mailto:DMARC@b.example.com!1m", "v=DMARC1; p=none; rua=mailto:DMARC@b.example.com!1m"),
        ("v=DMARC1; p=what", "v=DMARC1; p=what"),
    ],
)
def test_a_published_policy_sends_its_reports_to_the_loop_as_well(published: str, wanted: str) -> None:
    found = config(returns={"domain": "b.example.com"})
    name = "_dmarc.example.com"
    found_there = there(name, "TXT", published)
    assert values(found, RecordFacts((), existing=found_there), name) == [wanted]
    assert values(config(), RecordFacts((), existing=found_there), name) == [published]
    assert values(found, RecordFacts((), existing=found_there, reports="me@example.com"), name) == [published]
