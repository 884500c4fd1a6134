"""sendmail's rules as tables: an address or a host, and the verdict, asked of the rules in force by ``sendmail -bt``.

Beside each example stand its near misses. No mail is sent: what the verdicts lead to, the other tests show.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from postroad.runtime import refusals
from postroad.testing import PostroadContainer
from tests.integration.conftest import TEST_MODE, Relays, secrets_folder, wait_until
from tests.internet.internet import Internet

OK = "ok"
"""The ruleset lets it through."""


class Case(NamedTuple):
    """A question and what its answer begins with.

    Attributes:
        ruleset: which one, or several in a row.
        text: what it is given.
        verdict: ``ok``; a refusal's text; or the words that are left in the workspace.
        macros: sendmail's macros at that moment, without braces.
    """

    ruleset: str
    text: str
    verdict: str
    macros: Mapping[str, str] = {}


TRUSTED, STRANGER, HERE = {"client_addr": "10.7.0.1"}, {"client_addr": "192.0.2.1"}, {"client_addr": "0"}
SHOP = {"client_addr": "192.0.2.1", "auth_type": "PLAIN", "auth_authen": "shop"}
ANY = {"client_addr": "192.0.2.1", "auth_type": "PLAIN", "auth_authen": "any"}
SENDER = "553 the sender address needs a domain"
NOT_OURS = "550 sender domain"
ONLY_SENDS = "550 no mailboxes here"
NOT_HIS = "550 user shop may not send as"
DEAD = f"550 {refusals.SUPPRESSED}"

MAIL = [
    Case("check_mail", "<app@sender.example>", OK),
    Case("check_mail", "<APP@Sender.Example>", OK),
    Case("check_mail", "<>", OK),
    Case("check_mail", "<app@below.example>", OK),
    Case("check_mail", "<app@a.b.below.example>", OK),
    Case("check_mail", "<app@a.sender.example>", NOT_OURS),
    Case("check_mail", "<app@evilsender.example>", NOT_OURS),
    Case("check_mail", "<app@notbelow.example>", NOT_OURS),
    Case("check_mail", "<app@sender.example.evil.example>", NOT_OURS),
    Case("check_mail", "<app@example>", NOT_OURS),
    Case("check_mail", "<sender.example@evil.example>", NOT_OURS),
    Case("check_mail", "<app%sender.example@evil.example>", NOT_OURS),
    Case("check_mail", '<"app@sender.example"@evil.example>', NOT_OURS),
    Case("check_mail", "<@sender.example:app@evil.example>", NOT_OURS),
    Case("check_mail", "<app@[192.0.2.1]>", NOT_OURS),
    Case("check_mail", "<app>", SENDER),
    Case("check_mail", "<app@sender.example>", OK, SHOP),
    Case("check_mail", "<app@below.example>", NOT_HIS, SHOP),
    Case("check_mail", "<app@a.sender.example>", NOT_OURS, SHOP),
    Case("check_mail", "<app@below.example>", OK, ANY),
    Case("check_mail", "<app@below.example>", "550 user shop", SHOP | {"auth_authen": "shop@mail.sender.example"}),
    Case("check_mail", "<app@sender.example>", "550 user nobody may not send as", SHOP | {"auth_authen": "nobody"}),
    Case("check_mail", "<app@sender.example>", "550 user sho may not send as", SHOP | {"auth_authen": "sho"}),
]
RCPT = [
    *(Case("check_rcpt", "<user@rcpt.example>", OK, who) for who in (TRUSTED, HERE, SHOP, ANY)),
    Case("check_rcpt", "<user@rcpt.example>", "550 ", STRANGER),
    Case("check_rcpt", "<user@rcpt.example>", OK, {"client_addr": "10.7.255.255"}),
    Case("check_rcpt", "<user@rcpt.example>", "550 ", {"client_addr": "10.8.0.0"}),
    Case("check_rcpt", "<user@rcpt.example>", "550 ", {"client_addr": "10.70.0.1"}),
    Case("check_rcpt", "<user@rcpt.example>", "550 ", {"client_addr": "110.7.0.1"}),
    Case("check_rcpt", "<user@rcpt.example>", "550 ", {"client_addr": "IPv6:2001:db8:0:0:0:0:0:1"}),
    # AUTH by a mechanism that proves nothing
    Case("check_rcpt", "<user@rcpt.example>", "550 ", STRANGER | {"auth_type": "ANONYMOUS"}),
    Case("check_rcpt", "<user@mail.sender.example>", ONLY_SENDS, TRUSTED),
    Case("check_rcpt", "<user%rcpt.example@mail.sender.example>", ONLY_SENDS, TRUSTED),
    Case("check_rcpt", '<"user@rcpt.example"@mail.sender.example>', ONLY_SENDS, TRUSTED),
    Case("check_rcpt", "<user@mail.sender.example.>", ONLY_SENDS, TRUSTED),
    Case("check_rcpt", "<user@xmail.sender.example>", OK, TRUSTED),
    Case("check_rcpt", "<user>", "553 the recipient address needs a domain", TRUSTED),
    Case("check_rcpt", "<user@rcpt.example>", "421 too many refused recipients", TRUSTED | {"nbadrcpts": "99999"}),
]
SUPPRESSED = [
    Case("check_rcpt", "<dead@rcpt.example>", DEAD, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<Dead@RCPT.example>", DEAD, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", '<"dead"@rcpt.example>', DEAD, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<dead@rcpt.example>", DEAD, TRUSTED | {"f": "<>"}),
    Case("check_rcpt", "<dead@rcpt.example>", "550 ", STRANGER | {"f": "app@sender.example"}),
    Case("check_rcpt", "<dead@a.rcpt.example>", OK, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<undead@rcpt.example>", OK, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<dead+1@rcpt.example>", OK, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<half@rcpt.example>", DEAD, TRUSTED | {"f": "app@below.example"}),
    Case("check_rcpt", "<half@rcpt.example>", OK, TRUSTED | {"f": "app@sender.example"}),
    Case("check_rcpt", "<half@rcpt.example>", OK, TRUSTED | {"f": "app@a.below.example"}),
]
RELAY = [
    # the front has counted its own clients
    Case("translate,check_relay", "a.example $| 192.0.2.1", OK, {"daemon_name": "smtp"}),
    Case("translate,check_relay", "a.example $| 10.7.0.1", OK, {"daemon_name": "smtp"}),
]
TLS = [
    Case("TlsPolicy", host, policy)
    for host, policy in {
        "verify.example": "verify",
        "verify.example.": "verify",
        "a.verify.example": "require",
        "verify.example.evil": "require",
        "xverify.example": "require",
        "a.parent.example": "opportunistic",
        "a.b.parent.example": "opportunistic",
        "deep.a.parent.example": "dane-only",
        "a.deep.a.parent.example": "opportunistic",
        "parent.example": "require",
        "xparent.example": "require",
    }.items()
]
ROUTES = [
    Case("translate,Route", f"{to} $| {by}", target)
    for to, by, target in [
        ("one.example", "sender.example", "1"),
        ("one.example.", "sender.example", "1"),
        ("one.example", "none", "1"),
        ("a.one.example", "sender.example", "0"),
        ("xone.example", "sender.example", "0"),
        ("a.two.example", "sender.example", "2"),
        ("a.b.two.example", "sender.example", "2"),
        ("two.example", "sender.example", "0"),
        ("rcpt.example", "below.example", "2"),
        ("rcpt.example", "a.below.example", "0"),
        ("rcpt.example", "xbelow.example", "0"),
        # the first that fits
        ("one.example", "below.example", "1"),
        ("slow.example", "below.example", "2"),
        ("slow.example", "sender.example", "route4"),
        ("slow.example", "none", "route4"),
        ("a.slow.example", "sender.example", "0"),
    ]
]
CASES = [*MAIL, *RCPT, *SUPPRESSED, *RELAY, *TLS, *ROUTES]


def script(cases: list[Case]) -> str:
    """The test mode's input; each case sets every macro that any case sets."""
    names = sorted({name for case in cases for name in case.macros} | {"mail_addr"})
    lines = []
    for case in cases:
        macros = {
            "client_addr": "192.0.2.1",
            "nbadrcpts": "0",
            "client_rate": "0",
            "f": "app@sender.example",
            **case.macros,
        }
        lines += [f".D{name if len(name) == 1 else f'{{{name}}}'}{macros.get(name, '')}" for name in names]
        lines.append(f"{case.ruleset} {case.text}")
    return "\n".join([*lines, "/quit", ""])


