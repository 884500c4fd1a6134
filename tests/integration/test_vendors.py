"""Vendors' SDKs send through the image, with another address and key: what they send arrives signed."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from postmarker.core import PostmarkClient
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail

from postroad.testing import PostroadContainer
from tests.integration.conftest import RELAYS, Relays, wait_until
from tests.integration.test_api import CONFIG, HOST, KEYS, call, folder
from tests.internet.internet import Internet
from tests.unit import npm
from tests.unit.test_web_npm import ghost

__all__ = ["folder"]
URL = f"https://{HOST}:8080"
SHOP = KEYS["shop"]
RIGHTS = ["send", "read", "suppressions"]


@pytest.fixture(scope="module")
def relay(image: str, internet: Internet, folder: Path, request: pytest.FixtureRequest) -> Iterator[PostroadContainer]:
    internet.add_zone("other.example")
    relays = Relays(image, internet)
    keys = [each | {"rights": RIGHTS} if each["name"] == "shop" else each for each in CONFIG["web"]["keys"]]
    web = CONFIG["web"] | {"keys": keys, "vendors": ["ses", "sendgrid", "mailgun", "postmark"]}
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        yield relays(**CONFIG | {"web": web}, mounts={str(folder): "/secrets"})


@pytest.fixture(autouse=True)
def client(relay: PostroadContainer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process finds the relay by the name in its certificate, and trusts who signed that."""
    usual = socket.getaddrinfo

    def found(host: Any, *args: Any, **more: Any) -> Any:
        return usual(relay.address if host == HOST else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(folder / "ca.pem"))
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(folder / "ca.pem"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def called(relay: PostroadContainer, sdk: str, *calls: list[Any]) -> list[Any]:
    found = npm.called(URL, sdk, *calls, key=SHOP, environ=os.environ, resolve={HOST: relay.address})
    assert all("answer" in each for each in found), found
    return [each["answer"] for each in found]


def arrived(internet: Internet, message_id: str) -> Any:
    received = internet.wait_for_message(message_id)
    assert received.verdict("dkim") == "pass"
    assert received.message["Subject"] == "Grüße"
    return received.message


def ses(name: str = "shop", key: str = SHOP) -> Any:
    return boto3.client(
        "sesv2", endpoint_url=URL, aws_access_key_id=name, aws_secret_access_key=key, region_name="eu-west-1"
    )


SIMPLE: dict[str, Any] = {
    "FromEmailAddress": "Shop <shop@sender.example>",
    "Destination": {"ToAddresses": ["user@rcpt.example"]},
    "Content": {"Simple": {"Subject": {"Data": "Grüße"}, "Body": {"Text": {"Data": "Hello\n.\n"}}}},
    "EmailTags": [{"Name": "campaign", "Value": "spring"}],
}


def test_ses(relay: PostroadContainer, folder: Path, internet: Internet) -> None:
    found = ses().send_email(**SIMPLE)["MessageId"]
    arrived(internet, f"<{found}>")
    story = wait_until(lambda: known(call(relay, folder, "GET", f"/v1/messages/{found}")))
    assert story["messages"][0]["tags"] == ["campaign=spring"]
    (other,) = called(relay, "ses", ["SendEmail", SIMPLE])
    arrived(internet, f"<{other['MessageId']}>")


def known(answer: tuple[int, Any]) -> Any:
    return answer[1] if answer[0] == 200 else None


def test_a_raw_message_of_ses_leaves_without_its_bcc(internet: Internet) -> None:
    data = b"From: shop@sender.example\nTo: user@rcpt.example\nBcc: hidden@rcpt.example\nMessage-ID: <raw@sender.example>\n"
    data += b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\nDate: Thu, 26 Nov 2026 10:00:00 +0000\n\nHello\n"
    ses().send_email(Content={"Raw": {"Data": data}})
    for recipient in ("user@rcpt.example", "hidden@rcpt.example"):
        received = internet.wait_for_message(
            lambda each, to=recipient: each.message_id == "<raw@sender.example>" and each.recipient == to  # type: ignore[misc]
        )
        assert received.verdict("dkim") == "pass"
        assert received.message["Bcc"] is None


@pytest.mark.parametrize(("name", "key"), [("shop", KEYS["news"]), ("stranger", SHOP), ("news", SHOP)])
def test_a_forged_signature_sends_nothing(name: str, key: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidSignature|UnrecognizedClient"):
        ses(name, key).send_email(**SIMPLE)


def test_ses_suppresses(relay: PostroadContainer, folder: Path) -> None:
    client = ses()
    client.put_suppressed_destination(EmailAddress="gone@rcpt.example", Reason="BOUNCE")
    gone = SIMPLE | {"Destination": {"ToAddresses": ["gone@rcpt.example"]}}
    with pytest.raises(ClientError, match=r"MessageRejected.*suppressed"):
        client.send_email(**gone)
    assert (
        client.get_suppressed_destination(EmailAddress="gone@rcpt.example")["SuppressedDestination"]["Reason"]
        == "BOUNCE"
    )
    client.delete_suppressed_destination(EmailAddress="gone@rcpt.example")
    assert client.send_email(**gone)["MessageId"]


def test_sendgrid(relay: PostroadContainer, internet: Internet) -> None:
    mail = Mail("shop@sender.example", "user@rcpt.example", "Grüße", "Hello")
    answer = SendGridAPIClient(SHOP, host=URL).send(mail)
    arrived(internet, f"<{answer.headers['X-Message-Id']}>")
    given = {"to": "user@rcpt.example", "from": "shop@sender.example", "subject": "Grüße", "html": "<p>Hi"}
    (other,) = called(relay, "sendgrid", ["send", given])
    arrived(internet, f"<{other['id']}>")


def test_postmark(relay: PostroadContainer, folder: Path, internet: Internet) -> None:
    email = {"From": "shop@sender.example", "To": "user@rcpt.example", "Subject": "Grüße", "TextBody": "Hello"}
    client = PostmarkClient(server_token=SHOP, root_api_url=URL)
    answers = [client.emails.send(**email), *client.emails.send_batch(email, email)]
    answers += called(relay, "postmark", ["sendEmail", email])
    for each in answers:
        assert each["ErrorCode"] == 0
        arrived(internet, f"<{each['MessageID'].replace('-', '')}@{HOST}>")


def test_a_newsletter_of_ghost_s_by_mailgun(relay: PostroadContainer, folder: Path, internet: Internet) -> None:
    given = ghost(1000)
    text = json.dumps(given).replace("@there.example", "@rcpt.example")
    begun = time.monotonic()
    (answer,) = called(relay, "mailgun", ["create", "sender.example", json.loads(text)])
    seconds = time.monotonic() - begun
    print(f"measured: 1,000 messages of one call in {seconds:.1f} s")  # noqa: T201
    assert seconds < 60, "Ghost gives up then"
    assert answer["message"] == "Queued. Thank you."
    one = internet.wait_for_message(lambda each: each.recipient == "u7@rcpt.example", timeout=120)
    assert one.verdict("dkim") == "pass"
    assert one.message["List-Unsubscribe"] == "<https://blog.example/unsubscribe/?uuid=7>"
    assert one.message["To"] == "u7@rcpt.example"
    wait_until(lambda: tagged(relay, folder) == 1000, timeout=60)


def tagged(relay: PostroadContainer, folder: Path) -> int:
    status, answer = call(relay, folder, "GET", "/v1/stats?by=tag")
    assert status == 200
    return next((each["accepted"] for each in answer["groups"] if each["tag"] == "ghost-email"), 0)


@pytest.mark.parametrize("sender", ["shop@other.example", "shop@stranger.example"])
def test_nobody_sends_as_somebody_else(sender: str) -> None:
    with pytest.raises(ClientError, match="MessageRejected"):
        ses().send_email(**SIMPLE | {"FromEmailAddress": sender})
