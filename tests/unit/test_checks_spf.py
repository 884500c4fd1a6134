"""The check of SPF records: what it says to publish mends what it says is wrong."""

import time
from typing import Any

import pytest

from postroad.checks import smarthost, spf
from postroad.checks.context import CheckFacts, Context
from postroad.config.model import Config
from postroad.dns.spf_check import Result, evaluate
from tests.oracle.dns_table import TableResolver

pytestmark = pytest.mark.usefixtures("whole_findings")

ADDRESS = "203.0.113.10"
GOOD = f"v=spf1 ip4:{ADDRESS} -all"


def context(*records: str, **config: Any) -> Context:
    values = {"hostname": "mail.x.example", "domains": ["x.example"], **config}
    zone: dict[str, dict[str, tuple[str, ...]]] = {
        "x.example": {"TXT": records},
        "mail.x.example": {"TXT": (GOOD,)},
        "bad.example": {"TXT": ("v=spf1 ipv4:192.0.2.1 -all",)},
    }
    facts = CheckFacts((ADDRESS,), {})
    return Context(Config.model_validate(values), TableResolver(zone), lambda: facts, deadline=time.monotonic() + 9)


@pytest.mark.parametrize(
    "record",
    [
        f"v=spf1 ip4:10.0.0.0/255.255.255.0 ip4:{ADDRESS} -all",
        f"v=spf1 ip4:{ADDRESS}/032 -all",
        f"v=spf1 ip4:{ADDRESS}\tmx -all",
        f"v=spf1 ip4:{ADDRESS} a:192.0.2.10 -all",
        "v=spf1 include:bad.example -all",
        "v=spf1 -all",
    ],
)
def test_the_record_shown_passes(record: str) -> None:
    (bad,) = [each for each in spf.run(context(record)) if each.level == "error"]
    assert bad.record
    shown = TableResolver({"x.example": {"TXT": (bad.record.value,)}, "bad.example": {"TXT": ("v=spf1 ipv4:x",)}})
    assert evaluate(shown, ADDRESS, "x.example").result is Result.PASS
    assert bad.fix == "publish this record in its place"


@pytest.mark.parametrize(
    "record",
    [
        f"v=spf1 ip4:{ADDRESS} a:host:25 -all",
        f"v=spf1 ip4:{ADDRESS} exp=a.x.example exp=b.x.example",
        f"v=spf1 ip4:{ADDRESS} exists:%{{z}}.x.example -all",
        f"v=spf1 include:bad.example ip4:{ADDRESS} -all",
    ],
)
def test_none_is_shown_that_is_as_much_in_error(record: str) -> None:
    (bad,) = [each for each in spf.run(context(record)) if each.level == "error"]
    assert bad.record is None
    assert bad.fix == "mend that by hand: what is meant is not plain"


@pytest.mark.parametrize(
    "records",
    [
        ("v=spf1 +all",),
        ("v=spf1 ip4:0.0.0.0/0 -all",),
        (GOOD, "v=spf1-old: nothing"),
        ("v=spf1",),
        (f"v=spf1 ip4:{ADDRESS} include:none.example -all",),
        (f"v=spf1 ip4:{ADDRESS} " + " ".join(f"a:h{number}.x.example" for number in range(11)),),
        (f"v=spf1 ip4:{ADDRESS} ?all",),
        (),
    ],
)
def test_each_kind_of_record_to_the_last_word(records: tuple[str, ...]) -> None:
    assert list(spf.run(context(*records)))


def test_two_records_of_which_one_can_not_be_mended() -> None:
    (bad,) = [each for each in spf.run(context(GOOD, "v=spf1 a:host:25 -all")) if each.level == "error"]
    assert bad.record is None
    assert "mend by hand" in bad.fix
    assert "`a:host:25`" in bad.fix
    (bad,) = [each for each in spf.run(context(GOOD, "v=spf1 a:192.0.2.1 -all")) if each.level == "error"]
    assert bad.record
    assert bad.record.value == f"v=spf1 ip4:{ADDRESS} ip4:192.0.2.1 -all"


@pytest.mark.parametrize(
    ("host", "signs", "level", "said"),
    [
        ("email-smtp.eu-west-1.amazonaws.com", True, "info", "writes Date and Message-ID anew"),
        ("smtp.sendgrid.net", True, "ok", "is signed here, with the domain in From:"),
        ("relay.unknown.example", True, "ok", "is signed here"),
        ("smtp.sendgrid.net", False, "warning", "is not signed here"),
    ],
)
def test_whose_signature_counts(host: str, signs: bool, level: str, said: str) -> None:
    config = {"delivery": {"smarthost": {"host": host}}, "dkim": {"enabled": signs}}
    *_, last = smarthost.run(context("v=spf1 -all", **config))
    assert (str(last.level), said in last.message) == (level, True), last
