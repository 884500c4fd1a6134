"""With smarthosts, what counts is their SPF and DKIM; nothing is said of this host's own address."""

import json

from postroad.checks import address, blocklists, hostname, reverse, smarthost, spf
from tests.integration.checks.conftest import Examine, levels
from tests.integration.conftest import Relays
from tests.internet.internet import Internet

SES = {"delivery": {"smarthost": {"host": "email-smtp.eu-west-1.amazonaws.com"}}}
OTHER = {"delivery": {"smarthost": {"host": "smtp.example.net"}}}


def test_the_include_of_the_provider(examine: Examine, zones: Internet) -> None:
    zones.publish("via.rcpt.example", "TXT", "v=spf1 include:amazonses.com ~all")
    zones.publish("not.rcpt.example", "TXT", "v=spf1 mx ~all")
    found = examine(smarthost, "via.rcpt.example", addresses=(), config=SES)
    assert levels(found) == ["ok", "info"]
    finding, _ = examine(smarthost, "not.rcpt.example", addresses=(), config=SES)
    assert str(finding.level) == "warning"
    assert finding.record
    assert finding.record.value == "v=spf1 include:amazonses.com mx ~all"
    assert "DKIM records that Amazon SES shows" in finding.fix


def test_a_provider_that_is_not_known_is_to_be_asked(examine: Examine) -> None:
    finding, signed = examine(smarthost, config=OTHER)
    assert (str(finding.level), str(signed.level)) == ("info", "ok")
    assert "ask the provider" in finding.fix
    assert finding.record is None


def test_this_host_s_own_address_does_not_matter(examine: Examine) -> None:
    assert levels(examine(address, addresses=(), config=OTHER)) == ["info"]
    for check in (hostname, reverse, spf, blocklists):
        assert examine(check, addresses=(), config=OTHER) == []


def test_nothing_is_said_of_smarthosts_where_there_are_none(examine: Examine) -> None:
    assert examine(smarthost) == []


def test_nothing_is_said_to_be_published_that_is_not_shown(examine: Examine) -> None:
    """Without an address there is no SPF record to show."""
    (*_, finding) = examine(spf, "nothing.rcpt.example", addresses=())
    assert finding.record is None
    assert "publish" not in finding.fix
    assert "set public_ip" in finding.fix


def test_the_commands(start_relay: Relays) -> None:
    relay = start_relay(publish=False, delivery={"smarthost": {"host": "smtp.rcpt.example"}})
    code, text = relay.shell("postroad dns")
    assert code == 0, text
    assert text.startswith("All mail goes to smarthosts: their addresses count")
    assert "smtp.rcpt.example: ask its provider which include SPF needs" in text
    assert not {"A", "PTR"} & {record["type"] for record in json.loads(relay.command("dns", "--json"))["records"]}
    found = {each["id"]: each for each in json.loads(relay.shell("postroad doctor --json")[1])["checks"]}
    assert found["public-address"]["level"] == "info"
    assert not {"hostname", "reverse-dns", "spf", "blocklists"} & found.keys()
