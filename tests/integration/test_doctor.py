"""``postroad doctor`` as a whole: green where all is right, and naming the one thing that is not."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postroad.checks.doctor import LIMIT
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.host import Dns
from tests.internet.internet import Internet

ADDRESS = "203.0.113.20"  # no other module publishes its reverse name
REVERSE = "113.0.203.in-addr.arpa"
DOMAIN = "ready.example"
HOST = f"mail.{DOMAIN}"

Doctor = Callable[..., tuple[int, list[dict[str, Any]]]]
RecordLine = tuple[str, str, str]
"""Name with a dot at its end, type, data as in a zone file."""


def doctor(relay: PostroadContainer, *words: str) -> tuple[int, list[dict[str, Any]]]:
    code, text = relay.shell(f"SSL_CERT_FILE=/tmp/ca.pem postroad doctor --json {' '.join(words)}")
    return code, json.loads(text)["checks"]


def bad(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in findings if finding["level"] in {"warning", "error"}]


@pytest.fixture(scope="module")
def ready(
    image: str, zones: Internet, volumes: Callable[[str], str], request: pytest.FixtureRequest
) -> Iterator[PostroadContainer]:
    """A relay with nothing published yet."""
    zones.add_zone(DOMAIN, REVERSE, "bl.ready.example")
    zones.publish("2.0.0.127.bl.ready.example", "A", "127.0.0.2")
    relays = Relays(image, zones)
    with relays.stack:
        relay = relays(
            publish=False,
            hostname=HOST,
            domains=[DOMAIN],
            public_ip=[ADDRESS],
            clients={"trust_gateway": False},
            dns={"servers": [zones.dns.address]},
            doctor={"receivers": ["rcpt.example"], "dnsbls": ["bl.ready.example"], "ntp": []},
            queue=volumes("queue"),
            state=volumes("state"),
        )
        relay.shell(f"cat > /tmp/ca.pem <<END\n{zones.ca_certificate().decode()}\nEND")
        yield relay


def printed(relay: PostroadContainer) -> list[RecordLine]:
    """What ``postroad dns --format bind`` prints."""
    _, text = relay.shell("postroad dns --format bind")
    found = re.findall(r"^(\S+\.)\s+\d+\s+IN\s+(A|AAAA|PTR|TXT|MX)\s+(.*)$", text, re.MULTILINE)
    assert len(found) == 7, text
    return found


def update(zones: Internet, *lines: str) -> None:
    zones.dns.run("zone", "update", "\n".join(f"{line}\nsend" for line in lines))


def publish(zones: Internet, records: list[RecordLine]) -> None:
    update(zones, *(f"add {name} 60 {rtype} {data}" for name, rtype, data in records))


def altered(record: RecordLine) -> str:
    _, rtype, data = record
    if rtype == "TXT":
        old = {"v=spf1": ("ip4:203", "ip4:204"), "v=DKIM": ("p=MIIB", "p=NIIB"), "v=DMAR": ("p=none", "p=nothing")}
        return data.replace(*next(pair for start, pair in old.items() if start in data))
    return {"A": "192.0.2.9", "PTR": "ip-10.provider.example.", "MX": "10 nobody.rcpt.example."}[rtype]


def test_nothing_is_published_yet(ready: PostroadContainer) -> None:
    code, findings = doctor(ready)
    assert code == 1
    assert all("record" in finding for finding in bad(findings)), bad(findings)
    missing = {(finding["record"]["name"], finding["record"]["type"]) for finding in bad(findings)}
    assert missing == {(name.rstrip("."), rtype) for name, rtype, _ in printed(ready)}


def test_green_with_what_postroad_dns_prints(ready: PostroadContainer, zones: Internet) -> None:
    publish(zones, printed(ready))
    code, findings = doctor(ready)
    assert not bad(findings), bad(findings)
    assert code == 0
    assert {finding["level"] for finding in findings} == {"ok", "info"}


@pytest.mark.long
def test_each_of_those_records_counts(ready: PostroadContainer, zones: Internet) -> None:
    records = printed(ready)
    publish(zones, records)
    for record in records:
        name, rtype, data = record
        for change in ("", altered(record)):
            update(zones, f"delete {name} {rtype} {data}", *([f"add {name} 60 {rtype} {change}"] if change else []))
            code, findings = doctor(ready)
            assert len(bad(findings)) == 1, (record, change, bad(findings))
            (finding,) = bad(findings)
            assert code == (1 if finding["level"] == "error" else 0)
            assert (finding["level"] == "warning") == (name == f"{HOST}." and rtype == "TXT")
            if rtype == "MX" and change:
                assert finding["message"] == f"no MX of {DOMAIN} has an address"
            else:
                found = finding["record"]
                assert (found["name"], found["type"]) == (name.rstrip("."), rtype), (record, change, finding)
            update(zones, *([f"delete {name} {rtype} {change}"] if change else []), f"add {name} 60 {rtype} {data}")
    assert bad(doctor(ready)[1]) == []


def test_a_table_for_people(ready: PostroadContainer, zones: Internet) -> None:
    key = f"postroad._domainkey.{DOMAIN}"
    zones.unpublish(key, "TXT")
    code, text = ready.shell("postroad doctor --only dkim --only spf")
    publish(zones, [record for record in printed(ready) if record[0] == f"{key}."])
    assert code == 1
    assert f"the DKIM record {key}" in " ".join(text.split())
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {key}. TXT v=DKIM1; k=rsa; p=")]
    assert len(line) > 400, "the record stays on one line"
    assert text.endswith("2 ok, 0 info, 0 warning, 1 error\n")


def test_only(ready: PostroadContainer) -> None:
    assert {finding["id"] for finding in doctor(ready, "--only", "mx", "--only", "helo")[1]} == {"mx", "helo"}
    code, text = ready.shell("postroad doctor --only everything")
    assert (code, "everything" in text) == (2, True)


def test_a_configuration_that_can_not_be_used(ready: PostroadContainer) -> None:
    code, text = ready.shell("POSTROAD_HOSTNAME=short postroad doctor")
    assert (code, "hostname" in text) == (2, True)


def test_waiting_until_a_record_is_there(ready: PostroadContainer, zones: Internet) -> None:
    key = f"postroad._domainkey.{DOMAIN}"
    record = [record for record in printed(ready) if record[0] == f"{key}."]
    zones.unpublish(key, "TXT")
    results: list[tuple[int, list[dict[str, Any]]]] = []
    waiter = threading.Thread(target=lambda: results.append(doctor(ready, "--only dkim --wait --timeout 60")))
    waiter.start()
    assert doctor(ready, "--only dkim")[0] == 1, "one that began later has found nothing"
    assert not results
    publish(zones, record)
    waiter.join(timeout=60)
    ((code, findings),) = results
    assert (code, [finding["level"] for finding in findings]) == (0, ["ok"])


def test_waiting_has_an_end(ready: PostroadContainer, zones: Internet) -> None:
    record = [record for record in printed(ready) if record[0] == f"_dmarc.{DOMAIN}."]
    zones.unpublish(f"_dmarc.{DOMAIN}", "TXT")
    code, _ = doctor(ready, "--only dmarc --wait --timeout 2")
    publish(zones, record)
    assert code == 1


@pytest.mark.parametrize("others", [True, False])
def test_lookups_that_time_out_cost_no_more_than_ten_seconds(
    others: bool, ready: PostroadContainer, zones: Internet
) -> None:
    silent = zones._add_host(Dns)
    silent.pause()
    servers = [silent.address, *([zones.dns.address] if others else [])]
    try:
        script = f"time -p env POSTROAD_DNS__SERVERS={','.join(servers)} postroad doctor --json >/tmp/found"
        _, text = ready.shell(f"bash -c '{script}'; cat /tmp/found")
    finally:
        silent.unpause()
    seconds = float(re.findall(r"^real ([\d.]+)$", text, re.MULTILINE)[0])
    # what `time` says may stand before the JSON or after it
    findings = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]["checks"]
    assert seconds < 60  # ten on an idle machine; without a limit it would be minutes
    assert not [finding for finding in findings if "failed itself" in finding["message"]]
    resolver = [finding["level"] for finding in findings if finding["id"] == "resolver"]
    assert resolver[0] == ("warning" if others else "error")


def notices(relay: PostroadContainer) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["event"] == "notice" and event["message"].startswith("doctor: ")]


def test_a_start_has_everything_looked_over_in_the_background(start_relay: Relays, zones: Internet) -> None:
    relay = start_relay(
        publish=False,
        hostname="mail.start.example",
        domains=["start.example"],
        public_ip=[ADDRESS],
        doctor={"at_start": True, "receivers": ["rcpt.example"]},
    )
    deadline = time.monotonic() + 40
    while not any("volumes:" in event["message"] for event in notices(relay)):
        assert time.monotonic() < deadline, relay.log()
        time.sleep(0.2)
    found = {event["message"].split(":")[1].strip(): event for event in notices(relay)}
    assert {"hostname", "reverse-dns", "spf", "dkim", "dmarc"} < {*found}
    assert found["dkim"]["level"] == "error"
    assert "postroad._domainkey.start.example TXT v=DKIM1; k=rsa; p=" in found["dkim"]["message"]
    assert "port-25" not in found
    assert relay.shell("cat /run/postroad/health")[1].startswith("ready")


def test_it_is_done_in_time_where_the_dns_is_dead(start_relay: Relays, zones: Internet) -> None:
    relay = start_relay(publish=False, public_ip=None, dns={"servers": ["192.0.2.53", "192.0.2.54"]})
    began = time.monotonic()
    relay.shell("postroad doctor --help")  # what starting takes on this machine just now
    started = time.monotonic()
    code, text = relay.shell("postroad doctor --json")
    assert time.monotonic() - started - (started - began) < LIMIT + 1
    found = {each["id"]: each for each in json.loads(text)["checks"]}
    assert (code, found["resolver"]["level"]) == (1, "error")
    assert "can't be looked up" in found["spf"]["message"]


def test_it_can_be_switched_off_and_holds_up_no_stop(start_relay: Relays, zones: Internet) -> None:
    silent = {"servers": ["192.0.2.53"]}
    relay = start_relay(publish=False, dns=silent, doctor={"at_start": True})
    began = time.monotonic()
    relay.get_wrapped_container().stop(timeout=20)
    assert time.monotonic() - began < 5, "the checks take longer"
    assert "stopped" in relay.log()
    off = start_relay(publish=False, dns=silent)
    assert "postroad.checks" not in off.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")[1].replace("cat", "")
