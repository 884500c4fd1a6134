"""Mail leaves with a return address; late bounces, complaints and reports come back to it, and nothing else gets in."""

import base64
import gzip
import http.client
import json
import secrets
import shlex
import smtplib
import ssl
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import HOSTNAME, Relays, letter, send, signal_daemon, wait_until
from tests.internet.host import Hooks
from tests.internet.internet import Internet
from tests.unit.test_returns_reading import ARF, report
from tests.unit.test_returns_reports import XML

DOMAIN, PORT, LINKS = "bounces.sender.example", 25, 8026
PUBLIC = "192.0.2.25"
"""The address that reports have mail leave from."""


@pytest.fixture(scope="module")
def hooks(internet: Internet) -> Hooks:
    return internet.add_hooks("hooks.returns.example")


@pytest.fixture(scope="module")
def returning(
    relays: Relays, internet: Internet, hooks: Hooks, tmp_path_factory: pytest.TempPathFactory
) -> PostroadContainer:
    """A relay that is the MX of its domain of return addresses."""
    folder = tmp_path_factory.mktemp("returns")
    folder.chmod(0o755)
    (folder / "ca.pem").write_bytes(internet.ca_certificate())
    (folder / "secret").write_text("bmV3" * 10 + "\n")
    hook = {
        "name": "returned",
        "url": "https://hooks.returns.example/returned",
        "secret_file": "/secrets/secret",
        "ca_file": "/secrets/ca.pem",
        "allow_private": True,
        "types": ["bounced", "complained", "unsubscribed", "reported"],
    }
    link = {"domains": ["sender.example"], "url": f"https://{DOMAIN}/u", "listen": f"0.0.0.0:{LINKS}"}
    relay = relays(
        mounts={str(folder): "/secrets"},
        listeners={"smtp": 2525},
        returns={"domain": DOMAIN, "listen": PORT, "unsubscribe": link, "forward_to": "replies@rcpt.example"},
        delivery={"queue": {"retry": "1s"}},
        events={"webhooks": [hook]},
        public_ip=[PUBLIC],
    )
    internet.publish(DOMAIN, "TXT", f"v=spf1 ip4:{relay.address} -all")
    internet.publish(DOMAIN, "MX", f"10 {HOSTNAME}.")
    return relay


def posted(hooks: Hooks, message_id: str) -> list[str]:
    """The kinds of events of a message that the webhook got."""
    found = [json.loads(each["body"])["data"] for each in hooks.requests("/returned")]
    return [each["event"] for each in found if each.get("message_id") == message_id]


def findings(relay: PostroadContainer, check: str) -> list[tuple[str, str]]:
    _, text = relay.shell(f"exec postroad doctor --json --only {check}")
    return [(each["level"], each["message"]) for each in json.loads(text)["checks"]]


def delivered(relay: PostroadContainer, internet: Internet, recipient: str = "") -> ReceivedMessage:
    """Send a message; return it as the MX took it."""
    recipient = recipient or f"u{secrets.token_hex(4)}@rcpt.example"
    message_id = send(relay, letter(To=recipient))
    relay.wait_for(message_id, "delivered")
    return internet.wait_for_message(message_id)


def bring(relay: PostroadContainer, to: str, content: str | bytes, sender: str = "") -> None:
    """Bring a message to the listener, as a receiver's server does."""
    with smtplib.SMTP(relay.address, PORT, timeout=20) as client:
        client.sendmail(sender, [to], content if isinstance(content, bytes) else content.encode())


def dsn(recipient: str, reply: str = "550 5.1.1 User unknown", status: str = "5.1.1") -> bytes:
    fields = (
        "Reporting-MTA: dns; mx.rcpt.example\n\n"
        f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\n"
        f"Remote-MTA: dns; store.rcpt.example\nDiagnostic-Code: smtp; {reply}\n"
    )
    return report("delivery-status", "delivery-status", fields)


def refusal(relay: PostroadContainer, recipient: str) -> str:
    """What RCPT is answered; empty where it is taken."""
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as client:
        client.ehlo()
        client.mail("app@sender.example")
        code, text = client.rcpt(recipient)
        return "" if code == 250 else text.decode()


def stories(relay: PostroadContainer, what: str) -> list[dict[str, Any]]:
    _, text = relay.shell(f"exec postroad trace --json {shlex.quote(what)}")  # exit code 1: it is not there yet
    found: list[dict[str, Any]] = json.loads(text)["messages"]
    return found


