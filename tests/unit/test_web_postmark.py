"""Postmark by a client of its own: what it sends arrives, and what the relay has not is refused."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from postmarker.core import PostmarkClient
from postmarker.exceptions import ClientError

from tests.unit.vendors import NOBODY, SHOP, Relay

EMAIL: dict[str, Any] = {
    "From": "shop@sender.example", "To": "x@there.example", "Subject": "Hi", "TextBody": "Hello",
}  # fmt: skip


@pytest.fixture
def postmark(relay: Relay) -> Callable[..., Any]:
    def opened(token: str = SHOP) -> PostmarkClient:
        return PostmarkClient(server_token=token, root_api_url=relay.url)

    return opened


def error(call: Callable[..., Any], *args: Any, **given: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **given)
    return int(caught.value.error_code), str(caught.value)


def test_a_message_arrives(postmark: Callable[..., Any], relay: Relay) -> None:
    answer = postmark().emails.send(
        From="Grüße GmbH <shop@sender.example>",
        To='"Doe, J" <x@there.example>, y@there.example',
        Cc="c@there.example",
        Bcc=["z@there.example"],
        ReplyTo="r@there.example",
        Subject="Grüße",
        TextBody="Hello\n.\n",
        HtmlBody="<p>Hi",
        Headers={"List-Unsubscribe": "<https://sender.example/u>"},
        Tag="spring",
        Metadata={"order": "12"},
        TrackLinks="None",
        Attachments=[
            {"Name": "bill.pdf", "Content": "JVBERv8=", "ContentType": "application/pdf"},
            {"Name": "logo.png", "Content": "cG5n", "ContentType": "image/png", "ContentID": "cid:logo"},
        ],
    )
    (taken,), (message,) = relay.taken, relay.messages
    assert (answer["ErrorCode"], answer["Message"], answer["To"]) == (
        0,
        "OK",
        '"Doe, J" <x@there.example>, y@there.example',
    )
    assert message["Message-ID"].startswith(f"<{uuid.UUID(answer['MessageID']).hex}@")
    assert taken.sender == "shop@sender.example"
    assert taken.recipients == [f"{name}@there.example" for name in "xycz"]
    assert [each.display_name for each in message["To"].addresses] == ["Doe, J", ""]
    assert message["From"].addresses[0].display_name == "Grüße GmbH"
    assert (message["Subject"], message["Reply-To"], message["Bcc"]) == ("Grüße", "r@there.example", None)
    assert message["List-Unsubscribe"] == "<https://sender.example/u>"
    assert [each.get_content() for each in message.iter_attachments() if each.get_filename() == "bill.pdf"] == [
        b"%PDF\xff"
    ]
    assert [part.get_content_disposition() for part in message.walk() if part["Content-ID"] == "<logo>"] == ["inline"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"TrackOpens": True}, "TrackOpens: opens are not tracked"),
        ({"TrackLinks": "HtmlAndText"}, "TrackLinks: None, as clicks are not tracked"),
        ({"MessageStream": "broadcast"}, "MessageStream: outbound, as there are no others"),
        ({"From": "shop"}, "From"),
        ({"From": "a@sender.example, b@sender.example"}, "From: one mailbox"),
        ({"To": "x@there.example,, <y"}, "To: mailboxes such as"),
        ({"To": "team: x@there.example;"}, "To: addresses with a domain"),
        ({"Subject": "a\nb"}, "Subject: text without line breaks"),
        ({"Headers": [{"Name": "Bcc", "Value": "y@there.example"}]}, "Headers: other header fields than Bcc"),
        ({"Headers": [{"Name": "X-A", "Value": "1"}, {"Name": "X-A", "Value": "2"}]}, "Headers: each field once"),
        ({"Attachments": [{"Name": "x", "Content": "?", "ContentType": "a/b"}]}, "base64"),
        ({"Unknown": 1}, "Unknown: Extra inputs are not permitted"),
    ],
)
def test_what_the_relay_has_not_is_refused(
    postmark: Callable[..., Any], relay: Relay, changes: dict[str, Any], said: str
) -> None:
    code, text = error(postmark().call, "POST", "/email", data=EMAIL | changes)
    assert code == 300
    assert said in text
    assert not relay.listener.commands


def test_templates_are_refused(postmark: Callable[..., Any], relay: Relay) -> None:
    given = {"TemplateId": 1, "TemplateModel": {}, "From": EMAIL["From"], "To": EMAIL["To"]}
    assert error(postmark().emails.send_with_template, **given)[0] == 1101
    assert error(postmark().call, "POST", "/email/batchWithTemplates", data={"Messages": [given]})[0] == 1101
    assert not relay.listener.commands


def test_another_endpoint_is_not_there(postmark: Callable[..., Any]) -> None:
    assert error(postmark().call, "POST", "/email/bulk", data=EMAIL)[0] == 300
    assert error(postmark("unknown").call, "POST", "/email/bulk", data=EMAIL)[0] == 10


@pytest.mark.parametrize("token", ["unknown", SHOP[:-1], NOBODY])
def test_a_token_that_may_not_sends_nothing(postmark: Callable[..., Any], relay: Relay, token: str) -> None:
    assert error(postmark(token).emails.send, **EMAIL)[0] == 10
    assert not relay.listener.commands


def test_a_sender_outside_the_key_s_rights_is_refused(postmark: Callable[..., Any], relay: Relay) -> None:
    code, text = error(postmark().emails.send, **EMAIL | {"From": "a@other.example"})
    assert code == 400
    assert "does not send from a@other.example" in text
    assert not relay.listener.commands


def test_what_the_relay_refuses_is_an_error_of_postmark(postmark: Callable[..., Any], relay: Relay) -> None:
    relay.listener.rcpt = lambda _: "550 5.7.1 this address is suppressed (userunknown)"
    code, text = error(postmark().emails.send, **EMAIL)
    assert code == 406
    assert "Found inactive addresses: x@there.example. Inactive recipients are" in text
    relay.listener.rcpt = lambda _: "550 5.1.1 no"
    assert error(postmark().emails.send, **EMAIL)[0] == 300
    relay.listener.rcpt = lambda _: "451 4.7.1 later"
    assert error(postmark().emails.send, **EMAIL)[0] == 100


def test_the_others_get_it_where_one_is_inactive(postmark: Callable[..., Any], relay: Relay) -> None:
    relay.listener.rcpt = lambda address: (
        "550 5.7.1 this address is suppressed" if address.startswith("y") else "250 ok"
    )
    answer = postmark().emails.send(**EMAIL | {"To": "x@there.example,y@there.example"})
    assert answer["ErrorCode"] == 0
    assert answer["Message"] == "Message OK, but will not deliver to these inactive addresses: y@there.example."


def test_who_has_to_be_tried_again_is_named(postmark: Callable[..., Any], relay: Relay) -> None:
    relay.listener.rcpt = lambda address: "451 4.7.1 later" if address.startswith("y") else "250 ok"
    code, text = error(postmark().emails.send, **EMAIL | {"To": "x@there.example,y@there.example"})
    assert code == 300
    assert "Send it again to these alone: y@there.example." in text


def test_each_message_of_a_batch_has_its_answer(postmark: Callable[..., Any], relay: Relay) -> None:
    relay.listener.rcpt = lambda address: (
        "550 5.7.1 this address is suppressed" if address.startswith("u3") else "250 ok"
    )
    emails = [EMAIL | {"To": f"u{n}@there.example"} for n in range(5)]
    emails[1]["TrackOpens"] = True
    emails[2]["From"] = "a@other.example"
    found = postmark().emails.send_batch(*emails)
    assert [each["ErrorCode"] for each in found] == [0, 300, 400, 406, 0]
    assert sorted(each.recipients[0] for each in relay.taken) == ["u0@there.example", "u4@there.example"]


def test_a_batch_has_a_limit(postmark: Callable[..., Any], relay: Relay) -> None:
    assert error(postmark().call, "POST", "/email/batch", data=[EMAIL] * 501)[0] == 410
    assert postmark().call("POST", "/email/batch", data=[1, None])[0]["ErrorCode"] == 300
    assert postmark().call("POST", "/email/batch", data=[]) == []
    assert not relay.listener.commands


@pytest.mark.parametrize("body", ["[", "3", '"x"', "null"])
def test_what_is_no_message_is_refused(postmark: Callable[..., Any], relay: Relay, body: str) -> None:
    client = postmark()
    answer = client.session.post(f"{relay.url}/email", data=body, headers={"X-Postmark-Server-Token": SHOP})
    assert answer.status_code == 422
    assert answer.json()["ErrorCode"] in {300, 402}
