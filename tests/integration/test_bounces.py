"""Bounces that sendmail makes: signed, whole, and no more of them than there should be."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import dkim
import pytest

from postroad.testing import PostroadContainer
from postroad.testing.received import ReceivedMessage
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.internet import Internet


@pytest.fixture(scope="module")
def relay(relays: Relays, internet: Internet) -> PostroadContainer:
    internet.add_zone("later.example", "mistyped.example")  # whose mail goes nowhere
    return relays(
        domains=["sender.example", "later.example", "mistyped.example"],
        suppression={"enabled": False},
        delivery={"queue": {"retry": "1s"}},
    )


def bounce_of(message_id: str) -> Callable[[ReceivedMessage], bool]:
    return lambda message: message.sender == "" and f"Message-ID: {message_id}".encode() in message.raw


def verifies(received: ReceivedMessage, relay: PostroadContainer) -> bool:
    records = {f"{name}.".encode(): value.encode() for name, value in relay.dkim_records().items()}
    wire = received.raw[received.raw.index(b"Received: from localhost (localhost)") :].replace(b"\n", b"\r\n")
    return bool(dkim.verify(wire, dnsfunc=lambda name, timeout=5: records.get(name, b"")))


def test_a_bounce_is_signed(relay: PostroadContainer, internet: Internet) -> None:
    message_id = send(relay, letter(To="unknown@rcpt.example"))
    received = internet.wait_for_message(bounce_of(message_id))
    assert received.verdict("dkim") == "pass"
    assert verifies(received, relay)
    assert received.raw.count(b"\nDKIM-Signature:", 0, received.raw.index(b"\n\n")) == 1
    assert str(received.message["From"]) == "Mail Delivery Subsystem <MAILER-DAEMON@mail.sender.example>"
    assert received.message.get_all("To") == ["app@sender.example"]


@pytest.mark.parametrize("recipient", ["unknown@rcpt.example", "tempfail-then@late.example"])
def test_a_bounce_s_dates_are_in_the_form_of_rfc_5322(recipient: str, start_relay: Relays, internet: Internet) -> None:
    """Of a message that was refused at its first attempt, and of one that waited."""
    if recipient.endswith("@late.example"):
        internet.add_mx("late.example").refuse()
    relay = start_relay(
        suppression={"enabled": False}, delivery={"queue": {"retry": "1s", "warn_after": None, "give_up_after": "5s"}}
    )
    message_id = send(relay, letter(To=recipient))
    received = internet.wait_for_message(bounce_of(message_id), 60)
    ours = [str(received.message["Date"]), str((received.message.get_all("Received") or [""])[-1]).rpartition(";")[2]]
    for date in map(str.strip, ours):
        assert re.fullmatch(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000", date), ours
        assert abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) < 4 + 60 * (recipient[0] == "u")
    assert received.verdict("dkim") == "pass"


def test_a_recipient_with_the_name_of_the_bounces_sender_keeps_its_letters(
    relay: PostroadContainer, internet: Internet
) -> None:
    message_id = send(relay, letter(To="Mailer-Daemon@rcpt.example"))
    assert internet.wait_for_message(message_id).recipient == "Mailer-Daemon@rcpt.example"


def test_a_bounce_leaves_without_the_signer(start_relay: Relays, internet: Internet) -> None:
    later = internet.add_mx("nosigner.example")
    later.refuse()
    relay = start_relay(
        suppression={"enabled": False}, delivery={"queue": {"retry": "1s", "warn_after": None, "give_up_after": "15s"}}
    )
    message_id = send(relay, letter(To="user@nosigner.example"))
    relay.wait_for(message_id, "deferred")
    relay.shell("rm /run/postroad/bounces")
    received = internet.wait_for_message(bounce_of(message_id), 90)
    assert abs((parsedate_to_datetime(str(received.message["Date"])) - datetime.now(UTC)).total_seconds()) < 30
    assert b"\nDKIM-Signature" not in received.raw.partition(b"\n\n")[0]


def test_a_bounce_that_waits_keeps_its_signature(relay: PostroadContainer, internet: Internet) -> None:
    """It is tried while its receiver is away, and leaves by a later run of the queue."""
    later = internet.add_mx("later.example")
    later.refuse()
    message_id = send(relay, letter(To="unknown@rcpt.example"), from_addr="app@later.example")
    wait_until(lambda: any(event["event"] == "deferred" and event["recipient"] == "app@later.example" for event in relay.events()), 60)  # fmt: skip
    control = relay.shell("cat /var/spool/mqueue/qf*")[1]
    assert control.count("DKIM-Signature: v=1;a=rsa-sha256") == 1, control
    later.accept()
    received = internet.wait_for_message(bounce_of(message_id), 60)
    assert received.recipient == "app@later.example"
    assert verifies(received, relay)


def test_a_message_waits_whose_bounce_has_no_room(start_relay: Relays, internet: Internet) -> None:
    """sendmail itself would drop both."""
    there = internet.add_mx("noroom.example")
    there.refuse()
    relay = start_relay(
        suppression={"enabled": False},
        delivery={"queue": {"retry": "1s"}},
        tmpfs={"/var/spool/mqueue": "mode=0700,uid=2525,gid=2525,size=4m"},
    )
    message_id = send(relay, letter(To="unknown@noroom.example"))
    relay.wait_for(message_id, "deferred")
    relay.shell("dd if=/dev/zero of=/var/spool/mqueue/fill bs=1k")
    there.accept()
    wait_until(lambda: "returntosender: cannot select queue for" in relay.log(), 60)
    (waiting,) = json.loads(relay.command("queue", "list", "--json"))["messages"]
    assert waiting["recipients"] == ["unknown@noroom.example"]
    relay.shell("rm /var/spool/mqueue/fill")
    assert internet.wait_for_message(bounce_of(message_id), 60).verdict("dkim") == "pass"
    # a control file that could not be written whole may stay beside it, which is told in a note
    wait_until(lambda: all(each["note"] for each in json.loads(relay.command("queue", "list", "--json"))["messages"]))


@pytest.mark.parametrize("sender", ["app@mistyped.example", "unknown-2@sender.example"])
def test_a_bounce_that_fails_ends(sender: str, relay: PostroadContainer, internet: Internet) -> None:
    """Nobody reads a postmaster's mailbox here, and nothing is left in the queue."""
    before = len(to_postmasters(internet))  # other tests' mail
    send(relay, letter(To="unknown@rcpt.example"), from_addr=sender)
    wait_until(lambda: any(event["event"] == "bounced" and event["recipient"] == sender for event in relay.events()))
    wait_until(lambda: relay.shell("ls /var/spool/mqueue")[1].strip() == "")
    assert len(to_postmasters(internet)) == before


def to_postmasters(internet: Internet) -> list[ReceivedMessage]:
    return [message for message in internet.messages() if message.recipient.lower().startswith("postmaster")]


def test_a_host_outside_of_domains_sends_unsigned_bounces(relays: Relays, internet: Internet) -> None:
    """No key is for its name."""
    relay = relays(hostname="mail.elsewhere.example", suppression={"enabled": False})
    message_id = send(relay, letter(To="unknown@rcpt.example"))
    received = internet.wait_for_message(bounce_of(message_id))
    assert b"DKIM-Signature" not in received.raw.partition(b"\n\n")[0]
