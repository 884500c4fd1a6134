"""What the rules say of a receiver is of this message, whatever became of the one before in the same process."""

from functools import partial

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet) -> PostroadContainer:
    internet.add_watch("mx.clear.example", behaviour="no-starttls")
    internet.publish("clear.example", "MX", "10 mx.clear.example.")
    policy = {"domains": {"clear.example": "require"}}
    return relays(publish=False, delivery={"tls": policy, "queue": {"retry": "4h"}})


def test_a_message_that_is_put_off_does_not_bounce_after_one_that_did(relay: PostroadContainer) -> None:
    for number in range(3):
        failed = send(relay, letter(), to_addrs=[f"unknown-{number}@rcpt.example"])
        relay.wait_for(failed, "bounced")
        put_off = send(relay, letter(), to_addrs=[f"user-{number}@clear.example"])
        wait_until(partial(_ends, relay, put_off))
        assert _ends(relay, put_off) == {"deferred"}


def _ends(relay: PostroadContainer, message_id: str) -> set[str]:
    ids = {event.get("queue_id") for event in relay.events() if event.get("message_id") == message_id}
    return {
        event["event"]
        for event in relay.events()
        if event.get("queue_id") in ids and event["event"] in {"deferred", "bounced", "delivered"}
    }
