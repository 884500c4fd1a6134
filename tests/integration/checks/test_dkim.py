import base64

import pytest

from postroad.checks import dkim
from tests.integration.checks.conftest import SILENT, Examine
from tests.internet.internet import Internet
from tests.unit.test_dns_tags import rsa

KEY = base64.b64encode(rsa()).decode()
RECORD = f"v=DKIM1; k=rsa; p={KEY}"
OTHER = base64.b64encode(rsa(1024)).decode()
ED25519 = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("texts", "level", "said"),
    [
        ([RECORD], "ok", ""),
        ([f"p={KEY}"], "ok", ""),
        ([f"v=DKIM1;k=rsa;t=s;s=email; h=sha256 ;p= {KEY[:100]} {KEY[100:]} ;"], "ok", ""),
        ([], "error", "is missing"),
        ([f"v=DKIM1; k=rsa; p={OTHER}"], "error", "has a different key"),
        (["v=DKIM1; k=rsa; p="], "error", "revokes"),
        (["v=DKIM1; k=rsa"], "error", "has no key"),
        ([f"v=DKIM1; t=y; p={KEY}"], "warning", "test mode"),
        ([f"v=DKIM1; t=s:y; p={KEY}"], "warning", "test mode"),
        ([f"v=DKIM2; p={KEY}"], "error", "another version"),
        ([f"v=DKIM1; k=ed25519; p={ED25519}"], "error", "another key type"),
        ([f"v=DKIM1; h=sha1; p={KEY}"], "error", "sha256"),
        ([f"v=DKIM1; s=tls; p={KEY}"], "error", "not for mail"),
        ([f"v=DKIM1; p={KEY[:-3]}%%%"], "error", "can't be used: the key (p=) is not base64"),
        ([f"v=DKIM1 k=rsa p={KEY}"], "error", "another version"),
        ([f"k=rsa; v=DKIM1; p={KEY}"], "warning", "v= is not the first tag"),
        ([f"v=DKIM1; p={KEY[4:]}"], "error", "is not an RSA key"),
        ([f"v=DKIM1; p={KEY}; p={KEY}"], "error", "comes twice"),
        ([RECORD, f"v=DKIM1; k=rsa; p={OTHER}"], "error", "2 times"),
    ],
)
def test_each_record(texts: list[str], level: str, said: str, zones: Internet, examine: Examine) -> None:
    zones.add_zone("dkim-check.example")
    name = "postroad._domainkey.dkim-check.example"
    zones.publish(name, "TXT", *texts)
    (finding,) = examine(dkim, "dkim-check.example", dkim={name: RECORD})
    assert finding.level == level
    assert said in finding.message
    if level != "ok":
        assert finding.record
        assert (finding.record.name, finding.record.value) == (name, RECORD)


def test_an_alias_of_a_key_is_a_key(zones: Internet, examine: Examine) -> None:
    zones.add_zone("dkim-alias.example", "dkim-real.example")
    name = "postroad._domainkey.dkim-alias.example"
    zones.publish(name, "CNAME", "key.dkim-real.example.")
    zones.publish("key.dkim-real.example", "TXT", RECORD)
    assert [finding.level for finding in examine(dkim, "dkim-alias.example", dkim={name: RECORD})] == ["ok"]


def test_a_key_that_is_not_here(examine: Examine) -> None:
    (finding,) = examine(dkim, dkim={"postroad._domainkey.sender.example": ""})
    assert finding.level == "error"
    assert "is not here" in finding.message


def test_signing_that_is_off(examine: Examine) -> None:
    (finding,) = examine(dkim, config={"dkim": {"enabled": False}})
    assert (finding.level, finding.message) == ("warning", "mail is not signed")


def test_no_answer_is_not_taken_for_an_absence(examine: Examine) -> None:
    for domain, servers in (("servfail.example", []), ("closed.example", []), ("x.example", [SILENT])):
        (finding,) = examine(dkim, domain, dkim={f"postroad._domainkey.{domain}": RECORD}, servers=servers, limit=4)
        assert (finding.level, finding.record) == ("warning", None), domain


@pytest.mark.parametrize(
    ("texts", "silent", "level", "said"),
    [
        ([RECORD], False, "ok", "publishes the next key"),
        ([], False, "warning", "waits for its record"),
        ([f"v=DKIM1; k=rsa; p={OTHER}"], False, "warning", "waits for its record"),
        ([RECORD], True, "warning", "waits for its record"),  # one resolver of two is not enough
    ],
)
def test_a_next_key(texts: list[str], silent: bool, level: str, said: str, zones: Internet, examine: Examine) -> None:
    zones.add_zone("dkim-next.example")
    name = "postroad-2._domainkey.dkim-next.example"
    zones.publish(name, "TXT", *texts)
    config = {"dns": {"servers": [zones.dns.address]}, "dkim": {"resolvers": [SILENT] if silent else []}}
    (finding,) = examine(dkim, "dkim-next.example", coming={name: RECORD}, config=config)
    assert (finding.level, said in finding.message) == (level, True)
    assert (finding.record is not None) == (level == "warning" and not silent)


@pytest.mark.parametrize(
    ("texts", "value", "level", "said"),
    [
        ([RECORD], RECORD, "", ""),
        ([], RECORD, "warning", "signed until 2026-11-20 and is not published"),
        ([RECORD], "", "info", "may be revoked since 2026-11-27"),
        (["v=DKIM1; p="], "", "", ""),
        ([], "", "", ""),
    ],
)
def test_a_past_key(texts: list[str], value: str, level: str, said: str, zones: Internet, examine: Examine) -> None:
    zones.add_zone("dkim-past.example")
    name = "postroad._domainkey.dkim-past.example"
    zones.publish(name, "TXT", *texts)
    findings = examine(dkim, "dkim-past.example", past={name: (value, "2026-11-20", "2026-11-27")})
    assert [(str(finding.level), said in finding.message) for finding in findings] == ([(level, True)] if level else [])
