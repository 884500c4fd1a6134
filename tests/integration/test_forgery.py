"""No message leaves in a foreign name: hundreds of forms of From:, on every listener, and what readers and receivers make of those that arrive."""

import base64
import json
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.host import Mx
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import HOSTNAME, Relays, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet

OURS = "app@sender.example"
FOREIGN = "ceo@evil.example"
READERS = ("read-python", "read-perl", "read-go")

NAMES = [
    "", "CEO ", '"CEO" ', "=?utf-8?q?C=C3=89O?= ", f'"{FOREIGN}" ', f'"<{FOREIGN}>" ', f'"{FOREIGN}, x" ', f'"\\"{FOREIGN}\\"" ', f"=?utf-8?q?=3C{FOREIGN.replace('@', '=40')}=3E?= ",
    f"=?utf-8?b?{base64.b64encode(f'<{FOREIGN}>'.encode()).decode()}?= ", f"{FOREIGN} ", f"<{FOREIGN}> ", f"({FOREIGN}) ", f"(<{FOREIGN}>) ", "(c) ", "(c (d)) ", "(\") ", "(\\)) ", "() ", f"[{FOREIGN}] ",
    "[CEO] ", "C.E.O. ", "C,E ", "C;E ", "C:E ", ":", ";", ",", "\\", "@", "a@b ", '"', "(", ")", "<", ">", "김 ", "\x80 ", "\x01 ", "\x0b", "\x0c ", "\x7f ", "\t", "\r\n ", "\r\n \r\n ", "x" * 300 + " ",
    "x " * 400, "," * 700, "(" * 700, '"' + "x" * 300 + '" ', f"@{FOREIGN.partition('@')[2]}:", "C'E ", "<x> ", f"{FOREIGN},",
]  # fmt: skip
ADDRESSES = [f"<{OURS}>", OURS, f"<{FOREIGN}>", FOREIGN]
TAILS = [
    "", f" <{FOREIGN}>", f", {FOREIGN}", f",{'x' * 2100} <{FOREIGN}>", f" ({FOREIGN})", " (c)", f'"{FOREIGN}"', ";", ",", f"\r\n {FOREIGN}", f"\r\n\t,{FOREIGN}", "\r\n ",
    f"\r\nFrom: {FOREIGN}", f"\r\nfrom: {FOREIGN}", f"\r\nFrom : {FOREIGN}", f"\r\nFROM\t: {FOREIGN}", f"\r\nSender: {FOREIGN}, x", ".evil.example", "@evil.example", "\x00", "\x00@evil.example",
]  # fmt: skip
WHOLE = [
    "", " ", "<>", "root", "a@sender.example@evil.example", "a@evil.example@sender.example", "<a@evil.example@sender.example>", '"a@evil.example"@sender.example', '"a@evil.example>"@sender.example',
    "=?utf-8?q?a=40evil.example=00?=@sender.example", "=?utf-8?q?a=40evil.example=0A=00?=@sender.example", "<=?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZQ==?=@sender.example>", "a%evil.example@sender.example", "evil.example!a@sender.example",
    "a@sender.example.evil.example", "a@evilsender.example", "a@sub.sender.example", "a@sender.example.", "a@sender..example", "a@.sender.example", "a@-sender.example", "a@SENDER.example", "a@sender.EXAMPLE",
    "a@sender.example\x00.evil.example", "a@sender.example .evil.example", "a@ sender.example", "a @sender.example", "a@sender .example", "a(@evil.example)@sender.example", "a@(evil.example)sender.example", "a@sender.example(evil.example)",
    "a@[192.0.2.1]", "a@sender\xe9.example", "a@s\xc3\xa9nder.example", "a@xn--sender.example", "g: a@sender.example;", "g: a@evil.example;, a@sender.example", "g:;", "<@evil.example:a@sender.example>", "<@evil.example,a@sender.example>",
    "a@sender.example, b@sender.example", "A <a@sender.example>, B <b@sender.example>", "a@sender.example b@evil.example", "a@evil.example b@sender.example", "a\\@evil.example@sender.example", "a..b@sender.example", ".a@sender.example",
    '"a b"@sender.example', '"a\\"@evil.example"@sender.example', '""@sender.example', "<a@sender.example", "a@sender.example>", "<<a@sender.example>>", "<a@sender.example> <b@evil.example>", "<a@sender.example><b@evil.example>",
    "a@evil.example\r\n <a@sender.example>", "\"a\r\n \" <a@sender.example>", "a@sender.example\r\n (b@evil.example)", "a@evil.example (\r\n <a@sender.example>)", '"a" "b" <a@sender.example>', "a@evil.example;a@sender.example",
    "a@evil.example\x0ba@sender.example", "a@sender.example\x1f", "a@sender.example\x7f", "<a@sender.example>;<b@evil.example>", "a@sender.example:25", "mailto:a@sender.example", "<mailto:a@evil.example> <a@sender.example>",
]  # fmt: skip
FORMS = list(dict.fromkeys([*WHOLE, *("".join(parts) for parts in product(NAMES, ADDRESSES, TAILS[:1])), *("".join(parts) for parts in product(NAMES[:8], ADDRESSES, TAILS[1:]))]))  # fmt: skip

PLAIN = {OURS, f"<{OURS}>", f"CEO <{OURS}>", f'"CEO" <{OURS}>', f"=?utf-8?q?C=C3=89O?= <{OURS}>", f"{OURS} (c)"}
BARE = {FOREIGN, f"<{FOREIGN}>", f"CEO <{FOREIGN}>"}


def octets(form: str) -> bytes:
    return form.encode("latin-1") if all(ord(sign) < 256 for sign in form) else form.encode()


