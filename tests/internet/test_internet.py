"""The pretend internet judges for real: what it says of the relay's mail can be believed."""

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import dkim
import docker
import pytest

from tests.internet.host import Host
from tests.internet.internet import LABEL, Internet, build_image

SELECTOR = "s1"
KEY_NAME = f"{SELECTOR}._domainkey.sender.example"
SEND = """
import base64, json, smtplib, sys
mx, sender, recipient, message, tls = json.loads(sys.argv[1])
with smtplib.SMTP(mx, local_hostname="mail.sender.example", timeout=20) as client:
    if tls:
        client.starttls()
    client.sendmail(sender, recipient, base64.b64decode(message), ["BODY=8BITMIME"])
"""


@dataclass(frozen=True)
class Sender:
    """A stand-in for the relay: signs on this side, sends from a container."""

    internet: Internet
    app: Host
    private_key: bytes

    def signed(self, message_id: str, body: bytes = b"Hello\r\n") -> bytes:
        head = f"From: app@sender.example\r\nSubject: hello\r\nMessage-ID: <{message_id}>\r\n\r\n"
        message = head.encode() + body
        signature: bytes = dkim.sign(message, SELECTOR.encode(), b"sender.example", self.private_key)
        return signature + message

    def send(
        self,
        message: bytes,
        *,
        mx: Host | None = None,
        sender: str = "app@sender.example",
        recipient: str = "someone@rcpt.example",
        tls: bool = True,
    ) -> None:
        address = (mx or self.internet.mx).address
        request = [address, sender, recipient, base64.b64encode(message).decode(), tls]
        self.app.run("python3", "-c", SEND, json.dumps(request))


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    build_image()
    with Internet() as internet:
        yield internet


@pytest.fixture(scope="module")
def sender(internet: Internet) -> Sender:
    app = internet.add_app()
    private_key = app.run("openssl", "genrsa", "-traditional", "-out", "/dev/stdout", "2048")
    app.run("bash", "-c", 'echo "$1" >/key', "-", private_key.decode())
    public_key = base64.b64encode(app.run("openssl", "rsa", "-in", "/key", "-pubout", "-outform", "DER")).decode()
    internet.publish_sender("mail.sender.example", app.address, dkim={KEY_NAME: f"v=DKIM1; k=rsa; p={public_key}"})
    return Sender(internet, app, private_key)


def test_a_signed_message_from_the_published_host_passes(internet: Internet, sender: Sender) -> None:
    sender.send(sender.signed("good@sender.example"))
    message = internet.wait_for_message("<good@sender.example>")
    assert (message.verdict("dkim"), message.verdict("spf")) == ("pass", "pass")
    assert message.tls_version == "TLSv1.3"
    assert (message.mx, message.sender, message.recipient) == (
        "mx.rcpt.example",
        "app@sender.example",
        "someone@rcpt.example",
    )
    assert "(mail.sender.example [" in message.message["Received"], "the reverse name"


def test_an_altered_body_fails_dkim(internet: Internet, sender: Sender) -> None:
    sender.send(sender.signed("altered@sender.example").replace(b"Hello", b"Hallo"))
    assert internet.wait_for_message("<altered@sender.example>").verdict("dkim") == "fail"


def test_a_changed_key_counts_within_seconds(internet: Internet, sender: Sender) -> None:
    key = internet.dns.run("dig", "+short", "@127.0.0.1", KEY_NAME, "TXT").decode().replace('" "', "").strip('"\n')

    def verdict(name: str) -> str:
        sender.send(sender.signed(f"{name}@sender.example"))
        return internet.wait_for_message(f"<{name}@sender.example>").verdict("dkim")

    # what has a TTL of 0 is good for the second in which it came
    internet.unpublish(KEY_NAME, "TXT")
    assert any(verdict(f"no-key-{number}") in {"permerror", "fail"} for number in range(20))
    internet.publish(KEY_NAME, "TXT", key.replace("\\", ""))
    assert any(verdict(f"key-{number}") == "pass" for number in range(20))


