"""SES by AWS' own client: what it sends arrives, what the relay has not is refused, and nobody forges a signature."""

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.auth
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.web import operations, sigv4
from postroad.web.problems import Problem
from tests.unit import vendors
from tests.unit.vendors import BOARD, NOBODY, SHOP, Relay

SIMPLE: dict[str, Any] = {
    "FromEmailAddress": "Grüße GmbH <shop@sender.example>",
    "Destination": {"ToAddresses": ["You <x@there.example>", "y@there.example"], "BccAddresses": ["z@there.example"]},
    "Content": {
        "Simple": {"Subject": {"Data": "Grüße"}, "Body": {"Text": {"Data": "Hello\n.\n"}, "Html": {"Data": "<p>Hi"}}}
    },
}
Opened = Callable[..., Any]


@pytest.fixture
def ses(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a client: its address and its key are all that differs from one of AWS'."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def opened(name: str = "shop", key: str = SHOP, **more: Any) -> Any:
        return boto3.client(
            "sesv2",
            endpoint_url=relay.url,
            aws_access_key_id=name,
            aws_secret_access_key=key,
            region_name="eu-west-1",
            **more,
        )

    return opened


def changed(changes: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The request with changes, at any depth."""
    found = dict(SIMPLE if given is None else given)
    for name, value in changes.items():
        found[name] = changed(value, found.get(name, {})) if isinstance(value, dict) else value
    return found


def error(call: Callable[..., Any], **given: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**given)
    found = caught.value.response
    return found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"], found["Error"]["Message"]


def test_a_simple_message_arrives(ses: Opened, relay: Relay) -> None:
    answer = ses().send_email(**SIMPLE)
    (taken,), (message,) = relay.taken, relay.messages
    assert taken.sender == "shop@sender.example"
    assert taken.recipients == ["x@there.example", "y@there.example", "z@there.example"]
    assert taken.user == "app@mail.sender.example"
    assert message["Message-ID"] == f"<{answer['MessageId']}>"
    assert message["From"].addresses[0].display_name == "Grüße GmbH"
    assert [each.display_name for each in message["To"].addresses] == ["You", ""]
    assert message["Bcc"] is None
    assert message["Subject"] == "Grüße"
    bodies = [part.get_content().replace("\r\n", "\n") for part in message.iter_parts()]
    assert bodies == ["Hello\n.\n", "<p>Hi\n"]


def test_a_whole_message_arrives(ses: Opened, relay: Relay) -> None:
    simple = {
        "Headers": [{"Name": "List-Unsubscribe", "Value": "<https://sender.example/u?a=1>"}],
        "Attachments": [
            {
                "FileName": "bill.pdf",
                "RawContent": b"%PDF\0\xff",
                "ContentType": "application/pdf",
                "ContentDisposition": "ATTACHMENT",
            },
            {
                "FileName": "logo.png",
                "RawContent": b"png",
                "ContentType": "image/png",
                "ContentId": "logo",
                "ContentDisposition": "INLINE",
            },
        ],
    }
    given = changed({"Content": {"Simple": simple}, "ReplyToAddresses": ["r@there.example"]})
    ses().send_email(
        **given,
        FeedbackForwardingEmailAddress="bounces@sender.example",
        EmailTags=[{"Name": "campaign", "Value": "spring"}],
    )
    (message,) = relay.messages
    assert relay.taken[0].sender == "bounces@sender.example"
    assert message["Reply-To"] == "r@there.example"
    assert message["List-Unsubscribe"] == "<https://sender.example/u?a=1>"
    (bill,) = message.iter_attachments()
    assert (bill.get_filename(), bill.get_content_type(), bill.get_content()) == (
        "bill.pdf",
        "application/pdf",
        b"%PDF\0\xff",
    )
    (logo,) = [part for part in message.walk() if part["Content-ID"] == "<logo>"]
    assert (logo.get_content_disposition(), logo.get_content()) == ("inline", b"png")


def test_names_may_be_encoded_words(ses: Opened, relay: Relay) -> None:
    ses().send_email(**changed({"FromEmailAddress": "=?utf-8?B?R3LDvMOfZQ==?= <shop@sender.example>"}))
    assert relay.messages[0]["From"].addresses[0].display_name == "Grüße"


def raw(**fields: str) -> bytes:
    message = EmailMessage()
    for name, value in {"From": "Shop <shop@sender.example>", "Subject": "raw", **fields}.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hello\n")
    return message.as_bytes()


def test_a_raw_message_leaves_as_it_is(ses: Opened, relay: Relay) -> None:
    data = raw(To="other@there.example", Message_ID="<own@sender.example>")
    answer = ses().send_email(Content={"Raw": {"Data": data}}, Destination={"ToAddresses": ["x@there.example"]})
    (taken,) = relay.taken
    assert (taken.sender, taken.recipients) == ("shop@sender.example", ["x@there.example"])
    assert taken.data == data.replace(b"\n", b"\r\n")
    assert answer["MessageId"] == "own@sender.example"


def test_a_raw_message_without_a_destination_goes_to_those_in_its_header(ses: Opened, relay: Relay) -> None:
    data = raw(To='"Doe, J" <x@there.example>, y@there.example', Cc="c@there.example", Bcc="z@there.example")
    answer = ses().send_email(Content={"Raw": {"Data": data}})
    (taken,) = relay.taken
    assert taken.recipients == ["x@there.example", "y@there.example", "c@there.example", "z@there.example"]
    assert answer["MessageId"].startswith("4AQ"), "the queue id: the message has no Message-ID of its own"


@pytest.mark.parametrize("rules", [policy.SMTP, policy.default, policy.compat32])
def test_fields_of_a_raw_message_may_be_folded(ses: Opened, relay: Relay, rules: Any) -> None:
    everybody = [f"user-with-a-long-name-{n}@there.example" for n in range(30)]
    message = EmailMessage(policy.default)
    message["From"] = "Shop <shop@sender.example>"
    message["To"] = ", ".join(f'"Doe, J {n}, of some department" <{each}>' for n, each in enumerate(everybody))
    message.set_content("Hello\n")
    data = message.as_bytes(policy=rules)
    assert b"\n " in data
    ses().send_email(Content={"Raw": {"Data": data}})
    assert relay.taken[0].recipients == everybody


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Content": {"Template": {"TemplateName": "x", "TemplateData": "{}"}}}, "templates are not kept here"),
        ({"ConfigurationSetName": "x"}, "ConfigurationSetName: there are no configuration sets"),
        ({"ListManagementOptions": {"ContactListName": "x"}}, "there are no contact lists"),
        ({"FromEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:1:identity/x"}, "there are no ARNs"),
        ({"TenantName": "x"}, "there are no tenants"),
        ({"FromEmailAddress": "shop"}, "FromEmailAddress"),
        ({"FromEmailAddress": "a@sender.example, b@sender.example"}, "one mailbox"),
        ({"FromEmailAddress": "team: a@sender.example;"}, "no groups"),
        ({"Destination": {"ToAddresses": ["x@there.example\nBcc: y@there.example"]}}, "Destination.ToAddresses"),
        ({"Destination": {"ToAddresses": [], "BccAddresses": []}}, "1 to 1000 recipients"),
        ({"Content": {"Simple": {"Subject": {"Data": "a\nb"}}}}, "Content.Simple.Subject.Data"),
        ({"Content": {"Simple": {"Headers": [{"Name": "Bcc", "Value": "y@there.example"}]}}}, "Content.Simple.Headers"),
        ({"Content": {"Simple": {"Headers": [{"Name": "X-A", "Value": "1"}, {"Name": "X-A", "Value": "2"}]}}}, "each field once"),
        ({"Content": {"Raw": {"Data": b"From: a@sender.example\n\nx"}}}, "either Simple or Raw"),
        ({"EmailTags": [{"Name": "a", "Value": "x" * 400}]}, "EmailTags"),
    ],
)  # fmt: skip
def test_what_the_relay_has_not_is_refused(ses: Opened, relay: Relay, given: dict[str, Any], said: str) -> None:
    status, code, text = error(ses().send_email, **changed(given))
    assert (status, code) == (400, "BadRequestException")
    assert said in text
    assert not relay.listener.commands


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (raw(To="x@there.example", X_SES_CONFIGURATION_SET="x"), "without X-SES-CONFIGURATION-SET"),
        (b"Subject: x\n\nx", "a sender here"),
        (b"From: shop@sender.example\nTo: x@there.example, <y\n\nx", "Content.Raw.Data: To"),
        (b"From: shop@sender.example\nTo: x@there.example\n\na\rb\n", "line ends"),
        (b"From: shop@sender.example\n\nx", "Destination"),
    ],
)
def test_a_raw_message_that_is_not_plain_is_refused(ses: Opened, relay: Relay, data: bytes, said: str) -> None:
    status, code, text = error(ses().send_email, Content={"Raw": {"Data": data}})
    assert (status, code) == (400, "BadRequestException")
    assert said in text
    assert not relay.listener.commands


def test_a_sender_outside_the_key_s_rights_is_refused(ses: Opened, relay: Relay) -> None:
    for given in (
        changed({"FromEmailAddress": "a@other.example"}),
        {"Content": {"Raw": {"Data": raw(To="x@there.example")}}, "FromEmailAddress": "a@other.example"},
    ):
        status, code, text = error(ses().send_email, **given)
        assert (status, code) == (400, "MessageRejected")
        assert "does not send from a@other.example" in text
    assert not relay.listener.commands


def test_what_the_relay_refuses_is_an_error_of_ses(ses: Opened, relay: Relay) -> None:
    relay.listener.rcpt = lambda _: "550 5.7.1 this address is suppressed (userunknown)"
    assert error(ses().send_email, **SIMPLE)[:2] == (400, "MessageRejected")
    relay.listener.rcpt = lambda _: "451 4.7.1 later"
    once = ses(config=Config(retries={"total_max_attempts": 1}))
    assert error(once.send_email, **SIMPLE)[:2] == (429, "TooManyRequestsException")


def test_the_others_get_it_where_one_is_refused_for_good(ses: Opened, relay: Relay) -> None:
    relay.listener.rcpt = lambda address: "550 5.1.1 no" if address.startswith("y") else "250 ok"
    assert ses().send_email(**SIMPLE)["MessageId"]
    assert relay.taken[0].recipients == ["x@there.example", "z@there.example"]


def test_who_has_to_be_tried_again_is_named_and_the_client_does_not_repeat_it(ses: Opened, relay: Relay) -> None:
    relay.listener.rcpt = lambda address: "451 4.7.1 later" if address.startswith("y") else "250 ok"
    status, code, text = error(ses().send_email, **SIMPLE)
    assert (status, code) == (400, "MessageRejected")
    assert text == "Accepted for 2 of 3 recipients. Send it again to these alone: y@there.example."
    assert len(relay.taken) == 1


def test_a_relay_that_takes_nothing_is_tried_again(ses: Opened, relay: Relay) -> None:
    relay.listener.password = b"another"
    once = ses(config=Config(retries={"total_max_attempts": 1}))
    assert error(once.send_email, **SIMPLE)[:2] == (503, "ServiceUnavailableException")


# --- signatures


@pytest.mark.parametrize(
    ("name", "key", "code"),
    [
        ("shop", SHOP[:-1] + "x", "InvalidSignatureException"),
        ("nobody", SHOP, "InvalidSignatureException"),
        ("stranger", SHOP, "UnrecognizedClientException"),
        ("nobody", NOBODY, "AccessDeniedException"),
    ],
)
def test_a_key_that_is_not_the_name_s_sends_nothing(ses: Opened, relay: Relay, name: str, key: str, code: str) -> None:
    assert error(ses(name, key).send_email, **SIMPLE)[:2] == (403, code)
    assert not relay.listener.commands


def test_a_session_token_is_refused(ses: Opened) -> None:
    found = error(ses(aws_session_token="token").send_email, **SIMPLE)
    assert found[:2] == (403, "UnrecognizedClientException")


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_skewed_clock_is_refused(ses: Opened, relay: Relay, minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    skewed = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: skewed)
    status, code, text = error(ses().send_email, **SIMPLE)
    assert (status, code) == (403, "InvalidSignatureException")
    assert "Set the client's clock" in text
    assert not relay.listener.commands


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_a_little_off_is_none_of_our_business(
    ses: Opened, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: near)
    assert ses().send_email(**SIMPLE)["MessageId"]


@pytest.fixture
def came(ses: Opened) -> tuple[str, str, dict[str, str], bytes]:
    """A request as AWS' client signs it: method, path, header, body; it is not sent."""
    found: list[Any] = []
    client = ses()

    class CaughtError(Exception):
        pass

    def catch(request: Any, **_: Any) -> None:
        found.append(request)
        raise CaughtError

    client.meta.events.register("before-send.sesv2.*", catch)
    with pytest.raises(CaughtError):
        client.send_email(**SIMPLE)
    (request,) = found
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    return request.method, urlsplit(request.url).path, headers, request.body


def sent(relay: Relay, method: str, path: str, headers: dict[str, Any], body: bytes) -> tuple[int, str]:
    address = urlsplit(relay.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, values in ({"Host": address.netloc} | headers).items():
            for value in values if isinstance(values, list) else [values]:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-amzn-ErrorType") or answer.read().decode()
    finally:
        connection.close()


def test_a_request_may_be_sent_as_it_was_signed(came: Any, relay: Relay) -> None:
    assert sent(relay, *came)[0] == 200


FORGED: list[Callable[[dict[str, Any]], None]] = [
    lambda headers: headers.pop("Authorization"),
    lambda headers: headers.update(Authorization=[headers["Authorization"]] * 2),
    lambda headers: headers.update(Authorization="AWS4-HMAC-SHA256"),
    lambda headers: headers.update(Authorization=headers["Authorization"].replace("SHA256", "SHA1")),
    lambda headers: headers.update(Authorization=headers["Authorization"] + ", Signature=" + "0" * 64),
    lambda headers: headers.update(Authorization=headers["Authorization"][:-64] + "0" * 64),
    lambda headers: headers.update(Authorization=headers["Authorization"][:-1]),
    lambda headers: headers.update(Authorization=headers["Authorization"].replace("/eu-west-1/", "/eu-west-2/")),
    lambda headers: headers.update(Authorization=headers["Authorization"].replace("/ses/", "/s3/")),
    lambda headers: headers.update(Authorization=headers["Authorization"].replace("host;", "")),
    lambda headers: headers.update(
        Authorization=headers["Authorization"].replace("host;x-amz-date", "x-amz-date;host")
    ),
    lambda headers: headers.update(Authorization=headers["Authorization"].replace("host;", "host;x-absent;")),
    lambda headers: headers.update(Host="other.example"),
    lambda headers: headers.update({"Content-Type": "application/json; charset=utf-7"}),
    lambda headers: headers.update({"X-Amz-Target": "unsigned"}),
    lambda headers: headers.update({"X-Amz-Date": "20200101T000000Z"}),
    lambda headers: headers.update({"X-Amz-Date": "now"}),
    lambda headers: headers.pop("X-Amz-Date"),
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_changed_header_is_refused(came: Any, relay: Relay, forge: Callable[[dict[str, Any]], None]) -> None:
    method, path, headers, body = came
    forge(headers)
    status, code = sent(relay, method, path, headers, body)
    assert status == 403, code
    assert code in {"InvalidSignatureException", "IncompleteSignatureException", "MissingAuthenticationTokenException"}
    assert not relay.listener.commands


def test_a_changed_body_path_query_or_method_is_refused(came: Any, relay: Relay) -> None:
    method, path, headers, body = came
    for changes in (
        (method, path, headers, body.replace(b"x@there", b"q@there")),
        (method, f"{path}?a=b", headers, body),
        ("PUT", path, headers, body),
        (method, path.replace("emails", "email%73"), headers, body),
    ):
        assert sent(relay, *changes) == (403, "InvalidSignatureException"), changes
    assert not relay.listener.commands


def test_a_day_later_nothing_of_a_signature_holds(came: Any) -> None:
    headers = [(name.lower().encode(), str(value).encode()) for name, value in came[2].items()]
    headers.append((b"host", b"x"))
    assert sigv4.claim(headers, "ses").access_key == "shop"
    with pytest.raises(sigv4.SignatureError, match="more than 5 minutes"):
        sigv4.claim(headers, "ses", datetime.now(UTC) + timedelta(days=1))


def test_large_bodies_of_nobody_leave_room_for_others() -> None:
    whole = operations.Budget(100)
    share = whole.share(60)
    share.take(50)
    for part, octets in ((share, 20), (whole, 60)):
        with pytest.raises(Problem):
            part.take(octets)
    whole.take(50)
    share.give(50)
    whole.take(50)


# --- suppressions


def suppressed(relay: Relay) -> dict[tuple[str, str], str]:
    return {(each.recipient, each.sender_domain): each.reason for each in listing.entries(relay.engine)}


def test_a_destination_is_suppressed_and_let_go(ses: Opened, relay: Relay) -> None:
    client, begun = ses("board", BOARD), datetime.now(UTC) - timedelta(seconds=5)
    client.put_suppressed_destination(EmailAddress="Gone+1/%41@there.example", Reason="BOUNCE")
    client.put_suppressed_destination(EmailAddress="angry@there.example", Reason="COMPLAINT")
    assert suppressed(relay) == {("gone+1/%41@there.example", ""): "bounce", ("angry@there.example", ""): "complaint"}
    found = client.get_suppressed_destination(EmailAddress="gone+1/%41@there.example")["SuppressedDestination"]
    assert (found["EmailAddress"], found["Reason"]) == ("gone+1/%41@there.example", "BOUNCE")
    assert begun < found["LastUpdateTime"] < datetime.now(UTC) + timedelta(seconds=5)
    client.delete_suppressed_destination(EmailAddress="gone+1/%41@there.example")
    assert list(suppressed(relay)) == [("angry@there.example", "")]
    for call in (client.get_suppressed_destination, client.delete_suppressed_destination):
        assert error(call, EmailAddress="gone+1/%41@there.example")[:2] == (404, "NotFoundException")


def test_the_list_comes_in_pages_and_by_reason_and_time(ses: Opened, relay: Relay) -> None:
    now = time.time()
    with relay.engine.begin() as connection:
        suppression.add(
            connection,
            [
                SuppressedAddress(
                    f"u{n}@there.example", "complaint" if n % 2 else "userunknown", now - 3600 * n, None, None
                )
                for n in range(5)
            ],
        )
    client = ses("board", BOARD)
    pages = [client.list_suppressed_destinations(PageSize=2)]
    while token := pages[-1].get("NextToken"):
        pages.append(client.list_suppressed_destinations(PageSize=2, NextToken=token))
    found = [each["EmailAddress"] for page in pages for each in page["SuppressedDestinationSummaries"]]
    assert found == [f"u{n}@there.example" for n in range(5)]
    assert [len(page["SuppressedDestinationSummaries"]) for page in pages] == [2, 2, 1]

    def named(**given: Any) -> list[str]:
        answer = client.list_suppressed_destinations(**given)
        return [each["EmailAddress"][:2] for each in answer["SuppressedDestinationSummaries"]]

    assert named(Reasons=["COMPLAINT"]) == ["u1", "u3"]
    assert named(Reasons=["COMPLAINT", "BOUNCE"]) == ["u0", "u1", "u2", "u3", "u4"]
    hours = [datetime.fromtimestamp(now - 3600 * n - 60, UTC) for n in range(5)]
    assert named(StartDate=hours[2], EndDate=hours[0]) == ["u1", "u2"]


def test_a_key_of_some_domains_changes_its_own_entries_alone(ses: Opened, relay: Relay) -> None:
    own, board = ses(), ses("board", BOARD)
    own.put_suppressed_destination(EmailAddress="a@there.example", Reason="BOUNCE")
    board.put_suppressed_destination(EmailAddress="b@there.example", Reason="BOUNCE")
    assert set(suppressed(relay)) == {("a@there.example", "sender.example"), ("b@there.example", "")}
    assert len(own.list_suppressed_destinations()["SuppressedDestinationSummaries"]) == 2
    own.delete_suppressed_destination(EmailAddress="a@there.example")
    status, code, text = error(own.delete_suppressed_destination, EmailAddress="b@there.example")
    assert (status, code) == (403, "AccessDeniedException")
    assert "suppressed for all senders" in text
    assert set(suppressed(relay)) == {("b@there.example", "")}
    board.delete_suppressed_destination(EmailAddress="b@there.example")


def test_a_key_without_the_right_sees_no_list(ses: Opened) -> None:
    assert error(ses("nobody", NOBODY).list_suppressed_destinations)[:2] == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("put_suppressed_destination", {"EmailAddress": "nobody", "Reason": "BOUNCE"}),
        ("put_suppressed_destination", {"EmailAddress": "a@b.example", "Reason": "SPITE"}),
        ("put_suppressed_destination", {"EmailAddress": "a@b.example", "Reason": "BOUNCE", "TenantName": "x"}),
        ("get_suppressed_destination", {"EmailAddress": "nobody"}),
        ("list_suppressed_destinations", {"PageSize": 1001}),
        ("list_suppressed_destinations", {"NextToken": "x"}),
        ("list_suppressed_destinations", {"TenantName": "x"}),
    ],
)
def test_values_of_the_list_that_are_not_accepted(ses: Opened, call: str, given: dict[str, Any]) -> None:
    assert error(getattr(ses("board", BOARD), call), **given)[:2] == (400, "BadRequestException")


def test_another_operation_is_unknown(ses: Opened) -> None:
    assert error(ses().get_account)[:2] == (404, "UnknownOperationException")
    assert error(ses().create_contact_list, ContactListName="x")[:2] == (404, "UnknownOperationException")
    assert error(ses("stranger").get_account)[:2] == (403, "UnrecognizedClientException")


def test_without_the_vendor_there_is_no_such_path(engine: Any, listener: Any, tmp_path: Any) -> None:
    with vendors.serving(engine, listener, tmp_path / "gen-1", vendors=()) as url:
        assert (
            sent(Relay(url, listener, engine), "POST", "/v2/email/outbound-emails", {"Content-Length": "0"}, b"")[0]
            == 404
        )
