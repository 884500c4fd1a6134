"""Staging: mail reaches those whom `recipients` names, and nobody else."""

import json
import secrets
import smtplib
import time
from collections.abc import Sequence

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, wait_until
from tests.internet.internet import Internet

Refused = dict[str, tuple[int, bytes]]


def submit(relay: PostroadContainer, sender: str, recipients: Sequence[str], **headers: str) -> tuple[str, Refused]:
    """Send to several; return the Message-ID and who was refused."""
    message = letter(**headers)
    with smtplib.SMTP(relay.host, relay.port, timeout=30) as smtp:
        return str(message["Message-ID"]), smtp.sendmail(sender, recipients, message.as_string())


def reached(internet: Internet, since: int) -> list[str]:
    """Whom the messages reached that came after the first ``since``."""
    return sorted(message.recipient for message in internet.messages()[since:])


def ends(relay: PostroadContainer, message_id: str) -> list[tuple[str, str]]:
    return sorted((event["event"], event["recipient"]) for event in relay.follow(message_id) if event.get("recipient"))


def traced(relay: PostroadContainer, what: str) -> dict[str, str]:
    """What `postroad trace` says that became of each recipient."""
    _, text = relay.shell(f"postroad trace --json '{what}'")
    found = json.loads(text)["messages"] if text.startswith("{") else []  # the recorder has not begun yet
    return {each["recipient"]: each["status"] for each in found}


def dsn_ends(relay: PostroadContainer, recipient: str) -> None:
    """Wait until the bounce to this recipient came to its end, whichever."""
    deadline = time.monotonic() + 20
    while not any(
        event["event"] in {"bounced", "delivered"} and (event.get("sender"), event.get("recipient")) == ("", recipient)
        for event in relay.events()
    ):
        assert time.monotonic() < deadline, relay.log()
        time.sleep(0.1)


def test_others_than_those_allowed_are_refused_one_by_one(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"allow": ["rcpt.example", "only@sender.example"]})
    before = len(internet.messages())
    asked = {
        "user@rcpt.example": True,
        "Someone+Else@RCPT.example": True,
        "ONLY@sender.example": True,
        "other@sender.example": False,
        "only@sender.example.rcpt.example": False,
        "user@sub.rcpt.example": False,
        "user@notrcpt.example": False,
        "only@sender.example@other.example": False,
        "user@other.example": False,
        '"user@rcpt.example"@other.example': False,
        "@rcpt.example:user@other.example": False,
    }
    message_id, refused = submit(relay, "app@sender.example", list(asked), Cc="other@sender.example")
    assert {address: address not in refused for address in asked} == asked
    for code, text in refused.values():
        assert code in {550, 553}, text
    assert refused["user@other.example"][0] == 550
    assert b"5.7.1" in refused["user@other.example"][1]
    assert b"recipients.allow" in refused["user@other.example"][1]
    received = [
        internet.wait_for_message(lambda message: (message.message_id, message.recipient.lower()) == (message_id, each))  # noqa: B023
        for each in ("user@rcpt.example", "someone+else@rcpt.example", "only@sender.example")
    ]
    assert {message.verdict("dkim") for message in received} == {"pass"}
    assert reached(internet, before) == ["ONLY@sender.example", "Someone+Else@RCPT.example", "user@rcpt.example"]


def test_a_bounce_reaches_its_sender_only_if_he_is_allowed(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"allow": ["rcpt.example", "only@sender.example"]})
    before = len(internet.messages())
    for number, sender in enumerate(("app@sender.example", "only@sender.example")):
        unknown = f"unknown-{number}@rcpt.example"  # the second message to one is refused
        message_id, _ = submit(relay, sender, [unknown])
        assert ends(relay, message_id) == [("bounced", unknown)]
        dsn_ends(relay, sender)
    assert internet.wait_for_message(lambda message: message.recipient == "only@sender.example").sender == ""
    assert reached(internet, before) == ["only@sender.example"]


