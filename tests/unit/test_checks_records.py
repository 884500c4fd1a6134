"""The checks of what is published, each on a DNS that is a dictionary: what is right, and its near misses."""

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from postroad.checks import address, bimi, dkim, dmarc, hostname, mta_sts, mx, reverse
from postroad.checks.context import CheckFacts
from postroad.dns import dkim_published
from postroad.dns.dkim_published import Seen
from postroad.dns.resolver import Resolver
from tests.oracle.dns_table import TableResolver, pointer
from tests.unit.checking import ADDRESS, DEAD, SIX, Zone, context, levels
from tests.unit.test_uplink_session import make_certificate

pytestmark = pytest.mark.usefixtures("whole_findings")

KEY = f"v=DKIM1; k=ed25519; p={'A' * 43}="
OTHER = f"v=DKIM1; k=ed25519; p={'A' * 42}E="
NAME = "s1._domainkey.x.example"
BOTH = CheckFacts((ADDRESS, SIX), {})

CASES: list[tuple[ModuleType, Zone, str, str]] = [
    (hostname, {"mail.x.example": {"A": (ADDRESS,)}}, "ok", f"mail.x.example leads to {ADDRESS}"),
    (hostname, {"mail.x.example": {"A": ("203.0.113.11", ADDRESS)}}, "ok", f"leads to {ADDRESS}"),
    (hostname, {"mail.x.example": {"A": ("203.0.113.11",)}}, "error", f"does not lead to {ADDRESS}"),
    (hostname, {"mail.x.example": {"AAAA": (SIX,)}}, "error", f"does not lead to {ADDRESS}"),
    (hostname, {"mail.x.example": DEAD}, "warning", "mail.x.example A can't be looked up"),
    (reverse, {pointer(ADDRESS): {"PTR": ("mail.x.example",)}}, "ok", "leads back to mail.x.example"),
    (reverse, {pointer(ADDRESS): {"PTR": ("mail.x.example", "a.example")}}, "warning", "has 2 reverse names"),
    (
        reverse,
        {pointer(ADDRESS): {"PTR": ("ec2.example",)}, "ec2.example": {"A": (ADDRESS,)}},
        "warning",
        "leads back to another name than mail.x.example",
    ),
    (
        reverse,
        {pointer(ADDRESS): {"PTR": ("ec2.example",)}, "ec2.example": {"A": ("203.0.113.1",)}},
        "error",
        "does not lead back to mail.x.example",
    ),
    (reverse, {}, "error", f"{ADDRESS} does not lead back"),
    (reverse, {pointer(ADDRESS): DEAD}, "warning", "PTR can't be looked up"),
    (
        mx,
        {"x.example": {"MX": ("10 in.x.example",)}, "in.x.example": {"A": ("192.0.2.1",)}},
        "ok",
        "has somewhere to go",
    ),
    (
        mx,
        {"x.example": {"MX": ("10 in.x.example",)}, "in.x.example": {"AAAA": ("2001:db8::1",)}},
        "ok",
        "has somewhere to go",
    ),
    (mx, {"x.example": {"MX": ("10 in.x.example",)}}, "error", "no MX of x.example has an address"),
    (mx, {"x.example": {"MX": ("10 in.x.example",)}, "in.x.example": DEAD}, "ok", "has somewhere to go"),
    (
        mx,
        {
            "x.example": {"MX": ("10 in.x.example",)},
            "in.x.example": {"CNAME": ("a.example",)},
            "a.example": {"A": ("192.0.2.1",)},
        },
        "warning",
        "is an alias (CNAME), which some servers refuse (RFC 2181, 10.3): in.x.example",
    ),
    (mx, {"x.example": {"MX": ("0 .",)}}, "warning", "says that it takes no mail"),
    (mx, {"x.example": {"MX": ("0 .", "10 in.x.example")}}, "warning", "has a null MX beside others"),
    (mx, {"x.example": {"MX": ("10 192.0.2.1",)}}, "warning", "is an address, where a host name belongs"),
    (mx, {"x.example": {"MX": ("10 mail.x.example",)}}, "info", "goes to this server, which takes none"),
    (mx, {"x.example": {"A": ("192.0.2.1",)}}, "info", "goes to its address: it has no MX"),
    (mx, {"x.example": {"AAAA": ("2001:db8::1",)}}, "info", "goes to its address: it has no MX"),
    (mx, {"x.example": {"TXT": ("x",)}}, "error", "has nowhere to go"),
    (mx, {"x.example": DEAD}, "warning", "x.example MX can't be looked up"),
    (dmarc, {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=reject",)}}, "ok", "DMARC covers x.example"),
    (dmarc, {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=none", "hello")}}, "warning", "has another TXT record beside"),
    (dmarc, {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=none", "v=DMARC1; p=none")}}, "error", "has 2 DMARC records"),
    (dmarc, {"_dmarc.x.example": {"TXT": ("v=DMARC1;",)}}, "error", "can't be followed"),
    (dmarc, {"_dmarc.x.example": {"TXT": ("v=dmarc1; p=none",)}}, "error", "is no DMARC record"),
    (dmarc, {}, "error", "x.example has no DMARC record"),
    (dmarc, {"_dmarc.x.example": DEAD}, "warning", "can't be looked up"),
    (dkim, {NAME: {"TXT": (KEY,)}}, "ok", f"{NAME} publishes the key in use"),
    (dkim, {NAME: {"TXT": (OTHER,)}}, "error", "has a different key from the one here"),
    (dkim, {NAME: {"TXT": (KEY, OTHER)}}, "error", "is there 2 times"),
    (dkim, {NAME: {"TXT": (f"{KEY}; t=y",)}}, "warning", "is in test mode"),
    (dkim, {NAME: {"TXT": ("v=DKIM1; k=rsa; p=",)}}, "error", "revokes the key"),
    (dkim, {}, "error", f"the DKIM record {NAME} is missing"),
    (dkim, {NAME: DEAD}, "warning", f"{NAME} TXT can't be looked up"),
]


@pytest.mark.parametrize(("check", "zone", "level", "said"), CASES)
def test_one_finding(check: Any, zone: Zone, level: str, said: str) -> None:
    facts = CheckFacts((ADDRESS,), {NAME: KEY}) if check is dkim else None
    ((found, message),) = levels(check, context(zone, facts=facts))
    assert (found, said in message) == (level, True), message


def test_each_public_address_by_itself() -> None:
    zone: Zone = {"mail.x.example": {"A": (ADDRESS,), "AAAA": (SIX,)}, pointer(SIX): {"PTR": ("mail.x.example",)}}
    assert [level for level, _ in levels(hostname, context(zone, facts=BOTH))] == ["ok", "ok"]
    assert [level for level, _ in levels(reverse, context(zone, facts=BOTH))] == ["error", "ok"]
    zone = {"six.example": {"AAAA": (SIX,)}, pointer(SIX): {"PTR": ("six.example",)}}
    only = CheckFacts((SIX,), {})
    assert levels(reverse, context(zone, facts=only))[0][0] == "warning", "a name that leads to it, but not HELO's"


def test_the_public_address() -> None:
    assert levels(address, context({}, facts=BOTH)) == [("ok", f"mail leaves as {ADDRESS}, {SIX}")]
    ((level, message),) = levels(address, context({}, facts=CheckFacts((), {}, "no resolver answers")))
    assert (level, "it is not known which address" in message) == ("error", True)
    smarthost: dict[str, Any] = {"delivery": {"smarthost": {"host": "smtp.sendgrid.net"}}}
    assert [level for level, _ in levels(address, context({}, **smarthost))] == ["info"]


@pytest.mark.parametrize(
    ("records", "domain", "level", "said"),
    [
        ({"_dmarc.x.example": "v=DMARC1; p=none; sp=reject"}, "a.x.example", "ok", "with sp=reject of the domain"),
        ({"_dmarc.x.example": "v=DMARC1; p=none"}, "a.x.example", "ok", "with p=none of the domain above"),
        ({"_dmarc.a.x.example": "v=DMARC1; p=none"}, "b.a.x.example", "warning", "only at some receivers"),
        ({"_dmarc.x.example": "v=DMARC1; p=none; adkim=s"}, "x.example", "ok", "DMARC covers"),
        ({"_dmarc.x.example": "v=DMARC1; p=none; pct=x"}, "x.example", "warning", "breaks the grammar"),
    ],
)
def test_the_policy_of_a_domain_above(records: dict[str, str], domain: str, level: str, said: str) -> None:
    zone: Zone = {name: {"TXT": (text,)} for name, text in records.items()}
    ((found, message),) = levels(dmarc, context(zone, domains=[domain]))
    assert (found, said in message) == (level, True), message


def test_dmarc_and_the_way_we_sign() -> None:
    strict: Zone = {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=reject; adkim=s",)}}
    below = [{"name": "x.example", "subdomains": True}]
    ((level, message),) = levels(dmarc, context(strict, domains=below))
    assert (level, "strict alignment" in message) == ("error", True)
    reject: Zone = {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=reject",)}}
    none: Zone = {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=none",)}}
    unsigned: dict[str, Any] = {"dkim": {"enabled": False}}
    assert levels(dmarc, context(reject, **unsigned))[0][0] == "warning"
    assert levels(dmarc, context(none, **unsigned))[0][0] == "ok"
    sp: Zone = {"_dmarc.x.example": {"TXT": ("v=DMARC1; p=none; sp=reject",)}}
    assert levels(dmarc, context(sp, domains=below, **unsigned))[0][0] == "warning"
    assert levels(dmarc, context(sp, **unsigned))[0][0] == "ok", "none below it sends"


def test_keys_of_other_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"next": Seen(("192.0.2.1", "192.0.2.2"), (), ()), "new": Seen((), ("192.0.2.1",), (), "is missing")}
    seen["mute"] = Seen((), (), ("192.0.2.1",))
    monkeypatch.setattr(dkim, "seen", lambda config, name, value, timeout: seen[name])
    facts = CheckFacts(
        (ADDRESS,),
        {NAME: ""},
        coming=dict.fromkeys(seen, KEY),
        past={
            "old": (KEY, "2026-01-01", "2026-01-08"),
            "gone": ("", "2026-01-01", "2026-01-08"),
            "kept": (KEY, "2026-01-01", "2026-01-08"),
            "revoked": ("", "2026-01-01", "2026-01-08"),
        },
    )
    zone: Zone = {"gone": {"TXT": (KEY,)}, "kept": {"TXT": (KEY,)}, "revoked": {"TXT": ("v=DKIM1; p=",)}}
    found = list(dkim.run(context(zone, facts=facts)))
    assert [(str(each.level), each.message[:34]) for each in found] == [
        ("error", f"the key of {NAME}"[:34]),
        ("ok", "next publishes the next key, which"),
        ("warning", "the next key, new, waits for its r"),
        ("warning", "the next key, mute, waits for its "),
        ("warning", "old signed until 2026-01-01 and is"),
        ("info", "gone signed until 2026-01-01 and m"),
    ]
    assert found[3].fix == "name resolvers that answer: dkim.resolvers"
    assert [each.level for each in dkim.run(context({}, dkim={"enabled": False}))] == ["warning"]


def test_the_records_of_other_stages_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim, "seen", lambda *_, timeout: Seen((), ("192.0.2.1",), (), "is missing"))
    coming, past = "s2._domainkey.x.example", "s0._domainkey.x.example"
    facts = CheckFacts((ADDRESS,), {NAME: KEY}, coming={coming: OTHER}, past={past: (KEY, "2026-01-01", "2026-01-08")})
    found = {each.record.name: each for each in dkim.run(context({NAME: {"TXT": (KEY,)}}, facts=facts)) if each.record}
    assert found.keys() == {coming, past}
    assert (found[coming].fix, found[past].fix) == ("publish this TXT record", "publish it until 2026-01-08")


def test_which_resolvers_have_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    zones: dict[str, Zone] = {
        "192.0.2.1": {NAME: {"TXT": (KEY,)}},
        "192.0.2.2": {NAME: DEAD},
        "192.0.2.3": {NAME: {"TXT": (OTHER,)}},
    }

    def resolver(servers: list[str], *, timeout: float, deadline: float) -> Resolver:
        return TableResolver(zones[servers[0]])

    monkeypatch.setattr(dkim_published, "Resolver", resolver)
    config = context({}, dns={"servers": ["192.0.2.1", "192.0.2.2"]}, dkim={"resolvers": ["192.0.2.3"]}).config
    found = dkim_published.seen(config, NAME, KEY)
    assert (found.have, found.lack, found.silent) == (("192.0.2.1",), ("192.0.2.3",), ("192.0.2.2",))
    assert not found.enough
    said = "1 of 3 resolvers have its record; at 192.0.2.3 it has a different key from the one here; 192.0.2.2 did not answer"
    assert str(found) == said
    assert not Seen(("a",), (), ("b",)).enough
    assert Seen(("a",), (), ()).enough


POLICY = "version: STSv1\nmode: enforce\nmx: in.x.example\nmax_age: 86400\n"
STS: Zone = {"_mta-sts.x.example": {"TXT": ("v=STSv1; id=1",)}, "x.example": {"MX": ("10 in.x.example",)}}
HOST: Zone = {"mta-sts.x.example": {"A": ("192.0.2.1",)}}


@pytest.mark.parametrize(
    ("zone", "policy", "level", "said"),
    [
        (STS | HOST, POLICY, "ok", "can be read and covers its MX"),
        (STS | HOST, POLICY.replace("in.", "other."), "warning", "does not name the MX in.x.example"),
        (STS | HOST, ValueError("it answers 404"), "warning", "can't be read"),
        (STS | {"mta-sts.x.example": DEAD}, POLICY, "warning", "mta-sts.x.example A can't be looked up"),
        ({"_mta-sts.x.example": {"TXT": ("v=STSv1; id=1", "v=STSv1; id=2")}}, POLICY, "warning", "is not used"),
        ({"_mta-sts.x.example": {"TXT": ("v=STSv1;",)}}, POLICY, "warning", "is not used"),
        ({"_mta-sts.x.example": {"TXT": ("V=STSv1; id=1",)}}, POLICY, "warning", "is not used"),
        ({"_mta-sts.x.example": {"TXT": (f"v=STSv1; id={'a' * 33}",)}}, POLICY, "warning", "is not used"),
        ({"_smtp._tls.x.example": {"TXT": ("v=TLSRPTv1; rua=mailto:a@x.example",)}}, POLICY, "ok", "TLS-RPT"),
        ({"_smtp._tls.x.example": {"TXT": ("v=TLSRPTv1; rua=https://x.example/a",)}}, POLICY, "ok", "TLS-RPT"),
        ({"_smtp._tls.x.example": {"TXT": ("v=TLSRPTv1; rua=a@x.example",)}}, POLICY, "warning", "is no mailto:"),
        ({"_smtp._tls.x.example": {"TXT": ("v=TLSRPTv1; rua",)}}, POLICY, "warning", "is not used"),
        ({"_smtp._tls.x.example": {"TXT": ("v=TLSRPTv1;",) * 2}}, POLICY, "warning", "there are 2"),
        ({"_smtp._tls.x.example": {"TXT": ("v=tlsrptv1; rua=mailto:a@x.example",)}}, POLICY, "warning", "begins with"),
    ],
)
def test_mta_sts_and_tls_rpt(
    monkeypatch: pytest.MonkeyPatch, zone: Zone, policy: str | ValueError, level: str, said: str
) -> None:
    def fetch(host: str, addresses: list[str], timeout: float) -> str:
        assert host == "mta-sts.x.example"
        if isinstance(policy, ValueError):
            raise policy
        return policy

    monkeypatch.setattr(mta_sts, "fetch", fetch)
    ((found, message),) = levels(mta_sts, context(zone))
    assert (found, said in message) == (level, True), message
    assert levels(mta_sts, context({})) == []


@pytest.mark.parametrize(
    ("policy", "hosts", "wrong"),
    [
        (POLICY, ["in.x.example"], ""),
        (POLICY.replace("in.", "*."), ["in.x.example"], ""),
        (POLICY.replace("in.", "*."), ["a.in.x.example"], "does not name the MX a.in.x.example"),
        (POLICY.replace("in.", "*."), ["x.example"], "does not name the MX x.example"),
        (POLICY.replace("in.", "IN."), ["in.x.example"], ""),
        (POLICY.replace("\n", "\r\n"), ["in.x.example"], ""),
        (POLICY + "mode: none\n", ["other.example"], "does not name"),
        (POLICY.replace("enforce", "none"), ["other.example"], ""),
        (POLICY.replace("enforce", "testing"), ["other.example"], "does not name"),
        (POLICY.replace("mx: in.x.example\n", ""), [], "names no mx"),
        (POLICY.replace("86400", "a day"), [], "has no max_age"),
        (POLICY.replace("86400", "1" * 11), [], "has no max_age"),
        (POLICY.replace("enforce", "strict"), [], "has no mode that exists: `strict`"),
        (POLICY.replace("STSv1", "STSv2"), [], "has no line `version: STSv1`"),
    ],
)
def test_a_policy_of_mta_sts(policy: str, hosts: list[str], wrong: str) -> None:
    found = mta_sts.judge(policy, hosts)
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_a_host_of_policies_without_an_address() -> None:
    with pytest.raises(ValueError, match=r"mta-sts\.x\.example has no address"):
        mta_sts.fetch("mta-sts.x.example", [], 1)


class PolicySite(BaseHTTPRequestHandler):
    """A host of MTA-STS policies."""

    answer: ClassVar[tuple[int, bytes]] = (200, b"")
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        status, body = self.answer
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(status)
        self.send_header("Location", "/.well-known/mta-sts.txt")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PolicySite]]:
    """One that listens, in place of 192.0.2.1, and whose certificate is for ``mta-sts.x.example``."""
    made = make_certificate(tmp_path / "site.pem", "DNS:mta-sts.x.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    server = ThreadingHTTPServer(("127.0.0.1", 0), PolicySite)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connect, trusting = socket.create_connection, ssl.create_default_context(cafile=str(made))

    def there(address: tuple[str, int], timeout: float) -> socket.socket:
        assert address == ("192.0.2.1", 443)
        return connect(("127.0.0.1", server.server_address[1]), timeout)

    monkeypatch.setattr(mta_sts.socket, "create_connection", there)  # type: ignore[attr-defined]
    monkeypatch.setattr(mta_sts.ssl, "create_default_context", lambda: trusting)  # type: ignore[attr-defined]
    PolicySite.asked.clear()
    yield PolicySite
    server.shutdown()
    server.server_close()


def test_a_policy_is_read_as_senders_read_it(site: type[PolicySite]) -> None:
    site.answer = (200, b"version: STSv1\n\xff" + bytes(mta_sts.LARGEST - 16))
    assert mta_sts.fetch("mta-sts.x.example", ["192.0.2.1"], 5).startswith("version: STSv1\n\ufffd")
    assert site.asked == [("/.well-known/mta-sts.txt", "mta-sts.x.example")]
    site.answer = (200, bytes(mta_sts.LARGEST + 1))
    with pytest.raises(ValueError, match=r"^it is longer than 65536 octets$"):
        mta_sts.fetch("mta-sts.x.example", ["192.0.2.1"], 5)
    site.answer = (301, b"version: STSv1\n")  # followed by no sender (RFC 8461, 3.3)
    with pytest.raises(ValueError, match=r"^it answers 301 Moved Permanently$"):
        mta_sts.fetch("mta-sts.x.example", ["192.0.2.1"], 5)
    with pytest.raises(ssl.SSLCertVerificationError):
        mta_sts.fetch("mta-sts.y.example", ["192.0.2.1"], 5)


@pytest.mark.parametrize(
    ("own", "above", "missing"),
    [
        ("v=DMARC1; p=reject", "v=DMARC1; p=none", "meets"),
        ("v=DMARC1; p=none; sp=reject", "v=DMARC1; p=reject", "asks for none"),
        ("", "v=DMARC1; p=none; sp=reject", "meets"),
        ("", "v=DMARC1; p=reject; sp=none", "asks for none"),
        ("", "", "there is no DMARC policy"),
    ],
)
def test_a_logo_below_another_domain(own: str, above: str, missing: str) -> None:
    logo = "v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem"
    zone: Zone = {"default._bimi.app.x.example": {"TXT": (logo,)}}
    zone |= {
        f"_dmarc.{name}": {"TXT": (text,)} for name, text in (("app.x.example", own), ("x.example", above)) if text
    }
    ((level, message),) = levels(bimi, context(zone, domains=["app.x.example"]))
    assert (level, missing in message) == ("info", True), message


@pytest.mark.parametrize(
    ("logo", "policy", "missing"),
    [
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=reject", "meets the conditions"),
        ("v=BIMI1; l=https://x.example/a.svg", "v=DMARC1; p=reject", "a= has no https: URI"),
        ("v=BIMI1; a=https://x.example/a.pem", "v=DMARC1; p=reject", "l= has no https: URI"),
        ("v=BIMI1; l=http://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=reject", "l= has no https: URI"),
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=none", "asks for none"),
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=reject; sp=none", "asks for none"),
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "hello", "there is no DMARC policy"),
        ("v=BIMI1; l", "v=DMARC1; p=reject", "is not shown"),
    ],
)  # fmt: skip
def test_a_logo(logo: str, policy: str, missing: str) -> None:
    zone: Zone = {"default._bimi.x.example": {"TXT": (logo,)}, "_dmarc.x.example": {"TXT": (policy,)}}
    ((level, message),) = levels(bimi, context(zone))
    assert (level, missing in message) == ("info", True), message


def test_no_logo_is_nothing_to_say() -> None:
    assert levels(bimi, context({"default._bimi.x.example": {"TXT": ("v=BIMI12; l=x",)}})) == []
