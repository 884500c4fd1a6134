"""The self-test sees an open relay when there is one, however it was opened, and no other."""

import ipaddress
import json
from typing import Any

from postroad.checks import open_relay
from postroad.config.model import Config
from postroad.sendmail.networks import Surroundings
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, wait_until

CLOSED = {"trust_gateway": False}


def look(relay: PostroadContainer) -> tuple[int, list[dict[str, Any]]]:
    code, text = relay.shell("postroad doctor --open-relay --json")
    return code, json.loads(text)["checks"]


def test_closed(start_relay: Relays) -> None:
    relay = start_relay(publish=False, clients=CLOSED)
    code, (finding,) = look(relay)
    assert (code, finding["level"], finding["message"]) == (0, "ok", "no stranger can relay")
    # two senders on each of the three ports: five recipients each on 25, none on those that ask for a password first
    assert finding["seen"].endswith("14 over SMTP: none accepted")
    wait_until(lambda: len(rejected(relay)) >= 10)
    live = rejected(relay)
    assert [event.get("client_address") for event in live].count("127.0.0.2") == 10
    assert len(live) == 10
    # they are in the log, and not in what is counted: a refusal of a real stranger is
    real = "import smtplib; s = smtplib.SMTP('127.0.0.1', 25, source_address=('127.0.0.3', 0)); s.ehlo(); s.mail('a@b.example'); s.rcpt('c@d.example')"
    relay.shell(f'/opt/postroad/venv/bin/python3 -c "{real}"')
    wait_until(lambda: counted(relay))
    assert counted(relay) == 1


def rejected(relay: PostroadContainer) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["event"] == "rejected"]


def counted(relay: PostroadContainer) -> int:
    groups = json.loads(relay.command("stats", "--json"))["groups"]
    return sum(int(group["rejected"]) for group in groups)


def test_closed_for_the_few_recipients_that_are_allowed(start_relay: Relays) -> None:
    code, (finding,) = look(start_relay(publish=False, clients=CLOSED, recipients={"allow": ["rcpt.example"]}))
    assert (code, finding["level"], finding["message"]) == (0, "ok", "no stranger can relay")


def test_a_server_that_hangs_up_on_refused_recipients(start_relay: Relays) -> None:
    relay = start_relay(publish=False, clients=CLOSED, limits={"bad_recipients": 1})
    code, (finding,) = look(relay)
    assert (code, finding["level"]) == (0, "ok")


def test_everybody_is_trusted(start_relay: Relays) -> None:
    networks = {"networks": ["0.0.0.0/0"], "i_know_this_is_an_open_relay": True}
    code, findings = look(start_relay(publish=False, clients=CLOSED | networks))
    assert (code, findings[0]["level"]) == (1, "error")
    assert "open relay" in findings[0]["message"]
    assert "victim@postroad-test.example" in findings[0]["seen"]


def test_a_rule_of_one_s_own_opens_it(start_relay: Relays) -> None:
    """Whoever connects looks like `postroad send`: only the live attempt meets this rule."""
    rule = "LOCAL_RULESETS\nSLocal_check_relay\nR$*\t\t\t$: $(storage {client_addr} $@ 0 $)\n"
    code, findings = look(start_relay(publish=False, clients=CLOSED, sendmail={"local_config": rule}))
    assert (code, findings[0]["level"]) == (1, "error"), findings
    assert "127.0.0.2 to port 25" in findings[0]["seen"]


def test_a_running_server_that_is_more_open_than_its_files(start_relay: Relays) -> None:
    """Only the live attempt can see it: the files were changed since, and not reloaded."""
    networks = {"networks": ["0.0.0.0/0"], "i_know_this_is_an_open_relay": True}
    relay = start_relay(publish=False, clients=CLOSED | networks)
    code, text = relay.shell(
        "cd /opt/postroad && POSTROAD_CLIENTS='{}' venv/bin/python3 -m postroad.install"
        " && POSTROAD_CLIENTS='{}' postroad doctor --open-relay --json"
    )
    findings = json.loads(text[text.index("{") :])["checks"]
    assert (code, findings[0]["level"]) == (1, "error"), findings
    assert "127.0.0.2 to port 25" in findings[0]["seen"]


def test_trust_in_the_gateway_is_told(relay: PostroadContainer) -> None:
    code, findings = look(relay)
    assert (code, [finding["level"] for finding in findings]) == (0, ["warning", "ok"])
    assert "clients.trust_gateway is on" in findings[0]["message"]


def test_no_server_is_no_proof(relay: PostroadContainer) -> None:
    code, text = relay.shell("mv /run/postroad/current /run/postroad/aside; postroad doctor --open-relay --json")
    relay.shell("mv /run/postroad/aside /run/postroad/current")
    assert (code, json.loads(text)["checks"][0]["level"]) == (1, "error")


def test_nothing_was_sent(relay: PostroadContainer) -> None:
    look(relay)
    assert not any(event["event"] == "accepted" for event in relay.events())


def config(**clients: Any) -> Config:
    return Config.model_validate({"hostname": "mail.a.example", "domains": ["a.example"], "clients": clients})


def test_who_is_a_stranger() -> None:
    around = Surroundings(
        (ipaddress.ip_network("172.20.0.0/16"),),
        (ipaddress.ip_address("172.20.0.1"),),
        (ipaddress.ip_address("172.20.0.9"),),
    )
    found = list(map(str, open_relay.outsiders(config(), around)))
    assert found[:2] == ["172.20.0.1", "172.20.0.9"]
    assert {"127.0.0.1", "::1"} <= {*found}
    assert "127.0.0.1" not in map(str, open_relay.outsiders(config(networks=["127.0.0.0/8"]), around))
    assert {"172.19.255.255", "172.21.0.0", "8.8.4.4", "2001:db8::66"} <= {*found}
    assert "172.20.0.1" not in map(str, open_relay.outsiders(config(trust_gateway=True), around))
    trusted = config(networks=["203.0.113.0/24", "10.0.0.0/8"])
    found = list(map(str, open_relay.outsiders(trusted, around)))
    assert not {"203.0.113.66", "10.255.255.66"} & {*found}
    assert {"203.0.114.0", "203.0.112.255", "11.0.0.0", "9.255.255.255"} <= {*found}
    everybody = config(networks=["0.0.0.0/0"], i_know_this_is_an_open_relay=True)
    assert "8.8.4.4" in map(str, open_relay.outsiders(everybody, around))
