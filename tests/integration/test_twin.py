"""``postroad.testing.Internet`` as others use it: receivers by the recipient's name, and what comes back."""

import json
import smtplib
import urllib.request
from collections.abc import Iterator

import pytest

from postroad.testing import Internet, PostroadContainer
from tests.integration.conftest import letter
from tests.internet.internet import PUBLIC_IMAGE, TREE, build_public_image

RETURNS = "bounces.shop.example"
CONFIG = {
    "hostname": "mail.shop.example",
    "domains": ["shop.example"],
    "listeners": {"smtp": 2525},
    "returns": {"domain": RETURNS, "listen": 25},
    "delivery": {"queue": {"retry": "1s"}},
}


@pytest.fixture(scope="module")
def twin() -> Iterator[Internet]:
    build_public_image()
    with Internet("example.net", "throttle.example", image=PUBLIC_IMAGE, labels=TREE) as internet:
        yield internet


@pytest.fixture(scope="module")
def shop(twin: Internet, image: str) -> Iterator[PostroadContainer]:
    with twin.relay(CONFIG, image=image) as relay:
        yield relay


def send(relay: PostroadContainer, recipient: str) -> str:
    return send_at_once(relay, [recipient])[0]


def send_at_once(relay: PostroadContainer, recipients: list[str]) -> list[str]:
    messages = [letter(From="shop@shop.example", To=recipient) for recipient in recipients]
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for message in messages:
            smtp.send_message(message)
    return [str(message["Message-ID"]) for message in messages]


def test_mail_arrives_signed(twin: Internet, shop: PostroadContainer) -> None:
    message_id = send(shop, "you@example.net")
    (received,) = twin.inbox("you@example.net")
    assert (received.message_id, received.mx, received.tls_version) == (message_id, "mx.example.net", "TLSv1.3")
    assert (received.verdict("dkim"), received.verdict("spf")) == ("pass", "pass")
    assert received.sender.endswith(f"@{RETURNS}")
    assert "(mail.shop.example [" in str(received.message["Received"]), "the reverse name"
    with urllib.request.urlopen(f"{twin.page}messages?to=you@example.net&count=1", timeout=20) as answer:
        (told,) = json.load(answer)
    assert (told["message_id"], told["tls"], told["verdicts"]) == (
        message_id,
        "TLSv1.3",
        {"dkim": "pass", "spf": "pass"},
    )
    assert ["Message-ID", message_id] in told["headers"]
    with urllib.request.urlopen(twin.page, timeout=20) as answer:
        assert "<td>you@example.net" in answer.read().decode()


def test_all_records_are_published(shop: PostroadContainer) -> None:
    ask = f"POSTROAD_PUBLIC_IP={shop.address} postroad dns --json 2>/dev/null"
    records = json.loads(shop.shell(ask)[1])["records"]
    kinds = {(each["type"], each["value"].partition("=")[0]) for each in records if each["type"] in {"A", "TXT"}}
    assert {("TXT", "v"), ("A", shop.address)} <= kinds
    assert [each for each in records if each["state"] != "is there" and each["type"] != "PTR"] == []


def test_a_dead_mailbox_gets_no_second_message(twin: Internet, shop: PostroadContainer) -> None:
    assert shop.wait_for(send(shop, "unknown-1@example.net"), "bounced")["reply"].endswith("No such user here")
    shop.wait_until_suppressed("unknown-1@example.net")
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="suppressed"):
        send(shop, "unknown-1@example.net")
    assert twin.inbox("unknown-1@example.net", count=0) == []


def test_a_late_bounce(twin: Internet, shop: PostroadContainer) -> None:
    message_id = send(shop, "late-bounce@example.net")
    assert shop.follow(message_id)[-1]["event"] == "delivered"
    assert shop.wait_for(message_id, "bounced")["late"] is True
    assert twin.inbox("late-bounce@example.net")[0].verdict("dkim") == "pass"
    shop.wait_until_suppressed("late-bounce@example.net")


def test_a_complaint(shop: PostroadContainer) -> None:
    event = shop.wait_for(send(shop, "complain@example.net"), "complained")
    assert (event["recipient"], event["feedback"]) == ("complain@example.net", "abuse")
    shop.wait_until_suppressed("complain@example.net")


def test_an_aggregate_report(shop: PostroadContainer) -> None:
    send(shop, "dmarc-report@example.net")
    event = shop.wait_for_event("reported", domain="shop.example")
    assert (event["organization"], event["source"], event["count"]) == ("mx.example.net", shop.address, 1)
    assert (event["dkim"], event["spf"]) == (True, True)


def test_a_receiver_that_greylists(shop: PostroadContainer) -> None:
    message_id = send(shop, "greylist@example.net")
    assert "Greylisted" in shop.wait_for(message_id, "deferred")["reply"]
    assert shop.follow(message_id)[-1]["event"] == "delivered"


def test_a_receiver_that_blocks(shop: PostroadContainer) -> None:
    event = shop.wait_for(send(shop, "blocked@example.net"), "bounced")
    assert "mail from your address is not wanted" in event["reply"]


def test_a_receiver_that_throttles(shop: PostroadContainer) -> None:
    sent: list[str] = []
    deferred: list[str] = []
    while not deferred and len(sent) < 60:  # a busy machine may keep to three in three seconds by itself
        sent += send_at_once(shop, [f"u{number}@throttle.example" for number in range(6)])
        deferred = [each for each in sent if "deferred" in [event["event"] for event in shop.follow(each)]]
    assert 0 < len(deferred) < len(sent)
    assert {shop.follow(each)[-1]["event"] for each in sent} == {"delivered"}


def test_a_receiver_whose_tls_is_broken(twin: Internet, shop: PostroadContainer) -> None:
    twin.add_mx("broken.example", tls="broken")
    send(shop, "you@broken.example")
    (received,) = twin.inbox("you@broken.example")
    assert received.tls_version == ""