def verdict(ruleset: str, answer: str) -> str:
    """What a ruleset returned, in a few words; of a check, whether it refuses."""
    refused = re.match(r"\$# ?error .*?\$: ?(.*)", answer)
    if refused:
        return re.sub(r"\s+", " ", refused[1].replace('"', "")).strip()
    return OK if ruleset.startswith("check_") else "".join(answer.split()).lower()


@pytest.fixture(scope="module")
def verdicts(image: str, internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The rules' verdict on each case, of one relay that has all kinds of rules."""
    folder: Path = secrets_folder(tmp_path_factory, internet, password="a-password-long-enough-for-anybody")
    relays = Relays(image, internet)
    users: list[dict[str, object]] = [{"name": "shop", "domains": ["sender.example"]}, {"name": "any"}]
    with relays.stack:
        relay = relays(
            publish=False,
            domains=["sender.example", {"name": "below.example", "subdomains": True}],
            clients={
                "networks": ["10.7.0.0/16"],
                "users": [user | {"password_file": "/secrets/password"} for user in users],
            },
            delivery={
                "tls": {
                    "policy": "require",
                    "domains": {
                        "verify.example": "verify",
                        ".parent.example": "opportunistic",
                        "deep.a.parent.example": "dane-only",
                    },
                },
                "routes": [
                    {"domains": ["one.example"], "smarthost": {"host": "smtp.one.example"}},
                    {"domains": [".two.example"], "smarthost": {"host": "smtp.two.example"}},
                    {"senders": ["below.example"], "smarthost": {"host": "smtp.two.example"}},
                    {"domains": ["slow.example"], "smarthost": None, "rate": "10/hour"},
                ],
            },
            limits={"connections_per_minute": 1000},
            mounts={str(folder): "/secrets"},
        )
        suppress(relay)
        yield asked(relay, CASES)


def suppress(relay: PostroadContainer) -> None:
    """Put an address on the list for everybody, and one for mail of below.example."""
    for words in ("dead@rcpt.example", "half@rcpt.example --domain below.example"):
        code, text = relay.shell(f"postroad suppress add {words}")
        assert code == 0, text
    sample = [case for case in SUPPRESSED if case.verdict == DEAD]
    wait_until(lambda: all(each.startswith(DEAD) for each in asked(relay, sample)), timeout=30)


TRANSLATE = "Stranslate\nR$* $$| $*\t\t$: $1 $| $2\n"
"""The test mode takes ``$|`` for two characters; this makes it what rules know by that name."""


def asked(relay: PostroadContainer, cases: list[Case]) -> list[str]:
    """The verdicts of the rules in force."""
    code, text = relay.shell(
        f"cat /run/postroad/current/sendmail.cf - >/tmp/rules.cf <<'END'\n{TRANSLATE}END\n"
        f"{TEST_MODE} -C /tmp/rules.cf <<'END'\n{script(cases)}END\n"
    )
    assert code == 0, text
    found = iter(re.findall(r"^(?:> ?)*(\w+) +returns: (.*)$", text, re.MULTILINE))
    said = []
    for case in cases:
        wanted = case.ruleset.rpartition(",")[2]
        # rulesets that it calls have answers of their own
        said.append(verdict(wanted, next(answer for ruleset, answer in found if ruleset == wanted)))
    return said


@pytest.mark.parametrize(
    ("number", "case"), list(enumerate(CASES)), ids=[f"{case.ruleset} {case.text}" for case in CASES]
)
def test_a_verdict(number: int, case: Case, verdicts: list[str]) -> None:
    found = verdicts[number]
    assert found == case.verdict if case.verdict == OK else found.startswith(case.verdict), found
