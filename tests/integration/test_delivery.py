"""What an app hands over arrives as it was, signed, and its envelope with it."""

import re
import secrets
import smtplib

import dkim
import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, letter, send, wait_until
from tests.internet.internet import Internet
from tests.messages.compare import differences


def test_arrives_signed_with_spf_over_tls(relay: PostroadContainer, internet: Internet) -> None:
    received = internet.wait_for_message(send(relay, letter()))
    assert received.verdict("dkim") == "pass"
    assert received.verdict("spf") == "pass"
    assert received.tls_version == "TLSv1.3"
    assert (received.sender, received.recipient) == ("app@sender.example", "user@rcpt.example")


def test_the_signature_verifies_with_another_implementation(relay: PostroadContainer, internet: Internet) -> None:
    received = internet.wait_for_message(send(relay, letter()))
    records = {f"{name}.".encode(): value.encode() for name, value in relay.dkim_records().items()}
    raw = received.raw.replace(b"\n", b"\r\n")

    def lookup(name: bytes, timeout: float = 5) -> bytes:
        return records[name]

    assert dkim.verify(raw, dnsfunc=lookup)
    assert not dkim.verify(raw.replace(b"Hello.", b"Goodbye."), dnsfunc=lookup)
    assert not dkim.verify(b"Reply-To: thief@evil.example\r\n" + raw, dnsfunc=lookup), "Reply-To: is not oversigned"
    tags = dict(tag.strip().split("=", 1) for tag in str(received.message["DKIM-Signature"]).split(";"))
    assert (tags["c"], tags["a"], tags["d"], tags["s"]) == (
        "relaxed/relaxed",
        "rsa-sha256",
        "sender.example",
        "postroad",
    )
    signed = tags["h"].replace(" ", "").lower().split(":")
    assert signed.count("from") == 2
    assert signed.count("subject") == 2


STATES = "grep -hE '^State' /proc/[0-9]*/status"


def test_a_session_that_goes_on_keeps_no_ended_delivery(relay: PostroadContainer, internet: Internet) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        messages = [letter() for _ in range(5)]
        for message in messages:
            smtp.send_message(message)
        for message in messages:
            internet.wait_for_message(str(message["Message-ID"]))
        container = relay.get_wrapped_container()
        wait_until(lambda: b"zombie" not in container.exec_run(["bash", "-c", STATES]).output)
        assert smtp.noop()[0] == 250


