"""``postroad send``: a test message, followed."""

import json

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.internet.internet import Internet


def send(relay: PostroadContainer, *words: str) -> tuple[int, str]:
    return relay.shell(f"postroad send {' '.join(words)}")


def test_a_message_is_followed_to_the_server_that_takes_it(relay: PostroadContainer, internet: Internet) -> None:
    code, text = send(relay, "user@rcpt.example")
    assert code == 0, text
    signed, accepted, tls, delivered = text.strip().splitlines()
    queue_id = accepted.split()[-1]
    assert "signed for sender.example, selector postroad" in signed
    assert "TLSv1.3 with mx.rcpt.example" in tls
    assert f"delivered to mx.rcpt.example [{internet.mx.address}]: Ok: queued as" in delivered
    message = internet.wait_for_message(lambda message: queue_id.encode() in message.raw)
    assert "Test message from" in str(message.message["Subject"])
    assert message.verdict("dkim") == message.verdict("spf") == "pass"
    assert message.message["From"].addresses[0].addr_spec == "postmaster@sender.example"
    assert message.message["Date"].datetime


def test_json_has_the_events(relay: PostroadContainer) -> None:
    code, text = send(relay, "user@rcpt.example", "--json", "--from", "app@sender.example")
    assert code == 0, text
    events = json.loads(text)["events"]
    assert [event["event"] for event in events] == ["signed", "accepted", "tls", "delivered"]
    assert events[-1]["sender"] == "app@sender.example"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("user@rcpt.example --from app@other.example", 1, "is not one of domains"),
        ("unknown@rcpt.example", 1, "bounced by mx.rcpt.example"),
        ("tempfail@rcpt.example", 3, "it waits, mx.rcpt.example"),
        ("user@nowhere.example", 1, "bounced"),
        ("'two words@rcpt.example'", 2, "not an address"),
    ],
)
def test_the_exit_code_says_what_became_of_it(words: str, code: int, said: str, relay: PostroadContainer) -> None:
    found, text = send(relay, words)
    assert (found, said in text) == (code, True), text


def test_a_host_that_does_not_answer(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    internet.mx.refuse()
    try:
        code, text = send(relay, "user@rcpt.example")
    finally:
        internet.mx.accept()
    assert code == 3
    assert "it waits" in text
    assert "refused" in text
    assert "tried again every 5m" in text


def test_without_a_server(relay: PostroadContainer) -> None:
    code, text = relay.shell("mkdir /tmp/none && mv /run/postroad/events /tmp/none/ && postroad send a@rcpt.example")
    relay.shell("mv /tmp/none/events /run/postroad/")
    assert code == 1
    assert "no server runs here" in text
