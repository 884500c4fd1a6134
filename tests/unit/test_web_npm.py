"""The vendors' own SDKs for Node.js, with another address and key: `make sdks` installs them."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.store import tags
from postroad.store.tags import Tagged
from tests.unit import npm
from tests.unit.api import put
from tests.unit.vendors import BOARD, NOBODY, SHOP, Relay

pytestmark = pytest.mark.node


def called(relay: Relay, sdk: str, *calls: list[Any], key: str = SHOP, **more: Any) -> list[dict[str, Any]]:
    return npm.called(relay.url, sdk, *calls, key=key, **more)


SIMPLE: dict[str, Any] = {
    "FromEmailAddress": "Shop <shop@sender.example>",
    "Destination": {"ToAddresses": ["x@there.example"]},
    "Content": {"Simple": {"Subject": {"Data": "Grüße"}, "Body": {"Text": {"Data": "Hello"}}}},
}


def test_ses(relay: Relay) -> None:
    address = "a+b/c'(d)*!@there.example"
    sent, put, got, listed, gone, template = called(
        relay,
        "ses",
        ["SendEmail", SIMPLE],
        ["PutSuppressedDestination", {"EmailAddress": address, "Reason": "COMPLAINT"}],
        ["GetSuppressedDestination", {"EmailAddress": address}],
        ["ListSuppressedDestinations", {"Reasons": ["COMPLAINT", "BOUNCE"], "PageSize": 10}],
        ["DeleteSuppressedDestination", {"EmailAddress": address}],
        ["SendEmail", SIMPLE | {"Content": {"Template": {"TemplateName": "x", "TemplateData": "{}"}}}],
    )
    assert relay.messages[0]["Message-ID"] == f"<{sent['answer']['MessageId']}>"
    assert relay.messages[0]["Subject"] == "Grüße"
    assert "error" not in put
    assert got["answer"]["SuppressedDestination"]["Reason"] == "COMPLAINT"
    assert [each["EmailAddress"] for each in listed["answer"]["SuppressedDestinationSummaries"]] == [address]
    assert "error" not in gone
    assert (template["error"]["name"], template["error"]["status"]) == ("BadRequestException", 400)
    assert "templates are not kept here" in template["error"]["message"]


@pytest.mark.parametrize(
    ("name", "key", "error"),
    [("shop", NOBODY, "InvalidSignatureException"), ("stranger", SHOP, "UnrecognizedClientException"), ("nobody", NOBODY, "AccessDeniedException")],
)  # fmt: skip
def test_ses_refuses_who_may_not(relay: Relay, name: str, key: str, error: str) -> None:
    (found,) = called(relay, "ses", ["SendEmail", SIMPLE], key=key, name=name)
    assert (found["error"]["name"], found["error"]["status"]) == (error, 403)
    assert not relay.listener.commands


MAIL: dict[str, Any] = {
    "to": "x@there.example",
    "from": "Shop <shop@sender.example>",
    "subject": "Grüße",
    "text": "Hello",
}


def test_sendgrid(relay: Relay) -> None:
    file = {"content": "JVBERv8=", "filename": "bill.pdf", "type": "application/pdf", "disposition": "attachment"}
    people = ["u1@there.example", {"name": "You", "email": "u2@there.example"}]
    sent, several, filled, template = called(
        relay,
        "sendgrid",
        [
            "send",
            MAIL | {"html": "<p>Hi", "attachments": [file], "replyTo": "r@there.example", "categories": ["spring"]},
        ],
        ["sendMultiple", MAIL | {"to": people}],
        [
            "send",
            MAIL
            | {
                "text": "Dear {{name}},",
                "personalizations": [{"to": "z@there.example", "substitutions": {"name": "Z"}}],
            },
        ],
        ["send", MAIL | {"templateId": "d-1", "dynamicTemplateData": {"a": 1}}],
    )
    assert sent["answer"]["status"] == 202
    assert relay.messages[0]["Message-ID"] == f"<{sent['answer']['id']}>"
    (bill,) = relay.messages[0].iter_attachments()
    assert bill.get_content() == b"%PDF\xff"
    assert (several["answer"]["status"], filled["answer"]["status"]) == (202, 202)
    assert sorted(each.recipients[0] for each in relay.taken[1:3]) == ["u1@there.example", "u2@there.example"]
    assert relay.messages[3].get_content().strip() == "Dear Z,"
    assert template["error"]["code"] == 400
    assert "templates are not kept here" in template["error"]["body"]["errors"][0]["message"]


@pytest.mark.parametrize(("key", "code"), [("SG.unknown", 401), (NOBODY, 403)])
def test_sendgrid_refuses_who_may_not(relay: Relay, key: str, code: int) -> None:
    (found,) = called(relay, "sendgrid", ["send", MAIL], key=key)
    assert found["error"]["code"] == code
    assert found["error"]["body"]["errors"]
    assert not relay.listener.commands


def ghost(number: int) -> dict[str, Any]:
    """A newsletter as Ghost hands it to the client."""
    everybody = [f"u{n}@there.example" for n in range(number)]
    link = "https://blog.example/unsubscribe/?uuid="
    return {
        "to": everybody,
        "from": '"The Blog" <shop@sender.example>',
        "h:Reply-To": "shop@sender.example",
        "subject": "Grüße",
        "html": f'<p>Dear %recipient.name%, <a href="{link}%recipient.uuid%">no more</a> 100%</p>',
        "text": "Dear %recipient.name%,",
        "recipient-variables": json.dumps({
            each: {"name": f"N{n}", "uuid": f"{n}", "unsubscribe_url": f"{link}{n}", "list_unsubscribe": f"{link}{n}"}
            for n, each in enumerate(everybody)
        }),
        "h:Sender": '"The Blog" <shop@sender.example>',
        "h:Auto-Submitted": "auto-generated",
        "h:X-Auto-Response-Suppress": "OOF, AutoReply",
        "h:List-Unsubscribe": "<%recipient.list_unsubscribe%>, <%tag_unsubscribe_email%>",
        "h:List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "v:email-id": "650000000000000000000001",
        "o:tag": ["ghost-email", "blog"],
    }  # fmt: skip


def test_mailgun_as_ghost_uses_it(relay: Relay) -> None:
    (sent,) = called(relay, "mailgun", ["create", "sender.example", ghost(1000)])
    assert sent["answer"]["message"] == "Queued. Thank you."
    found = {each.recipients[0]: message for each, message in zip(relay.taken, relay.messages, strict=True)}
    assert len(found) == 1000
    assert sent["answer"]["id"] in {each["Message-ID"] for each in found.values()}
    one = found["u7@there.example"]
    assert (one["To"], one["Subject"], one["Auto-Submitted"]) == ("u7@there.example", "Grüße", "auto-generated")
    assert one["List-Unsubscribe"] == "<https://blog.example/unsubscribe/?uuid=7>"
    assert one["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert one["Reply-To"] == "shop@sender.example"
    text = one.get_body(("plain",))
    assert text
    assert text.get_content().strip() == "Dear N7,"


def test_mailgun_refuses_what_is_not_there_and_who_may_not(relay: Relay) -> None:
    given = ghost(2)
    opens, domain, subject = called(
        relay,
        "mailgun",
        ["create", "sender.example", given | {"o:tracking-opens": True}],
        ["create", "other.example", given],
        ["create", "sender.example", given | {"from": "a@other.example"}],
    )
    assert (opens["error"]["status"], domain["error"]["status"], subject["error"]["status"]) == (400, 404, 400)
    assert "opens are not tracked" in opens["error"]["details"]
    (found,) = called(relay, "mailgun", ["create", "sender.example", given], key="unknown")
    assert found["error"]["status"] == 401
    assert not relay.listener.commands


def test_mailgun_s_events_as_ghost_reads_them(relay: Relay) -> None:
    tag = ["bulk-email", "email-id=650000000000000000000001"]
    for n, kind in enumerate(["delivered", "bounced", "delivered", "delivered"]):
        tags.put(relay.engine, [Tagged(f"<q{n}@x>", "app@sender.example", tag if n != 2 else ["other"])])
        put(relay.engine, f"q{n}", "accepted", "deferred", kind, recipient=f"u{n}@there.example")
    put(relay.engine, "q9", "accepted", "delivered", sender="a@other.example")
    begin = time.time() - 3600
    given = {
        "limit": 2, "event": "delivered OR opened OR failed OR unsubscribed OR complained", "tags": "bulk-email",
        "begin": begin, "ascending": "yes",
    }  # fmt: skip
    found: list[Any] = []
    page: str | None = None
    for _ in range(10):
        (answer,) = called(relay, "mailgun", ["events", "sender.example", given | ({"page": page} if page else {})])
        if not answer["answer"]["items"]:
            break
        found += answer["answer"]["items"]
        page = answer["answer"]["pages"]["next"]["page"]
    assert [(each["event"], each.get("severity"), each["recipient"][:2]) for each in found] == [
        ("failed", "temporary", "u0"), ("delivered", None, "u0"), ("failed", "temporary", "u1"),
        ("failed", "permanent", "u1"), ("failed", "temporary", "u3"), ("delivered", None, "u3"),
    ]  # fmt: skip
    assert {each["user-variables"]["email-id"] for each in found} == {"650000000000000000000001"}
    assert found[3]["message"]["headers"]["message-id"] == "q1@x"
    assert found[3]["delivery-status"] == {"code": 550, "message": "550 5.1.1 User unknown", "enhanced-code": "5.1.1"}
    assert begin < found[0]["timestamp"] < time.time()


def test_mailgun_s_lists_as_ghost_takes_addresses_from_them(relay: Relay) -> None:
    with relay.engine.begin() as connection:
        entries = [
            SuppressedAddress("a+b@there.example", "userunknown", 1.0, None, None, domain)
            for domain in ("", "sender.example")
        ]
        suppression.add(connection, [*entries, replace(entries[0], recipient="c@there.example")])
    own, again, unknown, alone = called(
        relay,
        "mailgun",
        ["destroy", "sender.example", "bounces", "a+b@there.example"],
        ["destroy", "sender.example", "complaints", "a+b@there.example"],
        ["destroy", "sender.example", "unsubscribes", "none@there.example"],
        ["destroy", "other.example", "bounces", "a+b@there.example"],
    )
    assert own["answer"]["address"] == "a+b@there.example"
    assert [each["error"]["status"] for each in (again, unknown, alone)] == [403, 404, 404]
    assert {(each.recipient, each.sender_domain) for each in listing.entries(relay.engine)} == {
        ("a+b@there.example", ""),
        ("c@there.example", ""),
    }
    (found,) = called(relay, "mailgun", ["destroy", "sender.example", "bounces", "c@there.example"], key=BOARD)
    assert found["answer"]["address"] == "c@there.example"
    (found,) = called(relay, "mailgun", ["destroy", "sender.example", "bounces", "a+b@there.example"], key=NOBODY)
    assert found["error"]["status"] == 403


def test_mailgun_s_files_arrive(relay: Relay) -> None:
    data = {"from": "shop@sender.example", "to": ["x@there.example"], "subject": "Hi", "text": "Hello"}
    file = {"filename": "bill.txt", "data": "a\nb"}
    (sent,) = called(relay, "mailgun", ["create", "sender.example", data | {"attachment": [file], "o:testmode": False}])
    assert sent["answer"]["message"] == "Queued. Thank you."
    (bill,) = relay.messages[0].iter_attachments()
    assert (bill.get_filename(), bill.get_payload(decode=True)) == ("bill.txt", b"a\nb")


EMAIL: dict[str, Any] = {
    "From": "shop@sender.example", "To": "x@there.example", "Subject": "Grüße", "TextBody": "Hello",
}  # fmt: skip


def test_postmark(relay: Relay) -> None:
    relay.listener.rcpt = lambda address: (
        "550 5.7.1 this address is suppressed" if address.startswith("d") else "250 ok"
    )
    sent, batch, dead, tracked, template = called(
        relay,
        "postmark",
        [
            "sendEmail",
            EMAIL | {"MessageStream": "outbound", "TrackLinks": "None", "TrackOpens": False, "Tag": "spring"},
        ],
        ["sendEmailBatch", [EMAIL, EMAIL | {"TrackOpens": True}]],
        ["sendEmail", EMAIL | {"To": "d@there.example"}],
        ["sendEmail", EMAIL | {"TrackOpens": True}],
        ["sendEmailWithTemplate", {"TemplateId": 1, "TemplateModel": {}, "From": EMAIL["From"], "To": EMAIL["To"]}],
    )
    assert (sent["answer"]["ErrorCode"], sent["answer"]["Message"]) == (0, "OK")
    assert [each["ErrorCode"] for each in batch["answer"]] == [0, 300]
    assert (dead["error"]["name"], dead["error"]["code"]) == ("InactiveRecipientsError", 406)
    assert (tracked["error"]["name"], tracked["error"]["code"]) == ("InvalidEmailRequestError", 300)
    assert template["error"]["code"] == 1101
    assert len(relay.taken) == 2


@pytest.mark.parametrize("key", ["unknown", NOBODY])
def test_postmark_refuses_who_may_not(relay: Relay, key: str) -> None:
    (found,) = called(relay, "postmark", ["sendEmail", EMAIL], key=key)
    assert (found["error"]["name"], found["error"]["code"]) == ("InvalidAPIKeyError", 10)
    assert not relay.listener.commands