def kinds(relay: PostroadContainer, what: str) -> list[str]:
    return [event["event"] for story in stories(relay, what) for event in story["events"]]


def test_mail_leaves_with_a_return_address_and_a_late_bounce_is_part_of_its_story(
    returning: PostroadContainer, internet: Internet, hooks: Hooks
) -> None:
    received = delivered(returning, internet)
    local, _, domain = received.sender.partition("@")
    assert domain == DOMAIN
    assert local.startswith("b")
    assert received.verdict("spf") == received.verdict("dkim") == "pass"
    assert "app@sender.example" in str(received.message["From"])
    bring(returning, received.sender.swapcase(), dsn(received.recipient))
    wait_until(lambda: "bounced" in kinds(returning, received.message_id))
    (story,) = stories(returning, received.message_id)
    assert [event["event"] for event in story["events"]][-2:] == ["delivered", "bounced"]
    assert (story["status"], story["class"], story["hard"]) == ("bounced", "userunknown", True)
    last = story["events"][-1]
    assert (last["recipient"], last["relay_host"], last["late"]) == (received.recipient, "store.rcpt.example", True)
    assert refusal(returning, received.recipient).startswith("5.1.1")
    assert "userunknown" in refusal(returning, received.recipient)
    wait_until(lambda: posted(hooks, received.message_id) == ["bounced"], timeout=40)
    groups = json.loads(returning.command("stats", "--json"))["groups"]
    assert next(each for each in groups if each["sender_domain"] == "sender.example")["late"] >= 1


def test_a_complaint_suppresses_and_is_counted(returning: PostroadContainer, internet: Internet, hooks: Hooks) -> None:
    received = delivered(returning, internet)
    fields = ARF.replace("bxyz@bounces.x.example", received.sender).replace("u@y.example", received.recipient)
    bring(returning, f"abuse@{DOMAIN}", report("feedback-report", "feedback-report", fields, original="Subject: x\n\n"))
    wait_until(lambda: "complained" in kinds(returning, received.message_id))
    wait_until(lambda: "complaint" in refusal(returning, received.recipient))
    wait_until(lambda: posted(hooks, received.message_id) == ["complained"], timeout=40)
    groups = json.loads(returning.command("stats", "--json"))["groups"]
    assert next(each for each in groups if each["sender_domain"] == "sender.example")["complained"] >= 1
    assert any("called mail from here spam" in text for _, text in findings(returning, "reports"))


def test_a_redacted_complaint_is_found_by_the_message_id(returning: PostroadContainer, internet: Internet) -> None:
    received = delivered(returning, internet)
    fields = "Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n"
    original = f"Message-ID: {received.message_id}\nSubject: x\n\n"
    bring(returning, f"abuse@{DOMAIN}", report("feedback-report", "feedback-report", fields, original=original))
    wait_until(lambda: "complained" in kinds(returning, received.message_id))
    wait_until(lambda: "complaint" in refusal(returning, received.recipient))


def test_a_report_is_read_and_the_doctor_says_what_it_comes_to(returning: PostroadContainer, hooks: Hooks) -> None:
    ours = XML.replace(b"X.example", b"sender.example").replace(b"x.example", b"sender.example")
    packed = base64.encodebytes(gzip.compress(ours)).decode()
    head = "Subject: Report domain: x.example\nMIME-Version: 1.0\nContent-Type: application/gzip\n"
    bring(returning, f"dmarc@{DOMAIN}", f"{head}Content-Transfer-Encoding: base64\n\n{packed}")
    seen = wait_until(lambda: [each for each in returning.events() if each["event"] == "reported"])
    assert [(each["source"], each["count"], each["dkim"]) for each in seen] == [
        ("192.0.2.25", 970, True),
        ("2001:db8::7", 30, False),
    ]
    posts = wait_until(
        lambda: [each for each in hooks.requests("/returned") if b"2001:db8::7" in each["body"].encode()]
    )
    assert json.loads(posts[0]["body"])["data"]["event"] == "reported"
    said = wait_until(lambda: [text for _, text in findings(returning, "reports") if "2001:db8::7" in text])
    assert "no address of ours, sends as sender.example" in said[0]
    assert any("messages of sender.example from here" in text for _, text in findings(returning, "reports"))


def test_the_doctor_sees_that_the_mx_leads_here(returning: PostroadContainer) -> None:
    assert findings(returning, "returns") == [("ok", f"what comes back to {DOMAIN} is taken, and nothing else")]


