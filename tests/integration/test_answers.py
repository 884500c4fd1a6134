"""The words of answers: who is meant, what is wrong, what to change. docs/trouble.md lists them all."""

import json
import re
import smtplib
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet

SENDER = "app@sender.example"


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    return relays(limits={"recipients_per_message": 2, "message_size": "20k"})


def answer(relay: PostroadContainer, *commands: str) -> tuple[int, str]:
    """The answer to the last of these commands."""
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        for command in commands:
            code, text = smtp.docmd(command)
    return code, text.decode()


def holds(relay: PostroadContainer, command: str, text: str) -> bool:
    return text in relay.shell(command)[1]


def test_the_greeting_says_once_what_it_speaks(relay: PostroadContainer) -> None:
    with smtplib.SMTP(timeout=20) as smtp:
        code, text = smtp.connect(relay.host, relay.port)
        assert code == 220
        assert text.count(b"SMTP") == 1
        assert text == b"mail.sender.example ESMTP"


@pytest.mark.parametrize("hide_client", [False, True])
def test_the_date_in_received_is_in_the_form_of_rfc_5322(hide_client: bool, relays: Relays, internet: Internet) -> None:
    message_id = send(relays(rewrite={"hide_client": hide_client}), letter())
    received = internet.wait_for_message(lambda found: found.message["Message-ID"] == message_id)
    ours = str((received.message.get_all("Received") or [""])[-1])
    assert "by mail.sender.example" in ours
    date = ours.rpartition(";")[2].strip()
    assert re.fullmatch(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000", date), ours
    assert abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) < 600


