"""Who may send, and as whom."""

import secrets
import smtplib
import subprocess

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet

SEND = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as smtp:
    smtp.sendmail("app@sender.example", ["user@rcpt.example"], sys.stdin.read() or sys.argv[2])
"""


def test_a_neighbour_may_send_and_the_gateway_may_not(start_relay: Relays, app: Host, internet: Internet) -> None:
    relay = start_relay(clients={"trust_gateway": False})
    message = letter()
    app.run("python3", "-c", SEND, relay.address, message.as_string())
    assert internet.wait_for_message(str(message["Message-ID"])).verdict("dkim") == "pass"
    for host, port in ((relay.host, relay.port), (relay.address, 25)):
        with smtplib.SMTP(host, port, timeout=10) as outside:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                outside.send_message(letter())
            code, text = refused.value.recipients["user@rcpt.example"]
            assert code == 550
            assert b"clients.trust_gateway" in text
            assert b"AUTH" in text
    # events are written in batches, a moment after the answer
    (rejected, *_) = wait_until(lambda: [event for event in relay.events() if event["event"] == "rejected"])
    assert rejected["recipient"] == "user@rcpt.example"


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("app@sender.example", 250),
        ("app@SENDER.Example", 250),
        ("app@sub.sender.example", 550),
        ("app@other.example", 550),
        ("app@notsender.example", 550),
        ("app@sender.example.evil.example", 550),
        ("root", 553),
        ("@sender.example:app@other.example", 550),
        ("app%other.example@sender.example", 250),
        ('"app@other.example"@sender.example', 250),
        ("other.example!app", 553),
    ],
)
def test_the_envelope_sender_must_be_in_domains(sender: str, code: int, relay: PostroadContainer) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.docmd(f"MAIL FROM:<{sender}>")[0] == code


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("From: app@sender.example", True),
        ("From: App <app@Sender.example>", True),
        ('From: "Doe, J" <app@sender.example>', True),
        ("From: app@sender.example (App)", True),
        ("From: App\r\n <app@sender.example>", True),
        ("from:app@sender.example", True),
        ("From: app@other.example", False),
        ("From: App <app@other.example>", False),
        ('From: "app@sender.example" <app@other.example>', False),
        ("From: app@other.example (app@sender.example)", False),
        ("From: app@sub.sender.example", False),
        ("From: app@sender.example.other.example", False),
        ("From: a@sender.example, b@other.example", False),
        ("From: a@other.example, b@sender.example", False),
        ("From: a@other.example\r\nFrom: b@sender.example", False),
        ("From: a@sender.example\r\nFrom: b@other.example", False),
        ("From: b@sender.example\r\nFROM : b@other.example", False),
        ("From: App", False),
        ("From:", False),
        ("From: <>", False),
        ("From: group: app@sender.example;", False),
        ("From: " + "x" * 300 + " <app@other.example>", False),
        ("Subject: no sender", False),
    ],
)
def test_the_from_header_must_be_one_address_in_domains(
    header: str, accepted: bool, relay: PostroadContainer, internet: Internet
) -> None:
    marker = secrets.token_hex(8)
    arguments = ("app@sender.example", ["user@rcpt.example"], f"{header}\r\nX-Marker: {marker}\r\n\r\nbody\r\n")
    with smtplib.SMTP(relay.host, relay.port, timeout=10) as smtp:
        if accepted:
            assert smtp.sendmail(*arguments) == {}
            received = internet.wait_for_message(lambda message: message.message["X-Marker"] == marker)
            assert received.verdict("dkim") == "pass"
        else:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail(*arguments)
            assert refused.value.smtp_code == 550
            assert b"From:" in refused.value.smtp_error


def test_one_message_s_sender_says_nothing_about_the_next(relay: PostroadContainer) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=10) as smtp:
        smtp.send_message(letter())
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("app@sender.example", ["user@rcpt.example"], "Subject: no From:\r\n\r\nbody\r\n")
        smtp.send_message(letter())


@pytest.mark.parametrize("recipient", ["root", "root@mail.sender.example", "postmaster@localhost"])
def test_nobody_has_a_mailbox_here(recipient: str, relay: PostroadContainer) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=10) as smtp:
        smtp.ehlo()
        smtp.mail("app@sender.example")
        code, text = smtp.rcpt(recipient)
        assert code in {550, 553}
        assert b"mailboxes" in text or b"domain" in text


def test_subdomains_and_an_own_selector(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(domains=[{"name": "sender.example", "subdomains": True, "dkim": {"selector": "s2"}}])
    received = internet.wait_for_message(
        send(relay, letter(From="app@deep.sub.sender.example"), from_addr="app@sub.sender.example")
    )
    assert received.verdict("dkim") == "pass"
    assert "d=sender.example;" in str(received.message["DKIM-Signature"])
    assert "s=s2;" in "".join(str(received.message["DKIM-Signature"]).split())


def test_an_own_key_file(
    start_relay: Relays, internet: Internet, image: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("key")
    folder.chmod(0o755)
    key = folder / "dkim.pem"
    made = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint=openssl", image, "genrsa", "2048"], capture_output=True, check=True
    )
    key.write_bytes(made.stdout)
    key.chmod(0o444)  # as an orchestrator mounts a secret
    relay = start_relay(
        domains=[{"name": "sender.example", "dkim": {"key_file": "/run/secrets/dkim.pem"}}],
        mounts={str(key): "/run/secrets/dkim.pem"},
    )
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def test_any_domain_may_send_where_nothing_is_signed(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(domains=["*"], dkim={"enabled": False})
    found = internet.wait_for_message(
        send(relay, letter(From="someone@other.example"), from_addr="someone@other.example")
    )
    assert found.message["DKIM-Signature"] is None


def test_any_domain_is_refused_while_mail_is_signed(start_relay: Relays) -> None:
    with pytest.raises(RuntimeError, match=r"At 'domains\[0\]' .*only with dkim.enabled: false"):
        start_relay(domains=["*", "sender.example"])


def test_limits_are_told_and_kept(start_relay: Relays) -> None:
    relay = start_relay(limits={"message_size": "64KiB", "recipients_per_message": 2})
    with smtplib.SMTP(relay.host, relay.port, timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["size"] == str(64 * 1024)
        refused = smtp.sendmail("app@sender.example", [f"u{n}@rcpt.example" for n in range(4)], letter().as_string())
        assert set(refused.values()) == {(452, b"4.5.3 Too many recipients")}
        assert len(refused) == 2
        with pytest.raises(smtplib.SMTPSenderRefused) as announced:
            smtp.sendmail("app@sender.example", ["user@rcpt.example"], letter().as_string() + "x" * 70_000)
        assert announced.value.smtp_code == 552
        assert b"size exceeds fixed maximum message size (65536)" in announced.value.smtp_error
        smtp.rset()
        smtp.mail("app@sender.example")
        smtp.rcpt("user@rcpt.example")
        code, text = smtp.data(letter().as_string() + "line\r\n" * 20_000)
        assert (code, b"maximum" in text) == (552, True), text