Send = Callable[[int, bytes], tuple[int, bytes]]


def sender(relay: PostroadContainer, listener: str, user: str = "") -> Iterator[Send]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    smtp: smtplib.SMTP
    if listener == "submissions":
        smtp = smtplib.SMTP_SSL(relay.host, relay.port_of(listener), timeout=60, context=context)
    else:
        smtp = smtplib.SMTP(relay.host, relay.port_of(listener), timeout=60)
    with smtp:
        smtp.ehlo()
        if user:
            if listener != "submissions":
                smtp.starttls(context=context)
                smtp.ehlo()
            smtp.login(user, "a long password")

        def send(number: int, value: bytes) -> tuple[int, bytes]:
            smtp.mail(OURS)
            smtp.rcpt("user@judge.example")
            return smtp.data(b"From: " + value + b"\r\nX-Form: %s-%d\r\n\r\nbody\r\n" % (listener.encode(), number))

        yield send


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text("a long password\n")
    path.parent.chmod(0o755)
    path.chmod(0o444)
    return str(path)


LISTENERS = {"smtp": 25, "submission": 587, "submissions": 465}
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "neighbour": ("smtp", "", {}),
    "user": ("submission", "app", {}),
    "user-tls": ("submissions", "app", {}),
    "no-dkim": ("smtp", "", {"dkim": {"enabled": False}}),
    "one-sender": ("smtp", "", {"rewrite": {"sender": "noreply@sender.example"}}),
    "rewriting": ("smtp", "", {"rewrite": {"masquerade_domains": ["web1"], "masquerade_as": "sender.example"}}),
    "staging": ("smtp", "", {"recipients": {"allow": ["judge.example"]}}),
    "redirected": ("smtp", "", {"recipients": {"redirect_to": "qa@judge.example"}}),
    "limited-user": ("submission", "app", {"domains": ["sender.example", "evil.example"]}),
}


@pytest.fixture(scope="module")
def judge(internet: Internet) -> Mx:
    """A receiver at which OpenDKIM and OpenDMARC say what they read."""
    internet.publish("_dmarc.sender.example", "TXT", "v=DMARC1; p=none")
    return internet.add_mx("judge.example", dmarc=True)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_foreign_arrives(
    way: str, start_relay: Relays, internet: Internet, judge: Mx, app: Host, password: str
) -> None:
    listener, user, config = WAYS[way]
    users = [{"name": "app", "password_file": "/run/secrets/password", "domains": ["sender.example"]}]
    options: dict[str, Any] = {"clients": {"users": users}, "listeners": LISTENERS, "dkim": {"selector": way}} | config
    relay = start_relay(publish=False, mounts={password: "/run/secrets/password"}, **options)
    keys = {name: text for name, text in relay.dkim_records().items() if name.endswith(".sender.example")}
    internet.publish_sender(HOSTNAME, relay.address, dkim=keys)
    known = len(internet.messages())
    accepted = {}
    for send in sender(relay, listener, user):
        for number, form in enumerate(FORMS):
            if way != "neighbour" and form not in {*WHOLE, *PLAIN, *BARE} and number % 5:
                continue  # one policy decides for all: a fifth of the generated ones finds a way around it
            code, text = send(number, octets(form))
            assert code in {250, 550}, (form, code, text)
            if code == 250:
                accepted[number] = form
            else:
                assert re.search(rb"From:|Sender:|header", text), (form, text)
    pattern = re.compile(rf"^X-Form: {listener}-(\d+)$".encode(), re.MULTILINE)

    def arrived() -> dict[int, ReceivedMessage]:
        found = ((pattern.search(each.raw), each) for each in internet.messages()[known:])
        return {int(match[1]): each for match, each in found if match}

    came = wait_until(lambda: all_ if accepted.keys() <= (all_ := arrived()).keys() else {}, timeout=60)
    assert came.keys() == accepted.keys()
    # plain forms are taken, and whatever names somebody else alone is not
    assert set(accepted.values()) >= PLAIN
    assert not set(accepted.values()) & BARE
    values = []
    for number, received in came.items():
        raw = received.raw
        results = b" ".join(
            re.findall(rb"^Authentication-Results: *mx\.judge\.example;.*(?:\n[ \t].*)*", raw, re.MULTILINE)
        )
        said = re.findall(rb"header\.(?:from|d)=([^\s;]+)", results.lower())
        assert said or not keys, (accepted[number], raw)
        assert not set(said) - {b"sender.example"}, (accepted[number], raw)
        assert received.verdict("dkim") == ("pass" if keys else "none"), (accepted[number], raw)
        head = b"\n" + raw.partition(b"\n\n")[0] + b"\n"
        fields = re.findall(rb"\nfrom[ \t]*:((?:.*)(?:\n[ \t].*)*)", head, re.IGNORECASE)
        assert len(fields) == 1, (accepted[number], fields)
        values.append((number, fields[0]))
    lines = "\n".join(base64.b64encode(value).decode() for _, value in values)
    for reader in READERS:
        printed = app.run(
            "sh", "-c", f"echo $0 | base64 -d | {reader}", base64.b64encode(lines.encode()).decode()
        ).splitlines()
        assert len(printed) == len(values)
        for (number, value), line in zip(values, printed, strict=True):
            addresses = json.loads(line)
            for address in addresses:
                where = address.rpartition("@")
                assert not where[1] or where[2].lower().strip(" >") == "sender.example", (
                    reader,
                    accepted[number],
                    value,
                    addresses,
                )
                assert "evil" not in where[2], (reader, accepted[number], addresses)
                assert not where[0].count("@"), (reader, accepted[number], addresses)
