"""With smarthosts their servers count: their SPF include, their DKIM, and no record for this host's own address."""

import pytest

from postroad.config.delivery import Smarthost
from postroad.config.model import Config
from postroad.dns import smarthosts
from postroad.dns.records import Record, RecordFacts, expected
from postroad.dns.resolver import Answer, Status

ADDRESS = "203.0.113.10"


def config(host: str = "email-smtp.eu-west-1.amazonaws.com", **delivery: object) -> Config:
    values = {"smarthost": {"host": host}, **delivery}
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], "delivery": values})


def kinds(records: list[Record]) -> set[tuple[str, str]]:
    return {(record.type, record.name) for record in records}


def spf(records: list[Record], name: str = "example.com") -> list[str]:
    return [record.value for record in records if record.name == name and record.value.startswith("v=spf1")]


def test_mail_through_a_known_provider_needs_its_include_and_nothing_of_ours() -> None:
    found = expected(config(), RecordFacts((ADDRESS,)))
    assert kinds(found) == {("TXT", "example.com"), ("TXT", "_dmarc.example.com")}
    assert spf(found) == ["v=spf1 include:amazonses.com ~all"]


def test_mail_through_an_unknown_server_has_no_spf_record_made_up() -> None:
    found = expected(config("smtp.example.net"), RecordFacts((ADDRESS,)))
    assert spf(found) == []
    assert kinds(found) == {("TXT", "_dmarc.example.com")}


@pytest.mark.parametrize(
    ("existing", "wanted"),
    [
        ("v=spf1 mx -all", "v=spf1 include:amazonses.com mx -all"),
        ("v=spf1 mx include:amazonses.com -all", "v=spf1 mx include:amazonses.com -all"),
        ("v=spf1 +Include:AmazonSES.com -all", "v=spf1 +Include:AmazonSES.com -all"),
        ("v=spf1 redirect=amazonses.com", "v=spf1 redirect=amazonses.com"),
    ],
)
def test_a_record_that_is_there_is_kept(existing: str, wanted: str) -> None:
    answer = Answer("example.com", "TXT", Status.FOUND, (existing,))
    assert spf(expected(config(), RecordFacts((ADDRESS,), existing={("example.com", "TXT"): answer}))) == [wanted]


def test_mail_that_also_goes_out_by_itself_needs_both() -> None:
    both = config(routes=[{"domains": ["example.org"], "smarthost": None}])
    found = expected(both, RecordFacts((ADDRESS,)))
    assert spf(found) == [f"v=spf1 include:amazonses.com ip4:{ADDRESS} ~all"]
    assert ("A", "mail.example.com") in kinds(found)


def test_each_server_is_told_of_once() -> None:
    route = {"domains": ["example.org"], "smarthost": {"host": "smtp.example.net", "fallback": "smtp2.example.net"}}
    told = smarthosts.advice(config(routes=[route, {**route, "domains": ["example.net"]}]).delivery)
    assert [line.split()[0] for line in told] == ["email-smtp.eu-west-1.amazonaws.com", "smtp.example.net:"]
    assert "Amazon SES" in told[0]


@pytest.mark.parametrize("host", ["notamazonaws.com", "amazonaws.com.example.net", "smtp.example.net"])
def test_a_name_that_only_looks_alike_is_not_a_provider(host: str) -> None:
    assert smarthosts.provider(Smarthost(host=host).host) is None