def test_a_stranger_s_bounce_suppresses_nobody_else(returning: PostroadContainer, internet: Internet) -> None:
    """Whoever got a message knows its return address."""
    received = delivered(returning, internet)
    bring(returning, received.sender, dsn(received.recipient))
    bring(returning, received.sender, dsn("victim@rcpt.example"))
    bring(
        returning, received.sender, "Subject: Out of office\nAuto-Submitted: auto-replied\n\nAway.\n", "u@rcpt.example"
    )
    wait_until(lambda: kinds(returning, received.message_id).count("returned") == 2)
    (story,) = stories(returning, received.message_id)
    # another name in the bounce of a message for one recipient is where that one's mail is forwarded to
    assert [event.get("what") for event in story["events"]][-2:] == ["repeated", "automatic"]
    assert refusal(returning, "victim@rcpt.example") == ""


def test_a_stranger_s_bounce_of_a_message_for_several_is_nobody_s(
    returning: PostroadContainer, internet: Internet
) -> None:
    recipients = [f"u{secrets.token_hex(4)}@rcpt.example" for _ in range(2)]
    message_id = send(returning, letter(To=", ".join(recipients)))
    bring(returning, internet.wait_for_message(message_id).sender, dsn("victim@rcpt.example"))
    wait_until(lambda: kinds(returning, message_id).count("returned") == 2, timeout=30)  # in the story of each
    found = stories(returning, message_id)
    assert {story["recipient"]: story["status"] for story in found} == dict.fromkeys(recipients, "delivered")
    assert {story["events"][-1]["what"] for story in found} == {"unknown"}
    assert stories(returning, "victim@rcpt.example") == []
    assert [refusal(returning, each) for each in (*recipients, "victim@rcpt.example")] == ["", "", ""]


def test_what_a_person_writes_is_forwarded_signed_and_as_it_came(
    returning: PostroadContainer, internet: Internet
) -> None:
    received = delivered(returning, internet)
    subject = f"Re: {secrets.token_hex(8)}"
    head = f"From: Person <person@elsewhere.example>\r\nTo: app@sender.example\r\nSubject: {subject}\r\n"
    reply = f"{head}\r\nIs it blue?  \r\n.\r\n\uc548\ub155\r\n\r\n".encode()
    bring(returning, received.sender, reply, "person@elsewhere.example")
    forwarded = internet.wait_for_message(lambda message: message.message["Subject"] == subject)
    assert (forwarded.sender, forwarded.recipient) == ("", "replies@rcpt.example")
    assert forwarded.verdict("dkim") == "pass"
    assert "<postmaster@sender.example>" in str(forwarded.message["From"]), "aligned, for DMARC"
    assert forwarded.message["Reply-To"] == "person@elsewhere.example"
    assert forwarded.message["Auto-Submitted"] == "auto-generated"
    assert reply.replace(b"\r\n", b"\n") in forwarded.raw
    raw = forwarded.raw.replace(b"\n", b"\r\n")
    wait_until(lambda: "returned" in kinds(returning, received.message_id))
    assert stories(returning, received.message_id)[0]["events"][-1]["what"] == "forwarded"
    # what another such relay forwards comes back without a sender, and goes no further
    bring(returning, received.sender, raw)
    bring(returning, f"abuse@{DOMAIN}", raw, "person@elsewhere.example")
    wait_until(lambda: kinds(returning, received.message_id).count("returned") == 2)
    abuse = reply.replace(b"Re: ", b"Abuse: ")
    bring(returning, f"abuse@{DOMAIN}", abuse, "person@elsewhere.example")
    internet.wait_for_message(lambda message: abuse.replace(b"\r\n", b"\n") in message.raw)
    again = [message for message in internet.messages() if subject in str(message.message["Subject"])]
    assert [message.recipient for message in again if message.sender == ""] == ["replies@rcpt.example"]


def test_nothing_is_forwarded_to_an_address_that_is_suppressed(
    returning: PostroadContainer, internet: Internet
) -> None:
    received = delivered(returning, internet)
    returning.command("suppress", "add", "replies@rcpt.example")
    try:
        wait_until(lambda: "suppress" in refusal(returning, "replies@rcpt.example"))
        reply = "From: person@elsewhere.example\r\nSubject: Re: once more\r\n\r\nIs it red?\r\n"
        bring(returning, received.sender, reply, "person@elsewhere.example")
        wait_until(lambda: "is set aside, and not forwarded: 550 5.1.1" in returning.log())
    finally:
        returning.command("suppress", "remove", "replies@rcpt.example")
    assert "Is it red?" in returning.shell("cat /var/lib/postroad/returns/unread/*")[1]