BODIES = {
    "utf-8": (
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "Grüße, 안녕하세요 ✓\r\n",
    ),
    "dot-stuffing": ("", ".\r\n..\r\n.leading\r\nmiddle . dot\r\n...\r\n"),
    "long-line": ("", "x" * 5000 + "\r\n" + "y" * 998 + "\r\n"),
    "from-line": ("", "From the start\r\n>From quoted\r\n"),
    "trailing-blank-lines": ("", "text\r\n\r\n\r\n"),
    "trailing-space": ("", "text \t \r\n  indented\r\n"),
    "8-bit-unlabelled": ("", "caf\xe9\r\n"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_body_arrives_intact_and_signed(name: str, relay: PostroadContainer, internet: Internet) -> None:
    headers, body = BODIES[name]
    data = body.encode("latin-1" if name == "8-bit-unlabelled" else "utf-8")
    message_id = f"<{name}@body.sender.example>"
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.sendmail(
            "app@sender.example",
            ["user@rcpt.example"],
            f"From: app@sender.example\r\nMIME-Version: 1.0\r\nMessage-ID: {message_id}\r\n{headers}\r\n".encode()
            + data,
            ["BODY=8BITMIME"],
        )
    received = internet.wait_for_message(message_id)
    assert received.body == data.replace(b"\r\n", b"\n")
    assert received.verdict("dkim") == "pass"


def test_an_attachment_arrives_intact(relay: PostroadContainer, internet: Internet) -> None:
    message = letter(Subject="Rechnung № 7 ✓")
    data = bytes(range(256)) * 4096
    message.add_attachment(data, maintype="application", subtype="octet-stream", filename="ünïcode.bin")
    received = internet.wait_for_message(send(relay, message))
    (attachment,) = received.message.iter_attachments()
    assert attachment.get_content() == data
    assert attachment.get_filename() == "ünïcode.bin"
    assert received.message["Subject"] == "Rechnung № 7 ✓"
    assert received.verdict("dkim") == "pass"


HEADERS = {
    "no-date-and-no-message-id": "From: app@sender.example\r\nTo: user@rcpt.example\r\nX-Case: {case}\r\n",
    "no-to": "From: app@sender.example\r\nX-Case: {case}\r\n",
    "recipients-without-spaces": "From: app@sender.example\r\nTo: a@rcpt.example,b@rcpt.example\r\nX-Case: {case}\r\n",
    "folded-oddly": "From: app@sender.example\r\nTo: a@rcpt.example,\r\n\t  b@rcpt.example\r\nSubject:  a\r\n  b\r\nX-Case: {case}\r\n",
    "comment-and-quotes": 'From: "App, Inc." (shop) <app@sender.example>\r\nTo: "B, C" <user@rcpt.example>\r\nX-Case: {case}\r\n',
    "encoded-name": "From: =?utf-8?q?J=C3=BCrgen?= <app@sender.example>\r\nX-Case: {case}\r\n",
    "many-recipients": "From: app@sender.example\r\nTo: {many}\r\nX-Case: {case}\r\n",
    "upper-case-domain": "From: app@SENDER.example\r\nX-Case: {case}\r\n",
    "bcc": "From: app@sender.example\r\nTo: user@rcpt.example\r\nBcc: hidden@rcpt.example\r\nX-Case: {case}\r\n",
    "bare-name-in-cc": "From: app@sender.example\r\nTo: user@rcpt.example\r\nCc: root\r\nX-Case: {case}\r\n",
    "group-in-to": "From: app@sender.example\r\nTo: undisclosed-recipients:;\r\nX-Case: {case}\r\n",
    "gaps-in-a-list": "From: app@sender.example\r\nTo: a@rcpt.example,, b@rcpt.example,\r\nX-Case: {case}\r\n",
    "commas-within": 'From: app@sender.example\r\nTo: "A,B" <a@rcpt.example>,(x,"y) C <c@rcpt.example>\r\nX-Case: {case}\r\n',
    "names-that-want-quotes": "From: J. O'Neil [x] <app@sender.example>\r\nTo: A@B <a@rcpt.example>,J. D <b@rcpt.example>\r\nX-Case: {case}\r\n",
    "bare-reply-to": "From: app@sender.example\r\nReply-To: help,a@rcpt.example\r\nX-Case: {case}\r\n",
    "names-with-signs": 'From: app@sender.example\r\nTo: a\\b <a@rcpt.example>, c;d <c@rcpt.example>, "e \\"f\\" g@h" <e@rcpt.example>, "i" "j, k" l <i@rcpt.example>\r\nX-Case: {case}\r\n',
    "group-of-names": "From: app@sender.example\r\nTo: The team: A <a@rcpt.example>, B <b@rcpt.example>;\r\nCc: x: c@rcpt.example;\r\nX-Case: {case}\r\n",
    "comments": "From: app@sender.example (a, b)\r\nTo: c@rcpt.example (x (y, z) w), (d@e) F <d@rcpt.example>\r\nX-Case: {case}\r\n",
    "odd-addresses": "From: app@sender.example\r\nTo: a@[192.0.2.1],x!y,a%b@rcpt.example,<>, 'a@rcpt.example',X<a@rcpt.example>,<\"a b\"@rcpt.example>\r\nX-Case: {case}\r\n",
    "spaces-inside-addresses": 'From: app@sender.example\r\nTo: X < a @ rcpt.example >, b @ rcpt . example, y@z < c@rcpt.example>,"d e" @ rcpt.example (f)\r\nX-Case: {case}\r\n',
    "8-bit-names": "From: 김 <app@sender.example>\r\nTo: 한국 <a@rcpt.example>,日本@x <b@rcpt.example>\r\nX-Case: {case}\r\n",
    "a-name-as-long-as-can-be": "From: app@sender.example\r\nTo: "
    + "n" * 232
    + " <a@rcpt.example>\r\nX-Case: {case}\r\n",
    "a-long-line": "From: app@sender.example\r\nReferences: " + "<x@y.example> " * 130 + "\r\nX-Case: {case}\r\n",
    "empty-header": "From: app@sender.example\r\nTo: user@rcpt.example\r\nSubject:\r\nReply-To:\r\nX-Case: {case}\r\n",
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_sendmail_rewrites_do_not_break_the_signature(
    case: str, relay: PostroadContainer, internet: Internet
) -> None:
    many = ",\r\n ".join(f"Person {number} <p{number}@rcpt.example>" for number in range(100))
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        text = HEADERS[case].format(case=case, many=many) + "\r\nbody\r\n"
        smtp.sendmail("app@sender.example", ["user@rcpt.example"], text.encode())
    received = internet.wait_for_message(lambda message: message.message["X-Case"] == case)
    assert received.verdict("dkim") == "pass"


@pytest.mark.parametrize(
    "header",
    [
        "To: " + "n" * 250 + " <a@rcpt.example>",
        "To: " + "l" * 245 + "@rcpt.example",
        "To: a@rcpt.example; b@rcpt.example",
        'To: "open <a@rcpt.example>',
        "To: open (<a@rcpt.example>",
        "Cc: A <a@rcpt.example",
        "Cc: <a@rcpt.example> <b@rcpt.example>",
        "Cc: every body",
        "Reply-To: a b @ rcpt.example",
        "Reply-To: <@x.example:a@rcpt.example>",
        "Errors-To: a@LocalHost",
        "Return-Receipt-To: a @ b",
        "Disposition-Notification-To: a@b ;",
        "Return-Path: <$j@x>",
        "Full-Name: A",
        "Content-Length: 7",
        "Text: x",
        "Message: x",
        "Resent-To: a@b ;",
        "Resent-Message-ID: <x@y>",
        "To: 김",
    ],
)
def test_a_field_that_sendmail_would_rewrite_or_drop_arrives_as_it_is(
    header: str, relay: PostroadContainer, internet: Internet
) -> None:
    marker = secrets.token_hex(8)
    sent = f"From: app@sender.example\r\n{header}\r\nX-Marker: {marker}\r\nMIME-Version: 1.0\r\n\r\nbody\r\n".encode()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.sendmail("app@sender.example", ["user@rcpt.example"], sent)
    received = internet.wait_for_message(lambda message: message.message["X-Marker"] == marker)
    (record,) = relay.dkim_records().values()
    assert differences(sent, received, HOSTNAME, record.encode()) == []


@pytest.mark.parametrize(
    "header",
    [
        "Sender: a@rcpt.example.",
        "Sender: root",
        "Sender: a%b",
        'Sender: a@b "c" <a@rcpt.example>',
        "Resent-From: a@b@c",
        "Subject: " + "x" * 3000,
        "References: " + "<x@y.example> " * 300,
        "Subject: a\r\nSubject: b",
        "Date: a\r\nDate: b",
        "DKIM-Signature: x",
    ],
)
def test_what_could_not_be_delivered_as_signed_is_refused_with_the_reason(
    header: str, relay: PostroadContainer
) -> None:
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail(
                "app@sender.example",
                ["user@rcpt.example"],
                f"From: app@sender.example\r\n{header}\r\n\r\nbody\r\n".encode(),
            )
        assert refused.value.smtp_code == 550
        assert f"{header.partition(':')[0]}: " in str(refused.value.smtp_error)
        smtp.send_message(letter())


def test_the_null_sender_is_accepted(relay: PostroadContainer, internet: Internet) -> None:
    received = internet.wait_for_message(send(relay, letter(), from_addr=""))
    assert received.sender == ""
    assert received.verdict("dkim") == "pass"


def test_the_envelope_is_kept_for_each_recipient(relay: PostroadContainer, internet: Internet) -> None:
    recipients = ["Mixed.Case+tag@rcpt.example", "second@rcpt.example", "third@sender.example"]
    message_id = send(relay, letter(), from_addr="bounces+123@sender.example", to_addrs=recipients)
    for recipient in recipients:
        received = internet.wait_for_message(
            lambda message: (message.message_id, message.recipient) == (message_id, recipient)  # noqa: B023 - called here
        )
        assert received.sender == "bounces+123@sender.example"
    story = relay.follow(message_id)
    assert sorted(event["recipient"] for event in story if event["event"] == "delivered") == sorted(recipients)


def test_without_a_way_to_ipv6_no_such_address_is_asked_for(relay: PostroadContainer, internet: Internet) -> None:
    internet.add_zone("fresh.example")
    internet.publish_host("mx.fresh.example", internet.mx.address)
    internet.publish("fresh.example", "MX", "10 mx.fresh.example")
    internet.dns.run("rndc", "querylog", "on")
    relay.follow(send(relay, letter(To="user@fresh.example")))  # refused: the MX does not know the domain
    internet.dns.run("rndc", "querylog", "off")
    asked = set(re.findall(r"query: (\S+) IN (\S+)", internet.dns.logs()))
    assert {("fresh.example", "MX"), ("mx.fresh.example", "A")} <= asked
    assert ("mx.fresh.example", "AAAA") not in asked


def test_a_refused_recipient_comes_back_to_the_sender(relay: PostroadContainer, internet: Internet) -> None:
    message_id = send(relay, letter(To="unknown.person@rcpt.example"))
    (bounced,) = [event for event in relay.follow(message_id) if event["event"] == "bounced"]
    assert (bounced["dsn"], bounced["recipient"]) == ("5.1.1", "unknown.person@rcpt.example")
    assert "No such user here" in bounced["reply"]
    bounce = internet.wait_for_message(lambda message: message.sender == "" and message_id in str(message.raw))
    assert bounce.recipient == "app@sender.example"
    assert bounce.verdict("spf") == "pass"
    assert b"<MAILER-DAEMON@mail.sender.example>" in bounce.raw
    assert b"no mailboxes" not in bounce.raw, "sendmail looks its own address up, too"
    head = bounce.raw.partition(b"\n\n")[0]
    assert [len(re.findall(rb"^%s:" % name, head, re.MULTILINE)) for name in (b"To", b"From", b"Date")] == [1, 1, 1]
