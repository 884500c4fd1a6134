"""Addresses that leave as others: in the envelope, in the header, under a signature that holds."""

import secrets
import smtplib

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import TEST_MODE, Relays, wait_until
from tests.internet.internet import Internet
from tests.rewriting import CASES, REWRITE


def passed_on(
    relay: PostroadContainer, internet: Internet, sender: str, header: str, recipient: str = "user@rcpt.example"
) -> ReceivedMessage:
    """Send a message with these header lines; return what arrived."""
    marker = secrets.token_hex(8)
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.sendmail(sender, [recipient], f"{header}\r\nX-Marker: {marker}\r\n\r\nbody\r\n")
    return internet.wait_for_message(lambda message: message.message["X-Marker"] == marker)


def field(received: ReceivedMessage, name: str) -> str:
    """A header field's value as it came, unfolded."""
    head = received.raw.partition(b"\n\n")[0].decode().replace("\n\t", " ").replace("\n ", " ")
    (value,) = [line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith(f"{name}:")]
    return value


@pytest.fixture(scope="module")
def rewriter(image: str, internet: Internet) -> object:
    relays = Relays(image, internet)
    with relays.stack:
        yield relays(
            delivery={"queue": {"retry": "1s"}},
            rewrite={
                "add_domain": "sender.example",
                "masquerade_domains": ["web1", "internal.example"],
                "masquerade_as": "sender.example",
                "addresses": {
                    "root@sender.example": "Ops.Team@sender.example",
                    "app@other.example": "app@sender.example",
                },
            },
        )


@pytest.mark.parametrize(
    ("sender", "left"),
    [
        ("www-data@web1", "www-data@sender.example"),
        ("www-data@WEB1", "www-data@sender.example"),
        ("www-data@3f2ac91b.internal.example", "www-data@sender.example"),
        ("someone", "someone@sender.example"),
        ("root", "Ops.Team@sender.example"),
        ("Root@db.internal.example", "Ops.Team@sender.example"),
        ("app@other.example", "app@sender.example"),
        ("app@sender.example", "app@sender.example"),
        ("", ""),
    ],
)
def test_the_envelope_sender_is_rewritten(
    sender: str, left: str, rewriter: PostroadContainer, internet: Internet
) -> None:
    received = passed_on(rewriter, internet, sender, "From: app@sender.example")
    assert received.sender == left
    assert received.verdict("spf") == "pass"
    assert received.verdict("dkim") == "pass"


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("from", "root", "Ops.Team@sender.example"),
        ("from", "root (Cron Daemon)", "Ops.Team@sender.example (Cron Daemon)"),
        ("from", "Web <www-data@web1>", "Web <www-data@sender.example>"),
        ("from", '"Web, first" <www-data@web1>', '"Web, first" <www-data@sender.example>'),
        ("from", "=?utf-8?q?J=C3=BCrgen?= <j@a.b.internal.example>", "=?utf-8?q?J=C3=BCrgen?= <j@sender.example>"),
        ("from", "<app@other.example>", "<app@sender.example>"),
        ("from", "App <app@sender.example>", "App <app@sender.example>"),
        ("to", "root, X <app@web1>,user@rcpt.example", "Ops.Team@sender.example, X <app@sender.example>,user@rcpt.example"),
        ("to", '"a b"@web1, <root>', '"a b"@sender.example, <Ops.Team@sender.example>'),
        ("to", "team: root, a@web1;", "team: Ops.Team@sender.example, a@sender.example;"),
        ("to", "undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("to", "a@[192.0.2.1], B <b@web1> (c, d)", "a@[192.0.2.1], B <b@sender.example> (c, d)"),
        ("to", "J. D <j.d@web1>;", "J. D <j.d@web1>;"),
        ("to", "a@web1.example, a@notweb1, a@xinternal.example", "a@web1.example, a@notweb1, a@xinternal.example"),
        ("cc", "john.doe,\r\n jane@web1", "john.doe@sender.example, jane@sender.example"),
        ("reply-to", "Help <help@web1>", "Help <help@sender.example>"),
        ("sender", "cron@web1", "cron@sender.example"),
    ],
)  # fmt: skip
def test_the_header_is_rewritten_and_its_signature_holds(
    name: str, value: str, left: str, rewriter: PostroadContainer, internet: Internet
) -> None:
    other = "" if name == "from" else "From: app@sender.example\r\n"
    received = passed_on(rewriter, internet, "app@sender.example", f"{other}{name}: {value}")
    assert field(received, name) == left
    assert received.verdict("dkim") == "pass"


def test_who_may_send_is_asked_of_the_address_that_leaves(rewriter: PostroadContainer) -> None:
    with smtplib.SMTP(rewriter.host, rewriter.port, timeout=20) as smtp:
        smtp.ehlo()
        for sender in ("a@other.example", "a@web1.evil.example", "a@notinternal.example"):
            assert smtp.mail(sender)[0] == 550
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail("a@web1", ["user@rcpt.example"], "From: a@other.example\r\n\r\nbody\r\n")
        assert refused.value.smtp_code == 550


def test_mail_to_a_rewritten_address_goes_to_the_new_one(rewriter: PostroadContainer, internet: Internet) -> None:
    for recipient in ("root@web1", "root"):
        received = passed_on(rewriter, internet, "a@web1", "From: a@web1", recipient)
        assert received.recipient == "Ops.Team@sender.example"
        wait_until(lambda: "  delivered " in rewriter.shell(f"postroad trace {recipient}")[1])  # noqa: B023 - in this round
        assert f"→ {recipient}, redirected to Ops.Team@sender.example\n" in rewriter.command("trace", recipient)