def test_a_bounce_that_is_made_here_goes_to_the_app_s_own_sender(
    returning: PostroadContainer, internet: Internet
) -> None:
    message_id = send(returning, letter(To="unknown-1@rcpt.example"))
    event = returning.wait_for(message_id, "bounced")
    assert event["sender"] == "app@sender.example"
    assert "late" not in event
    bounce = internet.wait_for_message(
        lambda message: message.sender == "" and message_id in message.raw.decode("utf-8", "replace")
    )
    assert bounce.recipient == "app@sender.example"


def test_who_follows_the_link_gets_no_more_mail(returning: PostroadContainer, internet: Internet) -> None:
    received = delivered(returning, internet)
    assert received.verdict("dkim") == "pass"
    assert received.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    signed = " ".join(str(received.message["DKIM-Signature"]).split())
    assert "list-unsubscribe" in signed
    url = str(received.message["List-Unsubscribe"]).replace(" ", "").strip("<>")
    path = url.removeprefix("https://bounces.sender.example")
    client = http.client.HTTPConnection(returning.address, LINKS, timeout=20)
    client.request("GET", path)
    assert client.getresponse().status == 200
    client.close()
    assert refusal(returning, received.recipient) == "", "a look at the link changes nothing"
    client = http.client.HTTPConnection(returning.address, LINKS, timeout=20)
    client.request("POST", path, "List-Unsubscribe=One-Click")
    assert client.getresponse().status == 200
    client.close()
    wait_until(lambda: "unsubscribed" in refusal(returning, received.recipient))
    entries = json.loads(returning.command("suppress", "list", "--json"))["suppressions"]
    (entry,) = [each for each in entries if each["recipient"] == received.recipient]
    assert (entry["reason"], entry["sender_domain"]) == ("unsubscribed", "sender.example")


def test_dns_has_the_records(returning: PostroadContainer) -> None:
    text = returning.shell("exec postroad dns --json")[1]
    assert DOMAIN in text
    assert f"dmarc@{DOMAIN}" in text, text


def test_a_domain_that_asks_for_it_gets_a_tls_report(returning: PostroadContainer, internet: Internet) -> None:
    internet.publish("_smtp._tls.rcpt.example", "TXT", "v=TLSRPTv1; rua=mailto:tls@rcpt.example")
    delivered(returning, internet)
    today = returning.shell("date -u +%F")[1].strip()
    wait_until(lambda: "sessions" in returning.shell(f"exec postroad tls-report --day {today}")[1])
    code, said = returning.shell(f"exec postroad tls-report --day {today} --send")
    assert code == 0, said
    assert "rcpt.example: " in said
    received = internet.wait_for_message(lambda message: message.recipient == "tls@rcpt.example")
    assert received.verdict("dkim") == "pass"
    assert received.message["TLS-Report-Domain"] == "rcpt.example"
    assert received.message.get_content_type() == "multipart/report"


class TestTheDoor:
    """What it refuses, from anybody, at RCPT."""

    @pytest.mark.parametrize(
        "to",
        [
            "someone@elsewhere.example",
            "app@sender.example",
            f"info@{DOMAIN}",
            f"b{'a' * 43}@{DOMAIN}",
            "user@rcpt.example",
        ],
    )
    def test_any_other_address(self, returning: PostroadContainer, to: str) -> None:
        with smtplib.SMTP(returning.address, PORT, timeout=20) as client:
            client.ehlo()
            client.mail("a@b.example")
            assert client.rcpt(to)[0] == 550

    def test_starttls_is_offered(self, returning: PostroadContainer) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP(returning.address, PORT, timeout=20) as client:
            assert client.starttls(context=context)[0] == 220
            assert client.ehlo()[0] == 250

    def test_mail_goes_out_while_it_is_dead(self, returning: PostroadContainer, internet: Internet) -> None:
        signal_daemon(returning, "returns", "KILL")
        received = delivered(returning, internet)
        assert received.sender.endswith(f"@{DOMAIN}")

        def back() -> bool:
            try:
                with smtplib.SMTP(returning.address, PORT, timeout=5) as client:
                    return client.noop()[0] == 250
            except OSError:
                return False

        wait_until(back, timeout=40)
        bring(returning, received.sender, dsn(received.recipient))
        wait_until(lambda: "bounced" in kinds(returning, received.message_id))