@pytest.mark.parametrize("sender", ["root@localhost", "root@mail.sender.example"])
def test_a_sender_of_this_host_is_told_that_it_is_the_sender(sender: str, relay: PostroadContainer) -> None:
    code, text = answer(relay, f"MAIL FROM:<{sender}>")
    # sendmail takes localhost for its own name
    assert code == 550
    assert f"<{sender}>... sender domain mail.sender.example is not one of domains in the configuration" in text
    code, text = answer(relay, f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{sender}>")
    assert (code, "no mailboxes here: " in text) == (550, True), text


def test_a_sender_of_this_host_can_be_rewritten(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(rewrite={"addresses": {"root@localhost": "ops@sender.example"}, "hide_client": True})
    message = letter()
    del message["From"]
    message["From"] = "root@localhost"
    message_id = send(relay, message, from_addr="root@localhost")
    received = internet.wait_for_message(lambda found: found.message["Message-ID"] == message_id)
    assert received.sender == "ops@sender.example"
    assert received.verdict("dkim") == "pass"
    # and the client's address stays at home
    ours = str((received.message.get_all("Received") or [""])[-1])
    assert "by mail.sender.example" in ours
    assert "from" not in ours.partition("by ")[0]
    assert "[" not in ours


def test_an_address_that_is_not_ascii_is_whole_in_the_event_and_not_garbled_in_the_answer(
    relay: PostroadContainer,
) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        smtp.command_encoding = "utf-8"
        sender = smtp.docmd("MAIL", "FROM:<jürgen@sender.example>")
        smtp.mail("app@sender.example")
        recipient = smtp.docmd("RCPT", "TO:<jürgen@rcpt.example>")
    for said, who in ((sender, "sender"), (recipient, "recipient")):
        assert said == (501, f"5.6.7 the {who} address must be ASCII: SMTPUTF8 is not supported".encode())

    def refused() -> set[tuple[str | None, str | None, str]]:
        last = [each for each in relay.events() if each["event"] == "rejected" and each["dsn"] == "5.6.7"]
        return {(each["sender"], each.get("recipient"), each["reply"]) for each in last}

    wait_until(lambda: len(refused()) == 2)
    assert refused() == {
        ("jürgen@sender.example", None, f"501 {sender[1].decode()}"),
        ("app@sender.example", "jürgen@rcpt.example", f"501 {recipient[1].decode()}"),
    }


def test_a_header_s_refusal_names_field_and_domain(relay: PostroadContainer) -> None:
    message = EmailMessage()
    message["From"] = "boss@other.example"
    message["To"] = "user@rcpt.example"
    message.set_content("hi")
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp, pytest.raises(smtplib.SMTPDataError) as refused:
        smtp.send_message(message, SENDER, ["user@rcpt.example"])
    assert b"From: domain other.example is not one of domains" in refused.value.smtp_error


def test_sendmail_s_own_answers_are_those_of_the_page(relay: PostroadContainer) -> None:
    code, text = answer(relay, f"MAIL FROM:<{SENDER}> SIZE=30000")
    assert (code, "Message size exceeds fixed maximum message size (20000)" in text) == (552, True), text
    many = [f"RCPT TO:<user{number}@rcpt.example>" for number in range(3)]
    code, text = answer(relay, f"MAIL FROM:<{SENDER}>", *many)
    assert (code, "Too many recipients" in text) == (452, True), text
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(SENDER)
        smtp.rcpt("user@rcpt.example")
        code, said = smtp.data(f"From: {SENDER}\r\n\r\n" + "line of text\r\n" * 3000)
    assert (code, b"Message exceeds maximum fixed size (20000)" in said) == (552, True), said
    code, text = answer(relay, f"MAIL FROM:<{SENDER}>", "RCPT TO:<user@other@rcpt.example>")
    assert (code, "Invalid route address" in text) == (553, True), text
    code, text = answer(relay, "MAIL FROM:<app@other@sender.example>")
    assert (code, "Invalid route address" in text) == (553, True), text


@pytest.mark.parametrize(
    ("domain", "records", "told"),
    [
        (
            "self.example",
            [("self.example", "MX", "10 mail.sender.example.")],
            "MX list for self.example points back to this server: its DNS is wrong",
        ),
        (
            "loop.example",
            [("loop.example", "MX", "10 me.loop.example."), ("me.loop.example", "A", "127.0.0.1")],
            "mail loops back: me.loop.example is this server's own address, or 127.0.0.1: its DNS is wrong",
        ),
        (
            "none.example",
            [("none.example", "MX", "10 mx.none.example."), ("mx.none.example", "TXT", '"no address"')],
            "mx.none.example, an MX host of none.example, has no address in the DNS: its DNS is wrong",
        ),
    ],
)
def test_an_mx_that_leads_nowhere_is_told_as_such(
    domain: str, records: list[tuple[str, str, str]], told: str, relay: PostroadContainer, internet: Internet
) -> None:
    internet.add_zone(domain)
    for record in records:
        internet.publish(*record)
    code, text = relay.shell(f"postroad send user@{domain}")
    assert code == 1, text
    assert told in text


def test_mail_for_an_mx_that_has_ipv6_only_waits(relay: PostroadContainer, internet: Internet) -> None:
    """The pretend internet has no IPv6: there is no way to the host, which may be there again tomorrow."""
    internet.add_zone("six.example")
    internet.publish("six.example", "MX", "10 mx.six.example.")
    internet.publish("mx.six.example", "AAAA", "2001:db8::25")
    code, text = relay.shell("postroad send user@six.example --timeout 20")
    assert code == 3, text
    assert "mx.six.example does not answer, or names IPv6 addresses only, which this server can't reach" in text
    waiting = json.loads(relay.shell("postroad queue list --json --domain six.example")[1])["messages"]
    assert len(waiting) == 1
    assert relay.shell("postroad queue delete --domain six.example --yes")[0] == 0


def test_trace_shows_the_sender_and_each_recipient_of_a_refused_message(relay: PostroadContainer) -> None:
    relay.shell("postroad suppress add gone@rcpt.example")
    wait_until(lambda: answer(relay, f"MAIL FROM:<{SENDER}>", "RCPT TO:<gone@rcpt.example>")[0] == 550, timeout=20)
    first, second = "RCPT TO:<gone@rcpt.example>", "RCPT TO:<refused@mail.sender.example>"
    code, _ = answer(relay, f"MAIL FROM:<{SENDER}>", first, second)
    assert code == 550
    for recipient in ("gone@rcpt.example", "refused@mail.sender.example"):
        traced = f"postroad trace {recipient}"
        wait_until(partial(holds, relay, traced, "rejected"), timeout=20)
        text = relay.shell(traced)[1]
        assert f"{SENDER} → {recipient}" in text
        assert "? →" not in text
        assert "<> →" not in text


def test_delete_counts_what_it_did(relay: PostroadContainer, internet: Internet) -> None:
    send(relay, letter(), to_addrs=["tempfail@rcpt.example"])
    waiting = "postroad queue list --json --domain rcpt.example"
    wait_until(lambda: len(json.loads(relay.shell(waiting)[1])["messages"]) == 1, timeout=20)
    code, text = relay.shell("postroad queue delete --domain rcpt.example --yes")
    while code == 3:  # it is being tried at this moment
        assert "0 deleted, 1 kept (in delivery)" in text
        code, text = relay.shell("postroad queue delete --domain rcpt.example --yes")
    assert "1 deleted, 0 kept (in delivery)" in text