def test_mail_that_waits_reaches_nobody_else_either(start_relay: Relays, internet: Internet, volumes: object) -> None:
    assert callable(volumes)
    queue, state = volumes("queue"), volumes("state")
    open_relay = start_relay(queue=queue, state=state)
    message_id, _ = submit(open_relay, "app@sender.example", ["tempfail@rcpt.example"])
    open_relay.wait_for(message_id, "deferred")
    open_relay.get_wrapped_container().stop()
    before = len(internet.messages())
    relay = start_relay(
        queue=queue, state=state, recipients={"allow": ["other.example"]}, delivery={"queue": {"retry": "1s"}}
    )
    dsn_ends(relay, "app@sender.example")
    assert reached(internet, before) == []


def test_everything_goes_to_one_mailbox_that_learns_whom_it_was_for(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"redirect_to": "qa+staging@rcpt.example"})
    before = len(internet.messages())
    recipients = ["user@rcpt.example", "Two@other.example", "hidden@sender.example"]
    message_id, refused = submit(relay, "app@sender.example", recipients, Cc="Two@other.example")
    assert refused == {}
    relay.follow(message_id)
    received = internet.wait_for_message(message_id)
    assert received.sender == "app@sender.example"
    assert received.verdict("dkim") == "pass"
    assert received.message["To"] == "user@rcpt.example"
    assert received.message["Cc"] == "Two@other.example"
    assert received.message["X-Original-Recipients"] == ",".join(recipients)
    assert reached(internet, before) == ["qa+staging@rcpt.example"]
    wait_until(lambda: traced(relay, "two@other.example") == {"Two@other.example": "delivered"})
    assert traced(relay, message_id) == dict.fromkeys(recipients, "delivered")
    text = relay.command("trace", message_id)
    for recipient in recipients:
        assert f"app@sender.example → {recipient}, redirected to qa+staging@rcpt.example\n" in text
    assert "goes to qa+staging@rcpt.example in place of you@other.example" in relay.command("send", "you@other.example")


def test_the_next_message_of_a_connection_has_its_own_recipients(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"redirect_to": "qa@rcpt.example"})
    messages = [letter(To=f"user{number}@other.example") for number in range(2)]
    with smtplib.SMTP(relay.host, relay.port, timeout=30) as smtp:
        for message in messages:
            smtp.send_message(message)
    for number, message in enumerate(messages):
        received = internet.wait_for_message(str(message["Message-ID"]))
        assert received.message["X-Original-Recipients"] == f"user{number}@other.example"


def test_a_long_list_is_cut_and_says_so(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"redirect_to": "qa@rcpt.example"}, limits={"recipients_per_message": 400})
    recipients = [f"a-rather-long-name-{number}@some.other.example" for number in range(300)]
    message_id, refused = submit(relay, "app@sender.example", recipients)
    assert refused == {}
    received = internet.wait_for_message(message_id)
    listed = str(received.message["X-Original-Recipients"])
    assert listed.startswith(",".join(recipients[:10]))
    assert listed.endswith(", and others")
    assert received.verdict("dkim") == "pass"


def test_a_redirected_message_that_waits_keeps_its_list(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(recipients={"redirect_to": "late@rcpt.example"}, delivery={"queue": {"retry": "1s"}})
    internet.mx.refuse()
    try:
        message_id, _ = submit(relay, "app@sender.example", ["user@other.example", "two@other.example"])
        relay.wait_for(message_id, "deferred")
    finally:
        internet.mx.accept()
    received = internet.wait_for_message(message_id, timeout=60)
    assert (received.recipient, received.verdict("dkim")) == ("late@rcpt.example", "pass")
    assert received.message["X-Original-Recipients"] == "user@other.example,two@other.example"


def test_a_bounce_goes_to_the_one_mailbox_too(start_relay: Relays, internet: Internet) -> None:
    marker = secrets.token_hex(4)
    relay = start_relay(recipients={"redirect_to": "unknown@rcpt.example"})
    before = len(internet.messages())
    message_id, _ = submit(relay, f"app+{marker}@sender.example", ["user@other.example"])
    assert ends(relay, message_id) == [("bounced", "user@other.example"), ("redirected", "user@other.example")]
    dsn_ends(relay, f"app+{marker}@sender.example")
    assert reached(internet, before) == []
    told = f"<> → app+{marker}@sender.example, redirected to unknown@rcpt.example\n"
    wait_until(lambda: told in relay.shell(f"postroad trace app+{marker}@sender.example")[1])