def test_a_bounce_goes_to_the_new_address(rewriter: PostroadContainer, internet: Internet) -> None:
    with smtplib.SMTP(rewriter.host, rewriter.port, timeout=20) as smtp:
        smtp.sendmail("bounces@web1", ["unknown@rcpt.example"], "From: a@web1\r\n\r\nbody\r\n")
    bounce = internet.wait_for_message(lambda message: message.recipient == "bounces@sender.example")
    assert bounce.sender == ""


def test_what_waits_in_the_queue_is_rewritten_too(rewriter: PostroadContainer, internet: Internet) -> None:
    internet.mx.refuse()
    try:
        with smtplib.SMTP(rewriter.host, rewriter.port, timeout=20) as smtp:
            smtp.sendmail(
                "a@web1",
                ["late@rcpt.example"],
                "From: A <a@web1>\r\nTo: b@web1\r\nMessage-ID: <late@web1>\r\n\r\nbody\r\n",
            )
        rewriter.wait_for("<late@web1>", "deferred")
    finally:
        internet.mx.accept()
    arrived = internet.wait_for_message("<late@web1>", timeout=60)
    assert (arrived.sender, field(arrived, "to")) == ("a@sender.example", "b@sender.example")
    assert arrived.verdict("dkim") == "pass"


def test_without_dkim_addresses_are_rewritten_as_well(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(
        publish=False,
        dkim={"enabled": False},
        rewrite={"masquerade_domains": ["web1"], "masquerade_as": "sender.example"},
    )
    received = passed_on(relay, internet, "a@web1", "From: A <a@web1>")
    assert (received.sender, field(received, "from")) == ("a@sender.example", "A <a@sender.example>")


@pytest.fixture(scope="module")
def one_sender(image: str, internet: Internet) -> object:
    relays = Relays(image, internet)
    with relays.stack:
        yield relays(hostname="one.sender.example", domains=["sender.example", "rcpt.example"],
                     rewrite={"sender": "noreply@sender.example"})  # fmt: skip


@pytest.mark.parametrize(
    ("value", "left", "original"),
    [
        ("App <app@sender.example>", "App <noreply@sender.example>", "app@sender.example"),
        ('"Doe, J" <j@rcpt.example>', '"Doe, J" <noreply@sender.example>', "j@rcpt.example"),
        ("app@sender.example", "noreply@sender.example", "app@sender.example"),
        ("app@sender.example (App)", "noreply@sender.example (App)", "app@sender.example"),
        ('"A@B" <j@rcpt.example>', '"A@B" <noreply@sender.example>', "j@rcpt.example"),
        ("=?utf-8?q?J=C3=BCrgen?=\r\n <j@rcpt.example>", "=?utf-8?q?J=C3=BCrgen?= <noreply@sender.example>", "j@rcpt.example"),
    ],
)  # fmt: skip
def test_one_sender_for_all(
    value: str, left: str, original: str, one_sender: PostroadContainer, internet: Internet
) -> None:
    received = passed_on(
        one_sender, internet, original, f"From: {value}\r\nReply-To: help@rcpt.example\r\nTo: user@rcpt.example"
    )
    assert received.sender == "noreply@sender.example"
    assert field(received, "from") == left
    assert field(received, "x-original-from") == original
    assert field(received, "reply-to") == "help@rcpt.example"
    assert received.verdict("dkim") == "pass"
    assert "d=sender.example;" in field(received, "dkim-signature")


def test_one_sender_leaves_the_null_sender(one_sender: PostroadContainer, internet: Internet) -> None:
    assert passed_on(one_sender, internet, "", "From: app@sender.example").sender == ""


def test_one_sender_lets_nobody_else_send(one_sender: PostroadContainer) -> None:
    with smtplib.SMTP(one_sender.host, one_sender.port, timeout=20) as smtp:
        smtp.ehlo()
        assert smtp.mail("app@other.example")[0] == 550
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("app@sender.example", ["user@rcpt.example"], "From: app@other.example\r\n\r\nbody\r\n")


def test_a_bounce_made_here_goes_to_the_sender_that_the_app_gave(
    one_sender: PostroadContainer, internet: Internet
) -> None:
    with smtplib.SMTP(one_sender.host, one_sender.port, timeout=20) as smtp:
        smtp.sendmail("mine@sender.example", ["unknown@rcpt.example"], "From: app@sender.example\r\n\r\nbody\r\n")
    assert internet.wait_for_message(lambda message: message.recipient == "mine@sender.example").sender == ""


def test_the_ruleset_rewrites_as_the_signer_does(start_relay: Relays) -> None:
    """The signer's side of the table is in ``unit/test_signer_rewriting.py``."""
    relay = start_relay(rewrite=REWRITE)
    asked = "".join(f"canonify,Rewrite {address}\\n" for address in CASES)
    code, text = relay.shell(
        f"printf '{asked.replace('%', '%%')}/quit\\n' | {TEST_MODE} -C /run/postroad/current/sendmail.cf"
    )
    assert code == 0, text
    answers = [
        line.partition("returns:")[2]
        for line in text.splitlines()
        if line.startswith("Rewrite ") and "returns:" in line
    ]
    found = ["".join(answer.split()).replace("<@", "@").removesuffix(">").removesuffix(".") for answer in answers]
    assert dict(zip(CASES, found, strict=True)) == CASES
