"""``postroad dns``: what it prints is read by what will read it, and published in a real DNS."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import jsonschema
import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays
from tests.internet.internet import Internet

ADDRESS = "203.0.113.10"
POINTER = "10.113.0.203.in-addr.arpa"
KEY = "postroad._domainkey.sender.example"
SCHEMA = json.loads((Path(__file__).parent / "route53.schema.json").read_text())
MINE = [(HOSTNAME, "A"), (HOSTNAME, "TXT"), (POINTER, "PTR"), (KEY, "TXT"), ("_dmarc.sender.example", "TXT")]
MINE += [("sender.example", "TXT"), ("sender.example", "MX"), ("_smtp._tls.sender.example", "TXT")]


@pytest.fixture(scope="module")
def relay(image: str, internet: Internet, request: pytest.FixtureRequest) -> Iterator[PostroadContainer]:
    relays = Relays(image, internet)
    internet.add_zone("113.0.203.in-addr.arpa")
    with relays.stack:
        yield relays(publish=False, public_ip=ADDRESS, dns={"servers": [internet.dns.address]})


@pytest.fixture
def zone(internet: Internet) -> Iterator[Internet]:
    """Nothing is published of the sender, before and after."""
    clear(internet)
    yield internet
    clear(internet)
    internet.publish("sender.example", "MX", "10 mx.rcpt.example.")


def dns(relay: PostroadContainer, *words: str, code: int = 0, **environment: str) -> str:
    """Run ``postroad dns`` with more of the configuration from the environment; its standard output."""
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    script = f"{variables} postroad dns {shlex.join(words)} 2>/tmp/errors"
    found, text = relay.shell(script)
    assert found == code, text + relay.shell("cat /tmp/errors")[1]
    return text


def records(relay: PostroadContainer, *words: str, **environment: str) -> list[dict[str, Any]]:
    text = dns(relay, "--format", "json", *words, code=0, **environment)
    found: list[dict[str, Any]] = json.loads(text)["records"]
    return found


def value(found: list[dict[str, Any]], name: str, rtype: str = "TXT") -> str:
    (text,) = [each["value"] for each in found if (each["name"], each["type"]) == (name, rtype)]
    return str(text)


def publish(internet: Internet, lines: str) -> None:
    """Put zone file lines into the DNS, as they are."""
    plain = [line for line in lines.splitlines() if line and not line.startswith(";")]
    internet.dns.run("zone", "update", "".join(f"add {line}\nsend\n" for line in plain))


def clear(internet: Internet) -> None:
    internet.dns.run("zone", "update", "".join(f"delete {name}. {rtype}\nsend\n" for name, rtype in MINE))


def states(relay: PostroadContainer, *words: str) -> dict[tuple[str, str], str]:
    lines = [line for line in dns(relay, *words).splitlines() if line.startswith(("to ", "is there", "can't"))]
    return {(line[11:].split()[0], line[11:].split()[1]): line[:10].strip() for line in lines}


def test_the_records_as_json(relay: PostroadContainer, zone: Internet) -> None:
    found = records(relay)
    assert [(each["name"], each["type"], each["value"]) for each in found] == [
        (HOSTNAME, "A", ADDRESS),
        (POINTER, "PTR", HOSTNAME),
        (HOSTNAME, "TXT", f"v=spf1 ip4:{ADDRESS} -all"),
        ("sender.example", "TXT", f"v=spf1 ip4:{ADDRESS} ~all"),
        (KEY, "TXT", relay.dkim_records()[KEY]),
        ("_dmarc.sender.example", "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@sender.example"),
        ("sender.example", "MX", f"10 {HOSTNAME}"),
    ]
    fields = {"name", "type", "ttl", "value", "purpose", "state", "zone", "replaces", "notes"}
    assert all(set(each) == fields for each in found)
    assert len(value(found, KEY)) > 255, "unsplit"
    assert json.loads(dns(relay, "--json"))["records"] == found


def test_options(relay: PostroadContainer, zone: Internet) -> None:
    found = records(relay, "--tls-rpt", "--reports", "dmarc@rcpt.example")
    assert value(found, "_smtp._tls.sender.example") == "v=TLSRPTv1; rua=mailto:dmarc@rcpt.example"
    assert value(found, "_dmarc.sender.example") == "v=DMARC1; p=none; rua=mailto:dmarc@rcpt.example"
    assert {each["name"] for each in records(relay, "--zone", "113.0.203.in-addr.arpa")} == {POINTER}
    dns(relay, "--zone", "other.example", code=1)
    six = records(relay, POSTROAD_PUBLIC_IP="2001:db8::10, 203.0.113.10")
    assert value(six, HOSTNAME, "AAAA") == "2001:db8::10"
    assert "ip4:203.0.113.10 ip6:2001:db8::10" in value(six, "sender.example")


def test_what_bind_reads_makes_everything_be_there(relay: PostroadContainer, zone: Internet) -> None:
    assert set(states(relay, "--tls-rpt").values()) == {"to add"}
    text = dns(relay, "--format", "bind", "--tls-rpt")
    for name in ("sender.example", "113.0.203.in-addr.arpa"):
        lines = dns(relay, "--format", "bind", "--tls-rpt", "--zone", name)
        assert lines in text + "\n"
        assert "loaded serial 1" in check_zone(zone, name, lines)
    publish(zone, text)
    assert set(states(relay, "--tls-rpt").values()) == {"is there"}
    assert dns(relay, "--format", "bind", "--tls-rpt") == text.replace("; to add:", "; is there:").replace(
        "MX: only if the domain has no mailboxes, as receivers refuse senders without one; else of the server that has them",
        "MX: where bounces go",
    )


def check_zone(internet: Internet, name: str, lines: str) -> str:
    head = f"$TTL 60\n@ SOA ns.internet.example. hostmaster.{name}. 1 3600 600 86400 1\n@ NS ns.internet.example.\n"
    script = 'printf %s "$2" >/tmp/checked && named-checkzone -k fail -m fail -r fail -T warn "$1" /tmp/checked'
    return internet.dns.run("bash", "-c", script, "-", name, head + lines).decode()


def test_route53_takes_the_change_batch(relay: PostroadContainer, zone: Internet) -> None:
    zone.publish("sender.example", "TXT", "site-verification=abc", 'with "quotes"', "v=spf1 mx ~all")
    batch = json.loads(dns(relay, "--format", "route53"))
    jsonschema.Draft202012Validator(SCHEMA).validate(batch)
    sets = {(each["ResourceRecordSet"]["Name"], each["ResourceRecordSet"]["Type"]): each for each in batch["Changes"]}
    apex = sets["sender.example.", "TXT"]
    # a change sets all values of a name and type at once
    assert [each["Value"] for each in apex["ResourceRecordSet"]["ResourceRecords"]] == [
        f'"v=spf1 ip4:{ADDRESS} mx ~all"',
        '"site-verification=abc"',
        r'"with \"quotes\""',
    ]
    assert apex["Action"] == "UPSERT"
    (key,) = sets[f"{KEY}.", "TXT"]["ResourceRecordSet"]["ResourceRecords"]
    assert sets[f"{KEY}.", "TXT"]["Action"] == "CREATE"
    assert len(key["Value"].strip('"').partition('" "')[0]) == 255
    assert key["Value"].replace('" "', "").strip('"') == relay.dkim_records()[KEY]
    assert not any("arpa" in name for name, _ in sets)
    dns(relay, "--format", "route53", code=1, POSTROAD_DOMAINS="sender.example, rcpt.example")


def test_what_is_not_known_is_never_overwritten(relay: PostroadContainer, zone: Internet) -> None:
    zone.publish("sender.example", "TXT", "v=spf1 mx ~all")
    batch = json.loads(dns(relay, "--format", "route53", code=1, POSTROAD_DNS__SERVERS="127.0.0.9"))
    assert {each["Action"] for each in batch["Changes"]} == {"CREATE"}
    assert "allow_overwrite" not in dns(relay, "--format", "terraform", code=1, POSTROAD_DNS__SERVERS="127.0.0.9")


def test_terraform_reads_the_resources(relay: PostroadContainer, zone: Internet, tmp_path: Path) -> None:
    zone.publish("sender.example", "TXT", "v=spf1 exists:%{i}.list.example ~all", "odd=${x}")
    text = dns(relay, "--format", "terraform")
    tree = hcl2.loads(text)
    resources = {name: body for each in tree["resource"] for name, body in next(iter(each.values())).items()}
    assert len(resources) == 6
    keys = [body for body in resources.values() if KEY in str(body)]
    (long,) = keys[0]["records"]
    assert max(len(part) for part in unquoted(long).split('""')) <= 255
    assert unquoted(long).replace('""', "") == relay.dkim_records()[KEY]
    (apex,) = [body for body in resources.values() if "list.example" in str(body)]
    assert "$${x}" in str(apex), "not an interpolation"
    assert "%%{i}" in str(apex), "not a directive"
    assert apex["allow_overwrite"] is True
    if terraform := shutil.which("terraform"):
        (tmp_path / "main.tf").write_text(text)
        done = subprocess.run(
            [terraform, "fmt", "-check", "-diff", tmp_path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def unquoted(text: str) -> str:
    """The text of an HCL string, as python-hcl2 gives it: with or without its quotes."""
    return (
        text.removeprefix('"').removesuffix('"').replace('\\"', '"')
        if text.startswith('"')
        else text.replace('\\"', '"')
    )


def test_cloudflare_gets_only_what_is_to_do(relay: PostroadContainer, zone: Internet) -> None:
    zone.publish(HOSTNAME, "TXT", f"v=spf1 ip4:{ADDRESS} -all")
    zone.publish("sender.example", "TXT", "v=spf1 mx ~all")
    text = dns(relay, "--format", "cloudflare")
    live = [line for line in text.splitlines() if not line.startswith(";")]
    assert f"{HOSTNAME}. 3600 IN A {ADDRESS} ; cf_tags=cf-proxied:false" in live
    assert not any(line.startswith(f"{HOSTNAME}. 3600 IN TXT") for line in live)
    assert not any(POINTER in line for line in live)
    assert '; there is: "v=spf1 mx ~all"' in text
    assert "loaded serial 1" in check_zone(zone, "sender.example", text)


@pytest.mark.parametrize(
    ("existing", "merged", "said"),
    [
        (
            ["v=spf1 include:_spf.rcpt.example ~all"],
            "v=spf1 ip4:203.0.113.10 include:_spf.rcpt.example ~all",
            "Added: ip4",
        ),
        (["v=spf1 ip4:203.0.113.0/24 -all"], "v=spf1 ip4:203.0.113.0/24 -all", ""),
        (["v=spf1 include:passes.rcpt.example -all"], "v=spf1 include:passes.rcpt.example -all", ""),
        (["v=spf1 redirect=_spf.rcpt.example"], "v=spf1 ip4:203.0.113.10 redirect=_spf.rcpt.example", "Added: ip4"),
        (["v=spf1 mx -all", "v=spf1 a ~all"], "v=spf1 ip4:203.0.113.10 a mx ~all", "two SPF records"),
        (
            ["v=spf1 " + " ".join(f"include:i{number}.rcpt.example" for number in range(11)) + " -all"],
            "v=spf1 ip4:203.0.113.10 " + " ".join(f"include:i{number}.rcpt.example" for number in range(11)) + " -all",
            "11 DNS lookups",
        ),
        (["v=spf1 include:loop.rcpt.example -all"], "v=spf1 ip4:203.0.113.10 include:loop.rcpt.example -all", "A loop"),
    ],
)
def test_spf_is_merged_into_what_is_there(
    relay: PostroadContainer, zone: Internet, existing: list[str], merged: str, said: str
) -> None:
    zone.publish("_spf.rcpt.example", "TXT", "v=spf1 ip4:192.0.2.0/24 ~all")
    zone.publish("passes.rcpt.example", "TXT", "v=spf1 ip4:203.0.113.10 ~all")
    zone.publish("loop.rcpt.example", "TXT", "v=spf1 include:loop.rcpt.example -all")
    for number in range(11):
        zone.publish(f"i{number}.rcpt.example", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    zone.publish("sender.example", "TXT", "other=1", *existing)
    assert value(records(relay), "sender.example") == merged
    table = dns(relay)
    assert states(relay)["sender.example", "TXT"] == ("is there" if existing == [merged] else "to change")
    assert said in table
    for text in existing:
        assert (f"instead of: {text}" in table) == (text != merged)


def test_what_is_somebody_else_s_is_written_back_as_it_is(relay: PostroadContainer, zone: Internet) -> None:
    """Octets that are no text, and the boundaries of the strings."""
    zone.dns.run("zone", "update", 'add sender.example. 60 TXT "a\\255b" "" "c"\nsend\n')
    (change,) = [
        each["ResourceRecordSet"]
        for each in json.loads(dns(relay, "--format", "route53", "--zone", "sender.example"))["Changes"]
        if (each["ResourceRecordSet"]["Name"], each["ResourceRecordSet"]["Type"]) == ("sender.example.", "TXT")
    ]
    assert r'"a\377b" "" "c"' in [each["Value"] for each in change["ResourceRecords"]]
    assert r'"a\\377b\"\"\"\"c",' in dns(relay, "--format", "terraform")


def test_what_people_decided_stays(relay: PostroadContainer, zone: Internet) -> None:
    zone.publish("_dmarc.sender.example", "TXT", "v=DMARC1; p=reject; rua=mailto:x@rcpt.example")
    zone.publish("sender.example", "MX", "5 mx.rcpt.example.", "10 mx2.rcpt.example.")
    zone.publish(HOSTNAME, "A", "192.0.2.99")
    zone.publish(POINTER, "PTR", "ec2-203-0-113-10.compute.example.")
    found = states(relay)
    assert found["_dmarc.sender.example", "TXT"] == found["sender.example", "MX"] == "is there"
    assert found[HOSTNAME, "A"] == found[POINTER, "PTR"] == "to change"
    table = dns(relay)
    for form in ("route53", "terraform"):
        assert "mx.rcpt.example" not in dns(relay, "--format", form), "it would be taken over"
    assert "instead of: 192.0.2.99" in table
    assert "instead of: ec2-203-0-113-10.compute.example" in table
    assert f"aws ec2 modify-address-attribute --domain-name {HOSTNAME}" in table
    assert f"--public-ips {ADDRESS}" in table


def test_a_key_is_the_same_however_it_is_written(relay: PostroadContainer, zone: Internet) -> None:
    key = relay.dkim_records()[KEY]
    zone.publish("real.rcpt.example", "TXT", key.replace("v=DKIM1; k=rsa; ", "k=rsa;"))
    zone.publish(KEY, "CNAME", "real.rcpt.example.")
    assert states(relay)[KEY, "TXT"] == "is there"
    zone.publish("real.rcpt.example", "TXT", key.replace("p=M", "t=y; p=M"))
    assert states(relay)[KEY, "TXT"] == "to change"
    assert "an alias (CNAME) of real.rcpt.example" in dns(relay)
    zone.unpublish(KEY, "CNAME")


def test_a_dead_resolver_is_told(relay: PostroadContainer, zone: Internet) -> None:
    found = dns(relay, code=1, POSTROAD_DNS__SERVERS="127.0.0.9")
    assert "can't tell" in found
    assert "The published records could not be looked up" in relay.shell("cat /tmp/errors")[1]
    assert f"v=spf1 ip4:{ADDRESS} ~all" in found


def test_auto_believes_two_that_agree(relay: PostroadContainer, zone: Internet) -> None:
    server = zone.dns.address
    for number, address in enumerate(["203.0.113.66", "198.51.100.20", "198.51.100.20", "127.0.0.1"]):
        zone.publish(f"myip{number}.rcpt.example", "A", address)
        zone.publish(f"text{number}.rcpt.example", "TXT", "edns0-client-subnet 192.0.2.0/24", address)
    zone.publish("server.rcpt.example", "A", server)
    names = [
        f"myip0.rcpt.example @{server}",
        "myip1.rcpt.example @server.rcpt.example",
        f"text2.rcpt.example TXT @{server}",
    ]
    table = dns(relay, POSTROAD_PUBLIC_IP="auto", POSTROAD_DNS__EGRESS=",".join(names))
    host = relay.address
    assert table.startswith(f"this host is {host}; it leaves as 198.51.100.20 (as the DNS says)\n")
    assert "ip4:198.51.100.20" in table


def test_auto_without_agreement_is_no_address(relay: PostroadContainer, zone: Internet) -> None:
    server = zone.dns.address
    names = [
        f"myip0.rcpt.example @{server}",
        f"myip1.rcpt.example @{server}",
        f"myip3.rcpt.example @{server}",
        "x.example @127.0.0.9",
    ]
    found = dns(relay, "--json", code=1, POSTROAD_PUBLIC_IP="auto", POSTROAD_DNS__EGRESS=",".join(names))
    assert {each["type"] for each in json.loads(found)["records"]} == {"TXT", "MX"}
    said = relay.shell("cat /tmp/errors")[1]
    assert "set public_ip" in said
    assert "myip0.rcpt.example @" in said
    assert "said 127.0.0.1, which is not a host's address" in said
    assert "x.example @127.0.0.9: no answer in time" in said or "did not answer" in said
    assert "ip4" not in found


def test_auto_finds_both_versions(image: str, request: pytest.FixtureRequest) -> None:
    with Internet(ipv6=True) as dual:
        dual.add_zone("myip.example")
        for name in ("one", "two", "three"):
            dual.publish(f"{name}.myip.example", "A", "198.51.100.20")
            dual.publish(f"{name}.myip.example", "AAAA", "2001:db8:99::20")
        dual.publish("server.myip.example", "A", dual.dns.addresses[0])
        dual.publish("server.myip.example", "AAAA", dual.dns.addresses[1])
        relays = Relays(image, dual)
        with relays.stack:
            relay = relays(
                publish=False,
                dns={
                    "servers": [dual.dns.address],
                    "egress": [f"{name}.myip.example @server.myip.example" for name in ("one", "two", "three")],
                },
            )
            table = dns(relay)
    assert "it leaves as 198.51.100.20, 2001:db8:99::20 (as the DNS says)" in table
    assert "v=spf1 ip4:198.51.100.20 ip6:2001:db8:99::20 ~all" in table
