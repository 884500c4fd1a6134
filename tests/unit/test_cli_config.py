"""Commands that read the configuration: check, render, dkim, dns; the DNS is a table, sendmail the test's."""

import json
import subprocess
from pathlib import Path

import pytest

from postroad.cli import check, dkim, render
from postroad.cli import dns as dns_command
from postroad.config.load import Loaded, read_all
from postroad.dns import egress
from postroad.install import generation
from postroad.runtime import attached
from postroad.secrets import keys
from tests.oracle.dns_table import TableResolver
from tests.unit.commands import run
from tests.unit.test_install_generation import World

CONFIG = "hostname: mail.example.com\ndomains: [example.com, example.org]\npublic_ip: 203.0.113.10\n"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    configure(tmp_path, monkeypatch, CONFIG)
    for module in (render, dkim, dns_command):
        monkeypatch.setattr(module, "STATE", tmp_path / "state")
    monkeypatch.setattr(render, "CURRENT", made.run / "current")
    monkeypatch.setattr(attached, "read", attached.Tables)
    return made


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "config.yaml").write_text(text)

    def read() -> Loaded:
        return read_all(folder / "config.yaml", {}, folder / "none")

    monkeypatch.setattr(check, "read_all", read)
    for module in (render, dkim, dns_command):
        monkeypatch.setattr(module, "load", lambda: read().config)


# --- check


def test_check_says_what_a_configuration_means(world: World) -> None:
    code, out, error = run("check")
    assert code == 0
    assert "mail.example.com: relaying for postroad send" in out
    assert "senders in example.com, example.org" in out
    assert "hostname mail.example.com from" in out
    assert "warning: the certificate is a doubtful one" in error
    assert json.loads(run("check", "--json").out)["domains"][1]["name"] == "example.org"
    assert world.folders == []


def test_check_is_exit_code_2_where_a_start_would_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.refuses = "sendmail"
    code, _, error = run("check")
    assert (code, "the rendered configuration is refused" in error) == (2, True)
    configure(world.top, monkeypatch, "hostname: mail\ndomains: []\n")
    code, _, error = run("check")
    assert (code, "2 problems" in error) == (2, True)


def test_check_warns_of_a_store_that_can_t_be_reached(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(world.top, monkeypatch, CONFIG + 'events: {store: "postgresql://app@127.0.0.1:1/postroad"}\n')
    code, _, error = run("check")
    assert code == 0
    assert "At 'events.store': postgresql" in error
    assert "can't be used" in error


# --- render


def test_render_prints_writes_and_compares(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("render").out
    assert "==> sendmail.mc <==" in out
    assert "define(`confDOMAIN_NAME', `mail.example.com')" in out
    folder = world.top / "out"
    assert str(folder / "access") in run("render", "--output", str(folder)).out
    assert (folder / "sender-domains").read_text().split() == ["example.com", "example.org"]
    unsigned = CONFIG + "dkim: {enabled: false}\n"
    configure(world.top, monkeypatch, unsigned)
    generation.install(read_all(world.top / "config.yaml", {}, world.top / "none"))
    ran = run("render", "--diff")
    assert ran.out == ""
    assert ran.code == 0
    configure(world.top, monkeypatch, unsigned.replace("example.org", "example.net"))
    code, out, _ = run("render", "--diff")
    assert code == 1
    assert "-example.org" in out
    assert "+example.net" in out


# --- dkim and dns


@pytest.fixture
def signed(world: World) -> str:
    """Keys for both domains; the key's text in the DNS."""
    config = read_all(world.top / "config.yaml", {}, world.top / "none").config
    made = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
    for key in keys.wanted(config, world.top / "state"):
        key.path.parent.mkdir(parents=True, exist_ok=True)
        key.path.write_bytes(made)
        key.path.chmod(0o600)
    return keys.record(made.decode())


def test_dkim_lists_keys_with_the_records_that_publish_them(signed: str) -> None:
    found = json.loads(run("dkim", "list", "--json").out)["keys"]
    assert [each["name"] for each in found] == [
        f"postroad._domainkey.{name}" for name in ("example.com", "example.org")
    ]
    assert {each["value"] for each in found} == {signed}
    assert "postroad._domainkey.example.org. TXT\n  v=DKIM1" in run("dkim", "list").out


def resolve(monkeypatch: pytest.MonkeyPatch, zone: dict[str, dict[str, tuple[str, ...]]]) -> None:
    monkeypatch.setattr(dns_command, "Resolver", lambda _: TableResolver(zone))


def test_dns_says_what_is_to_publish(signed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"mail.example.com": {"A": ("203.0.113.10",)}})
    _, out, error = run("dns", "--json")
    assert out, error
    found = {(each["name"], each["type"]): each["value"] for each in json.loads(out)["records"]}
    assert found["mail.example.com", "A"] == "203.0.113.10"
    assert found["postroad._domainkey.example.org", "TXT"] == signed
    assert found["example.com", "TXT"].startswith("v=spf1 ")
    out = run("dns").out
    assert "is there" in out
    assert "to add" in out
    assert "The PTR record of 203.0.113.10 is set by whoever gave you the address" in out


def test_a_zone_is_chosen_by_its_name(signed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {})
    every = {each["name"] for each in json.loads(run("dns", "--json").out)["records"]}
    only = {each["name"] for each in json.loads(run("dns", "--json", "--zone", "Example.Org.").out)["records"]}
    assert only < every
    assert all(name.endswith("example.org") for name in only)
    assert "no record belongs to the zone other.example; the zones are" in run("dns", "--zone", "other.example").error
    assert "a change batch covers one zone" in run("dns", "--format", "route53").error
    batch = json.loads(run("dns", "--format", "route53", "--zone", "example.org").out)
    assert batch["Changes"]


def test_a_key_that_is_not_made_yet_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {})
    code, _, error = run("dns", "--json")
    assert (code, "example.org has no DKIM key yet" in error) == (1, True)


def test_without_an_address_the_records_about_it_are_left_out(
    signed: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world.top, monkeypatch, CONFIG.replace("public_ip: 203.0.113.10\n", ""))
    resolve(monkeypatch, {})
    monkeypatch.setattr(egress, "find", lambda *_: egress.Egress((), "dns", ()))
    code, out, error = run("dns", "--json")
    assert (code, "set public_ip; A, PTR and SPF records are left out" in error) == (1, True)
    assert not [each for each in json.loads(out)["records"] if each["type"] in {"A", "AAAA", "PTR"}]


def test_dns_says_to_programs_what_is_published(signed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"mail.example.com": {"A": ("203.0.113.10",)}, "example.com": {"TXT": ("v=spf1 -all",)}})
    found = json.loads(run("dns", "--json").out)
    by_name = {(each["name"], each["type"]): each for each in found["records"]}
    assert by_name["mail.example.com", "A"]["state"] == "is there"
    spf = by_name["example.com", "TXT"]
    assert (spf["state"], spf["replaces"]) == ("to change", ["v=spf1 -all"])
    assert found["address"]
    assert by_name["postroad._domainkey.example.org", "TXT"]["zone"]
