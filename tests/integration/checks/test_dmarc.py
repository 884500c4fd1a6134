import pytest

from postroad.checks import dmarc
from tests.integration.checks.conftest import SILENT, Examine
from tests.internet.internet import Internet


@pytest.mark.parametrize(
    ("texts", "level", "said"),
    [
        (["v=DMARC1; p=none; rua=mailto:a@dmarc-check.example"], "ok", "p=quarantine"),
        (["v=DMARC1;p=REJECT"], "ok", "covers"),
        (["v=DMARC1; p=quarantine; adkim=s; aspf=s"], "ok", "covers"),
        (["verification", "v=DMARC1; p=quarantine; adkim=s; aspf=s"], "warning", "another TXT record beside"),
        (["v = DMARC1; p=none"], "warning", "spaces around the ="),
        ([], "error", "has no DMARC record"),
        (["v=DMARC1; rua=mailto:a@dmarc-check.example"], "error", "no policy"),
        (["v=DMARC1; p=deny"], "error", "`p=deny` is not a policy"),
        (["v=DMARC1; p=none; sp=deny"], "error", "`sp=deny` is not a policy"),
        (["v=dmarc1; p=none"], "error", "is no DMARC record: one begins with `v=DMARC1;`"),
        (["V=DMARC1; p=none"], "error", "is no DMARC record"),
        (["v=DMARC12; p=none"], "error", "is no DMARC record"),
        (["v=DMARC12; p=none", "v=DMARC1; p=none"], "warning", "another TXT record beside"),
        (["v=DMARC1; p=none; rua=a@dmarc-check.example"], "warning", "without mailto:"),
        (["v=DMARC1; p=none; pct=200"], "warning", "a number from 0 to 100"),
        (["v=DMARC1; p=none; p=reject"], "error", "comes twice"),
        (["v=DMARC1; none"], "error", "tag 2, `none`: no ="),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "error", "2 DMARC records"),
    ],
)
def test_each_record(texts: list[str], level: str, said: str, zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-check.example")
    zones.publish("_dmarc.dmarc-check.example", "TXT", *texts)
    (finding,) = examine(dmarc, "dmarc-check.example")
    assert finding.level == level
    assert said in f"{finding.message} {finding.seen}"
    if not texts:
        assert finding.record
        assert finding.record.name == "_dmarc.dmarc-check.example"


def test_the_policy_of_the_domain_above_covers_it(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-above.example")
    zones.publish("_dmarc.dmarc-above.example", "TXT", "v=DMARC1; p=reject")
    (finding,) = examine(dmarc, "news.dmarc-above.example")
    assert (finding.level, finding.seen) == ("ok", "_dmarc.dmarc-above.example: v=DMARC1; p=reject")


def test_a_subdomain_has_the_policy_for_subdomains(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-sub.example")
    zones.publish("_dmarc.dmarc-sub.example", "TXT", "v=DMARC1; p=none; sp=reject")
    (finding,) = examine(dmarc, "news.dmarc-sub.example")
    assert (finding.level, finding.message) == (
        "ok", "DMARC covers news.dmarc-sub.example with sp=reject of the domain above",
    )  # fmt: skip
    unsigned = {"hostname": "mail.x.example", "domains": ["news.dmarc-sub.example"], "dkim": {"enabled": False}}
    (finding,) = examine(dmarc, config=unsigned)
    assert (finding.level, "asks for reject" in finding.message) == ("warning", True)


def test_a_record_in_between_is_found_by_few(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-deep.example")
    zones.publish("_dmarc.b.dmarc-deep.example", "TXT", "v=DMARC1; p=none")
    (finding,) = examine(dmarc, "a.b.dmarc-deep.example")
    assert (finding.level, "only at some receivers" in finding.message) == ("warning", True)
    zones.publish("_dmarc.dmarc-deep.example", "TXT", "v=DMARC1; p=none")
    (finding,) = examine(dmarc, "a.b.dmarc-deep.example")
    assert (finding.level, finding.seen.startswith("_dmarc.dmarc-deep.example")) == ("ok", True)


def test_senders_below_a_domain_need_relaxed_alignment(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-strict.example")
    zones.publish("_dmarc.dmarc-strict.example", "TXT", "v=DMARC1; p=reject; adkim=s")
    below = [{"name": "dmarc-strict.example", "subdomains": True}]
    (finding,) = examine(dmarc, "dmarc-strict.example", config={"domains": below})
    assert (finding.level, "strict alignment" in finding.message) == ("error", True)


def test_a_policy_without_signatures(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dmarc-unsigned.example")
    zones.publish("_dmarc.dmarc-unsigned.example", "TXT", "v=DMARC1; p=reject")
    config = {"hostname": "mail.x.example", "domains": ["dmarc-unsigned.example"], "dkim": {"enabled": False}}
    (finding,) = examine(dmarc, config=config)
    assert (finding.level, "not signed" in finding.message) == ("warning", True)


def test_no_answer_is_not_taken_for_an_absence(examine: Examine) -> None:
    for domain, servers in (("servfail.example", []), ("closed.example", []), ("x.example", [SILENT])):
        (finding,) = examine(dmarc, domain, servers=servers, limit=4)
        assert (finding.level, finding.record) == ("warning", None), domain
