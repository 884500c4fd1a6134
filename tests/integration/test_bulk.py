"""``listeners.bulk``: a message is answered when its receiver has it, or else the disk."""

import json
import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, story, wait_until
from tests.internet.internet import Internet

LISTENERS = {"smtp": 25, "bulk": 2526}


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    return relays(listeners=LISTENERS, delivery={"queue": {"retry": "1h"}})


def enter(relay: PostroadContainer, door: str = "bulk") -> smtplib.SMTP:
    return smtplib.SMTP(relay.host, relay.port_of(door), timeout=60)


def waiting(relay: PostroadContainer) -> set[str]:
    """The queue ids of what waits."""
    return {message["queue_id"] for message in json.loads(relay.command("queue", "list", "--json"))["messages"]}


def test_the_answer_comes_when_the_receiver_has_the_message(relay: PostroadContainer, internet: Internet) -> None:
    holds = internet.add_watch("mx.holds.example", behaviour="holds")
    internet.publish("holds.example", "MX", "10 mx.holds.example")
    # the usual door answers while the receiver still holds back
    message_id = send(relay, letter(To="user@holds.example"))
    wait_until(lambda: "DATA" in [command.split()[-1] for command in holds.commands(25)])
    assert "delivered" not in {event["event"] for event in story(relay, message_id)}

    answers: list[object] = []
    message = letter(To="user@holds.example")

    def deliver() -> None:
        with enter(relay) as smtp:
            answers.append(smtp.send_message(message))

    sender = threading.Thread(target=deliver)
    sender.start()
    wait_until(lambda: [command.split()[-1] for command in holds.commands(25)].count("DATA") == 2)
    assert answers == []
    holds.run("touch", "/run/watch/go")
    sender.join()
    assert answers == [{}]
    assert [event["event"] for event in relay.follow(str(message["Message-ID"]))][-1] == "delivered"


def test_messages_of_a_session_share_a_connection_to_the_receiver(relay: PostroadContainer, internet: Internet) -> None:
    watch = internet.add_watch("mx.shared.example", behaviour="good")
    internet.publish("shared.example", "MX", "10 mx.shared.example")
    with enter(relay) as smtp:
        for _ in range(3):
            smtp.send_message(letter(To="user@shared.example"))
    commands = [command.split()[1] for command in watch.commands(25)]
    assert (commands.count("DATA"), commands.count("STARTTLS")) == (3, 1)


def test_what_the_receiver_puts_off_is_accepted_and_waits(relay: PostroadContainer) -> None:
    message = letter(To="tempfail@rcpt.example")
    with enter(relay) as smtp:
        assert smtp.send_message(message) == {}
    (event,) = [each for each in story(relay, str(message["Message-ID"])) if each["event"] == "deferred"]
    assert "451 4.7.1" in event["reply"]
    assert event["queue_id"] in waiting(relay)


def test_what_the_receiver_refuses_is_accepted_and_comes_back(relay: PostroadContainer, internet: Internet) -> None:
    message = letter(To="unknown-bulk@rcpt.example")
    with enter(relay) as smtp:
        assert smtp.send_message(message) == {}
    message_id = str(message["Message-ID"])
    assert "bounced" in {event["event"] for event in relay.follow(message_id)}
    bounce = internet.wait_for_message(lambda each: each.sender == "" and message_id in str(each.raw))
    assert bounce.recipient == "app@sender.example"


def test_a_receiver_that_says_nothing_holds_the_sender_for_seconds_only(
    relay: PostroadContainer, internet: Internet
) -> None:
    mute = internet.add_mx("mute.example")
    mute.pause()
    try:
        message = letter(To="user@mute.example")
        with enter(relay) as smtp:
            began = time.monotonic()
            smtp.send_message(message)
            # sendmail's own patience is five minutes
            assert time.monotonic() - began < 30
            began = time.monotonic()
            smtp.send_message(letter(To="user@mute.example"))  # the session remembers
            assert time.monotonic() - began < 30
        queue_id = relay.wait_for(str(message["Message-ID"]), "deferred")["queue_id"]
        assert queue_id in waiting(relay)
    finally:
        mute.unpause()


def test_the_rules_are_those_of_the_other_doors(relay: PostroadContainer) -> None:
    relay.command("suppress", "add", "dead@rcpt.example")
    for sender, recipient, word in (
        ("app@third.example", "user@rcpt.example", "third.example"),
        ("app@sender.example", "dead@rcpt.example", "is suppressed"),
        ("app@sender.example", "root@mail.sender.example", "no mailboxes here"),
    ):
        answers = []
        for door in LISTENERS:
            with enter(relay, door) as smtp:
                smtp.ehlo()
                code, text = smtp.mail(sender)
                answers.append((code, text) if code != 250 else smtp.rcpt(recipient))
        assert answers[0] == answers[1]
        assert answers[1][0] == 550, answers
        assert word in answers[1][1].decode()
    with enter(relay) as smtp:
        smtp.ehlo()
        smtp.mail("app@sender.example")
        smtp.rcpt("user@rcpt.example")
        code, text = smtp.data("From: app@third.example\r\n\r\nHi\r\n")
        assert (code, b"third.example" in text) == (550, True), text


def test_nothing_that_was_accepted_is_lost_when_it_is_killed(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(listeners=LISTENERS, delivery={"queue": {"retry": "1h"}})
    accepted: dict[str, str] = {}
    ended = threading.Event()

    def work(recipient: str) -> None:
        while not ended.is_set():
            with suppress(OSError, smtplib.SMTPException), enter(relay) as smtp:
                while not ended.is_set():
                    message = letter(To=recipient)
                    smtp.send_message(message)
                    accepted[str(message["Message-ID"])] = recipient

    def killed() -> list[str]:
        return [event["program"] for event in relay.events() if event["event"] == "stopped"]

    recipients = ("killed@rcpt.example", "tempfail-killed@rcpt.example")
    threads = [threading.Thread(target=work, args=[recipients[i % 2]]) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for times in range(1, 4):
            before = len(accepted)
            wait_until(lambda: len(accepted) > before + 10, timeout=60)  # noqa: B023 - called here
            # every sendmail that has to do with this door, in the middle of whatever it does
            kill = (
                "daemon=$(head -n 1 /run/postroad/sendmail-bulk.pid); for each in /proc/[0-9]*; do"
                ' case $(cut -d" " -f4 $each/stat) in $daemon) kill -9 ${each#/proc/};; esac; done; kill -9 $daemon'
            )
            # a session of the last one's may have got away, and serve on before there is a new daemon
            wait_until(lambda: relay.shell(kill)[0] == 0)  # noqa: B023 - called here
            wait_until(lambda: killed() == ["sendmail-bulk"] * times)  # noqa: B023 - called here
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    delivered = {message_id for message_id, to in accepted.items() if to == recipients[0]}
    queued = set(accepted) - delivered
    assert delivered
    assert queued
    wait_until(lambda: relay.shell("exec postroad queue flush --all")[0] in {0, 3})
    for message_id in delivered:
        internet.wait_for_message(message_id)
    names = relay.shell("grep -ho '<[^ ]*@sender.example>' /var/spool/mqueue/*")[1].split()
    assert queued <= set(names)


@pytest.fixture(scope="module", autouse=True)
def unharmed(relay: PostroadContainer) -> Iterator[None]:
    yield
    assert not [event for event in relay.events() if event["event"] == "stopped"]
