"""What big receivers ask, MTA-STS, TLS-RPT and BIMI, on a DNS in a dictionary."""

import base64
import time
from typing import Any

import pytest

from postroad.checks import bimi, mta_sts, senders
from postroad.checks.context import CheckFacts, Context
from postroad.config.model import Config
from tests.oracle.dns_table import TableResolver
from tests.unit.test_dns_tags import rsa

pytestmark = pytest.mark.usefixtures("whole_findings")

NAME = "postroad._domainkey.x.example"
ADDRESS = "203.0.113.10"


def key(bits: int) -> str:
    return f"v=DKIM1; k=rsa; p={base64.b64encode(rsa(bits)).decode()}"


def zone(**more: tuple[str, ...]) -> dict[str, dict[str, tuple[str, ...]]]:
    right: dict[str, dict[str, tuple[str, ...]]] = {
        "x.example": {"TXT": (f"v=spf1 ip4:{ADDRESS} -all",), "MX": ("10 in.x.example",)},
        "mail.x.example": {"A": (ADDRESS,), "TXT": (f"v=spf1 ip4:{ADDRESS} -all",)},
        "10.113.0.203.in-addr.arpa": {"PTR": ("mail.x.example",)},
        NAME: {"TXT": (key(2048),)},
        "_dmarc.x.example": {"TXT": ("v=DMARC1; p=reject",)},
    }
    for owner, values in more.items():
        name, _, rtype = owner.rpartition(" ")
        right[name] = {**right.get(name, {}), rtype: values}
    return right


def context(there: dict[str, dict[str, tuple[str, ...]]], bits: int = 2048, **config: Any) -> Context:
    values = {"hostname": "mail.x.example", "domains": ["x.example"], "doctor": {"receivers": []}, **config}
    return Context(
        Config.model_validate(values),
        TableResolver(there),
        lambda: CheckFacts((ADDRESS,), {NAME: key(bits)}),
        deadline=time.monotonic() + 9,
    )


def test_where_all_is_right() -> None:
    found = list(senders.run(context(zone())))
    assert [str(each.level) for each in found] == ["ok", "ok", "ok", "ok", "ok", "info", "info"]
    assert not any(each.fix for each in found if each.level == "ok")


@pytest.mark.parametrize(
    ("changes", "asked", "see"),
    [
        ({"x.example TXT": ()}, "SPF and DKIM", "see spf"),
        ({f"{NAME} TXT": ()}, "SPF and DKIM", "see dkim"),
        ({"_dmarc.x.example TXT": ()}, "a DMARC policy", "see dmarc"),
        ({"10.113.0.203.in-addr.arpa PTR": ()}, "the address leads to a name", "see reverse-dns"),
        ({"mail.x.example A": ()}, "the address leads to a name", "see hostname"),
    ],
)
def test_what_is_not_so(changes: dict[str, tuple[str, ...]], asked: str, see: str) -> None:
    found = list(senders.run(context(zone(**changes))))
    (wrong,) = [each for each in found if each.message.endswith("not so")]
    assert (asked in wrong.message, wrong.fix) == (True, see)
    assert {str(each.level) for each in found} == {"ok", "info"}  # the check itself says how bad it is


def test_a_domain_that_nobody_registered() -> None:
    there = zone()
    del there["x.example"], there["_dmarc.x.example"], there[NAME]
    assert "all: the domain in From: is registered and can be looked up: x.example: not so" in [
        each.message for each in senders.run(context(there)) if each.level == "error"
    ]


@pytest.mark.parametrize(("bits", "level"), [(512, "error"), (1024, "warning"), (2048, "ok"), (4096, "ok")])
def test_the_length_of_the_key(bits: int, level: str) -> None:
    (found,) = [each for each in senders.run(context(zone(), bits)) if "a DKIM key of" in each.message]
    assert (str(found.level), str(bits) in found.seen) == (level, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: STSv1\nmode: enforce\nmx: in.x.example\nmax_age: 86400\n", ""),
        ("version: STSv1\r\nmode: testing\r\nmx: *.x.example\r\nmax_age: 86400\r\n", ""),
        ("version: STSv1\nmode: none\nmax_age: 86400\n", ""),
        ("mode: enforce\nmx: in.x.example\nmax_age: 86400\n", "no line `version: STSv1`"),
        ("version: STSv1\nmode: on\nmx: in.x.example\nmax_age: 86400\n", "no mode that exists: `on`"),
        ("version: STSv1\nmode: enforce\nmx: in.x.example\n", "no max_age"),
        ("version: STSv1\nmode: enforce\nmax_age: 86400\n", "names no mx"),
        ("version: STSv1\nmode: enforce\nmx: other.x.example\nmax_age: 86400\n", "does not name the MX in.x.example"),
        ("version: STSv1\nmode: enforce\nmx: *.example\nmax_age: 86400\n", "does not name the MX in.x.example"),
        ("<html>", "no line `version: STSv1`"),
    ],
)
def test_policies(text: str, said: str) -> None:
    wrong = mta_sts.judge(text, ["in.x.example"])
    assert said in wrong
    assert bool(wrong) == bool(said)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("_smtp._tls", "v=TLSRPTv1; rua=mailto:a@x.example", "TLS-RPT: reports are asked for"),
        ("_smtp._tls", "v=TLSRPTv1; rua=mailto:a@x.example, https://x.example/r", "TLS-RPT: reports are asked for"),
        ("_smtp._tls", "v=TLSRPTv1; rua=a@x.example", "`a@x.example` is no mailto:"),
        ("_smtp._tls", "v=TLSRPTv1", "`` is no mailto:"),
        ("_smtp._tls", "v=tlsrptv1; rua=mailto:a@x.example", "begins with `v=TLSRPTv1;`"),
        ("_mta-sts", "v=STSv1; id=1", "https://mta-sts.x.example/.well-known/mta-sts.txt can't be read"),
        ("_mta-sts", "v=STSv1; id=a-b", "one TXT record"),
        ("_mta-sts", "v=STSv1", "one TXT record"),
        ("_mta-sts", "v=stsv1; id=1", "one TXT record"),
    ],
)
def test_what_is_published_of_tls(name: str, text: str, said: str) -> None:
    (found,) = mta_sts.run(context(zone(**{f"{name}.x.example TXT": (text,)})))
    assert said in found.message
    assert (str(found.level) == "ok") == said.startswith("TLS-RPT:")


def test_nothing_published_is_fine() -> None:
    assert not list(mta_sts.run(context(zone())))
    assert not list(bimi.run(context(zone())))


@pytest.mark.parametrize(
    ("logo", "policy", "said"),
    [
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=reject", "meets the conditions"),
        ("v=BIMI1; l=https://x.example/a.svg", "v=DMARC1; p=reject", "a= has no https: URI"),
        ("v=BIMI1; l=http://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=reject", "l= has no https: URI"),
        ("v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem", "v=DMARC1; p=none", "DMARC asks for none"),
        (
            "v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem",
            "v=DMARC1; p=reject; sp=none",
            "DMARC asks for none",
        ),
        (
            "v=BIMI1; l=https://x.example/a.svg; a=https://x.example/a.pem",
            "v=dmarc1; p=reject",
            "there is no DMARC policy",
        ),
        ("v=BIMI1; l", "v=DMARC1; p=reject", "tag 2, `l`: no ="),
    ],
)
def test_a_logo(logo: str, policy: str, said: str) -> None:
    there = zone(**{"default._bimi.x.example TXT": (logo,), "_dmarc.x.example TXT": (policy,)})
    (found,) = bimi.run(context(there))
    assert (str(found.level), said in found.message) == ("info", True)
