"""SendGrid by its own client: what it sends arrives, and what the relay has not is refused."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers import mail as helpers

from tests.unit.vendors import NOBODY, SHOP, Relay

MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "x@there.example"}]}],
    "from": {"email": "shop@sender.example"},
    "subject": "Hi",
    "content": [{"type": "text/plain", "value": "Hello"}],
}


@pytest.fixture
def sendgrid(relay: Relay) -> Callable[..., Any]:
    def opened(key: str = SHOP) -> SendGridAPIClient:
        return SendGridAPIClient(key, host=relay.url)

    return opened


def errors(call: Callable[..., Any], given: Any) -> tuple[int, list[dict[str, Any]]]:
    with pytest.raises(HTTPError) as caught:
        call(given)
    return caught.value.status_code, caught.value.to_dict["errors"]


def test_a_message_arrives(sendgrid: Callable[..., Any], relay: Relay) -> None:
    answer = sendgrid().send(
        helpers.Mail(
            from_email=("shop@sender.example", "Grüße, GmbH"),
            to_emails=[("x@there.example", "You"), "y@there.example"],
            subject="Grüße",
            plain_text_content="Hello\n.\n",
            html_content="<p>Hi",
        )
    )
    (taken,), (message,) = relay.taken, relay.messages
    assert (answer.status_code, answer.body) == (202, b"")
    assert message["Message-ID"] == f"<{answer.headers['X-Message-Id']}>"
    assert (taken.sender, taken.recipients) == ("shop@sender.example", ["x@there.example", "y@there.example"])
    assert message["From"].addresses[0].display_name == "Grüße, GmbH"
    assert message["Subject"] == "Grüße"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_a_whole_message_arrives(sendgrid: Callable[..., Any], relay: Relay) -> None:
    mail = helpers.Mail(
        from_email="shop@sender.example", to_emails="x@there.example", subject="Hi", html_content="<img src=cid:logo>"
    )
    mail.add_cc("c@there.example")
    mail.add_bcc("z@there.example")
    mail.reply_to = "r@there.example"
    mail.add_header(helpers.Header("List-Unsubscribe", "<https://sender.example/u>"))
    mail.add_category(helpers.Category("spring"))
    mail.add_custom_arg(helpers.CustomArg("order", "12"))
    mail.add_attachment(
        helpers.Attachment(base64.b64encode(b"%PDF\xff").decode(), "bill.pdf", "application/pdf", "attachment")
    )
    mail.add_attachment(
        helpers.Attachment(base64.b64encode(b"png").decode(), "logo.png", "image/png", "inline", "logo")
    )
    settings = helpers.TrackingSettings()
    settings.click_tracking = helpers.ClickTracking(enable=False, enable_text=False)
    mail.tracking_settings = settings
    sendgrid().send(mail)
    (message,) = relay.messages
    assert relay.taken[0].recipients == ["x@there.example", "c@there.example", "z@there.example"]
    assert (message["Cc"], message["Bcc"], message["Reply-To"]) == ("c@there.example", None, "r@there.example")
    assert message["List-Unsubscribe"] == "<https://sender.example/u>"
    assert [each.get_content() for each in message.iter_attachments() if each.get_filename() == "bill.pdf"] == [
        b"%PDF\xff"
    ]
    assert [part.get_content_disposition() for part in message.walk() if part["Content-ID"] == "<logo>"] == ["inline"]


def test_each_personalization_is_a_message_of_its_own(sendgrid: Callable[..., Any], relay: Relay) -> None:
    mail = helpers.Mail(
        from_email="shop@sender.example",
        to_emails=[
            helpers.To(
                f"u{n}@there.example",
                subject="Hi -name-" if n else None,
                substitutions={"-name-": f"-n{n}-", "-n1-": "no"},
            )
            for n in range(3)
        ],
        subject="Hello -name-",
        plain_text_content="Dear -name-,",
        is_multiple=True,
    )
    assert sendgrid().send(mail).status_code == 202
    found = {each.recipients[0]: message for each, message in zip(relay.taken, relay.messages, strict=True)}
    assert sorted(found) == [f"u{n}@there.example" for n in range(3)]
    assert [found[f"u{n}@there.example"]["Subject"] for n in range(3)] == ["Hello -n0-", "Hi -n1-", "Hi -n2-"]
    assert [found[f"u{n}@there.example"].get_content().strip() for n in range(3)] == [
        "Dear -n0-,",
        "Dear -n1-,",
        "Dear -n2-,",
    ]
    assert {message["To"] for message in found.values()} == set(found)


def test_a_thousand_messages_by_one_request(sendgrid: Callable[..., Any], relay: Relay) -> None:
    everybody = [f"u{n}@there.example" for n in range(1000)]
    given = MAIL | {"personalizations": [{"to": [{"email": each}]} for each in everybody]}
    assert sendgrid().send(given).status_code == 202
    assert sorted(each.recipients[0] for each in relay.taken) == sorted(everybody)
    assert len({each.session for each in relay.taken}) <= 4


def test_large_messages_go_one_after_the_other(sendgrid: Callable[..., Any], relay: Relay) -> None:
    large = [{"type": "text/plain", "value": "ü" * 180_000}]  # of six octets each in JSON
    given = MAIL | {"personalizations": [{"to": [{"email": f"u{n}@there.example"}]} for n in range(6)]}
    assert sendgrid().send(given | {"content": large}).status_code == 202
    assert [each.recipients[0] for each in relay.taken] == [f"u{n}@there.example" for n in range(6)]
    assert {each.session for each in relay.taken} == {1}


def test_the_sandbox_only_looks(sendgrid: Callable[..., Any], relay: Relay) -> None:
    sandbox = {"mail_settings": {"sandbox_mode": {"enable": True}}}
    assert sendgrid().send(MAIL | sandbox).status_code == 200
    assert errors(sendgrid().send, MAIL | sandbox | {"subject": "a\nb"})[0] == 400
    assert not relay.listener.commands


TO = MAIL["personalizations"][0]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"template_id": "d-1"}, None, "template_id: templates are not kept here"),
        ({"personalizations": [TO | {"dynamic_template_data": {"a": 1}}]}, "personalizations.0", "templates are not kept"),
        ({"send_at": 1893456000}, None, "send_at: a message leaves at once"),
        ({"asm": {"group_id": 1}}, None, "unsubscribe groups"),
        ({"ip_pool_name": "x"}, None, "there are no pools"),
        ({"tracking_settings": {"open_tracking": {"enable": True}}}, "tracking_settings", "are not tracked"),
        ({"tracking_settings": {"click_tracking": {"enable": False, "enable_text": True}}}, "tracking_settings", "are not tracked"),
        ({"mail_settings": {"footer": {"enable": True}}}, "mail_settings", "footer is not there"),
        ({"from": {"email": "shop"}}, "from.address", "an address such as"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to", "at least 1 item"),
        ({"personalizations": [TO, {"to": [{"email": "x@"}]}]}, "personalizations.to.0.address", "an address such as"),
        ({"personalizations": [{"to": [{"email": f"u{n}@a.example"} for n in range(501)]}] * 2}, "personalizations", "1000 recipients in all"),
        ({"subject": "a\nb"}, "subject", "without line breaks"),
        ({"headers": {"Bcc": "y@there.example"}}, "headers", "other header fields than Bcc"),
        ({"content": [{"type": "text/calendar", "value": "x"}]}, "content", "text/plain, text/html or both"),
        ({"content": [{"type": "text/html", "value": "x"}] * 2}, "content", "each once"),
        ({"attachments": [{"content": "?", "filename": "x"}]}, "attachments.0.content", "base64"),
        ({"custom_args": {"a": "x" * 400}}, "categories.0", "at most 300 characters"),
        ({"unknown": 1}, "unknown", "not permitted"),
    ],
)  # fmt: skip
def test_what_the_relay_has_not_is_refused(
    sendgrid: Callable[..., Any], relay: Relay, changes: dict[str, Any], field: str | None, said: str
) -> None:
    status, found = errors(sendgrid().send, MAIL | changes)
    assert (status, found[0]["field"]) == (400, field)
    assert said in found[0]["message"]
    assert not relay.listener.commands


@pytest.mark.parametrize(("key", "status"), [("SG.unknown", 401), (SHOP[:-1], 401), (NOBODY, 403)])
def test_a_key_that_may_not_sends_nothing(sendgrid: Callable[..., Any], relay: Relay, key: str, status: int) -> None:
    assert errors(sendgrid(key).send, MAIL)[0] == status
    assert not relay.listener.commands


@pytest.mark.parametrize(
    "changes",
    [
        {"from": {"email": "a@other.example"}},
        {"personalizations": [TO, TO | {"from": {"email": "a@other.example"}}]},
    ],
)
def test_a_sender_outside_the_key_s_rights_is_refused(
    sendgrid: Callable[..., Any], relay: Relay, changes: dict[str, Any]
) -> None:
    status, found = errors(sendgrid().send, MAIL | changes)
    assert (status, found[0]["field"]) == (403, "from")
    assert "does not send from a@other.example" in found[0]["message"]
    assert not relay.listener.commands


def test_what_the_relay_refuses_is_an_error_of_sendgrid(sendgrid: Callable[..., Any], relay: Relay) -> None:
    relay.listener.rcpt = lambda _: "550 5.7.1 this address is suppressed (userunknown)"
    status, found = errors(sendgrid().send, MAIL)
    assert (status, found) == (
        400,
        [{"message": "5.7.1 this address is suppressed (userunknown)", "field": None, "help": None}],
    )
    relay.listener.rcpt = lambda _: "451 4.7.1 later"
    assert errors(sendgrid().send, MAIL)[0] == 503
    relay.listener.password = b"another"
    relay.listener.end_sessions()
    assert errors(sendgrid().send, MAIL)[0] == 503


def test_of_several_messages_those_to_be_sent_again_are_named(sendgrid: Callable[..., Any], relay: Relay) -> None:
    given = MAIL | {"personalizations": [{"to": [{"email": f"u{n}@there.example"}]} for n in range(3)]}
    relay.listener.rcpt = lambda address: "550 5.1.1 no" if address.startswith("u1") else "250 ok"
    assert sendgrid().send(given).status_code == 202
    relay.listener.rcpt = lambda address: "451 4.7.1 later" if address.startswith("u1") else "250 ok"
    status, found = errors(sendgrid().send, given)
    assert status == 400
    assert found[0]["message"] == "Accepted for 2 of 3 recipients. Send it again to these alone: u1@there.example."


def test_another_endpoint_is_not_there(sendgrid: Callable[..., Any]) -> None:
    for key, status in ((SHOP, 404), ("unknown", 401)):
        with pytest.raises(HTTPError) as caught:
            sendgrid(key).client.templates.get()
        assert caught.value.status_code == status
        assert caught.value.to_dict["errors"][0]["message"]


def test_what_is_no_json_is_refused(sendgrid: Callable[..., Any]) -> None:
    with pytest.raises(HTTPError) as caught:
        sendgrid().client.mail.send.post(request_body="[")
    assert json.loads(caught.value.body)["errors"]