@pytest.mark.parametrize(
    ("envelope_sender", "verdict"),
    [("app@other.example", "fail"), ("app@silent.example", "none"), ("", "pass")],
)
def test_spf_is_recorded_and_refuses_nothing(
    internet: Internet, sender: Sender, envelope_sender: str, verdict: str
) -> None:
    internet.add_zone("other.example", "silent.example")
    internet.publish("other.example", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    message_id = f"spf-{verdict}@sender.example"
    sender.send(sender.signed(message_id), sender=envelope_sender)
    message = internet.wait_for_message(f"<{message_id}>")
    assert message.verdict("spf") == verdict
    assert message.sender == envelope_sender


def test_the_body_arrives_as_it_was_sent(internet: Internet, sender: Sender) -> None:
    body = b"\r\n".join([b".", b"..two dots", b"From here", b"caf\xc3\xa9 \xe9\xff", b"x" * 998, b"", b"", b"end", b""])
    sender.send(sender.signed("intact@sender.example", body))
    message = internet.wait_for_message("<intact@sender.example>")
    assert message.body == body.replace(b"\r\n", b"\n")
    assert message.verdict("dkim") == "pass"


@pytest.mark.parametrize(
    ("local_part", "reply"),
    [("tempfail1", "451, b'4.7.1"), ("unknown", "550, b'5.1.1"), ("reply-452-4.2.2", "452, b'4.2.2")],
)
def test_refusals_by_local_part(sender: Sender, local_part: str, reply: str) -> None:
    with pytest.raises(RuntimeError, match=reply.replace(".", r"\.")):
        sender.send(b"Subject: no\r\n\r\n", recipient=f"{local_part}@rcpt.example")


def test_mail_is_kept_while_the_mx_is_away(internet: Internet, sender: Sender) -> None:
    sender.send(sender.signed("before@sender.example"), recipient="kept@rcpt.example")
    internet.wait_for_message("<before@sender.example>")
    internet.mx.stop()
    assert [message.message_id for message in internet.messages("kept@rcpt.example")] == ["<before@sender.example>"]
    internet.mx.start()
    sender.send(sender.signed("after@sender.example"), recipient="kept@rcpt.example")
    assert internet.wait_for_message("<after@sender.example>").verdict("dkim") == "pass"
    assert len(internet.messages("kept@rcpt.example")) == 2


def test_a_closed_port_refuses(internet: Internet, sender: Sender) -> None:
    internet.mx.refuse()
    with pytest.raises(RuntimeError, match="Connection refused"):
        sender.send(sender.signed("refused@sender.example"))
    internet.mx.accept()
    sender.send(sender.signed("accepted@sender.example"))
    internet.wait_for_message("<accepted@sender.example>")


def test_another_mx_without_tls(internet: Internet, sender: Sender) -> None:
    mx = internet.add_mx("plain.example", tls=False)
    sender.send(sender.signed("plain@sender.example"), mx=mx, recipient="a@plain.example", tls=False)
    message = internet.wait_for_message(lambda message: message.recipient == "a@plain.example")
    assert (message.mx, message.tls_version) == ("mx.plain.example", "")
    with pytest.raises(RuntimeError, match="STARTTLS extension not supported"):
        sender.send(b"\r\n", mx=mx, recipient="a@plain.example")


def test_names_that_nobody_published_do_not_exist(internet: Internet, sender: Sender) -> None:
    def status(*query: str) -> bytes:
        # through Docker's embedded resolver, as the relay asks
        return sender.app.run("dig", "+tries=1", "+time=2", *query).split(b"status: ")[1].split(b",")[0]

    assert status("example.com", "MX") == b"NXDOMAIN"
    assert status("nobody.rcpt.example", "A") == b"NXDOMAIN"
    assert status("mx.rcpt.example", "A") == status("mx.rcpt.example", "AAAA") == b"NOERROR"
    with pytest.raises(RuntimeError, match="REFUSED"):
        internet.publish("www.example.com", "A", "192.0.2.1")


def test_a_message_that_does_not_come(internet: Internet) -> None:
    with pytest.raises(TimeoutError, match=r"no such message within 0\.2 s"):
        internet.wait_for_message("<never@sender.example>", timeout=0.2)


def test_nothing_is_left_after_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    build_image()
    failed = Internet()
    monkeypatch.setattr(failed, "add_mx", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), failed:
        pass
    with contextlib.closing(docker.from_env()) as client:
        assert not client.containers.list(all=True, filters={"label": f"{LABEL}={failed.network}"})
        assert not client.networks.list(names=[failed.network])
        assert failed.network not in " ".join(volume.name for volume in client.volumes.list())
