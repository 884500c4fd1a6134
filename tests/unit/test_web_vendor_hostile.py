"""Whatever a request to a vendor's endpoint holds, the answer is one of the vendor's, and no fault of ours."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from postroad.web import app, forms, vendor
from postroad.web.services import Services
from postroad.web.submission import Outcome, Submission
from tests.unit import vendors
from tests.unit.api import SETTINGS
from tests.unit.vendors import SHOP

BASE = "http://mail.sender.example"
WORDS = [
    "Content", "Simple", "Raw", "Data", "Subject", "Body", "Text", "Html", "FromEmailAddress", "Destination", "ToAddresses",
    "EmailTags", "Name", "Value", "Headers", "Attachments", "personalizations", "to", "from", "email", "subject", "content",
    "type", "value", "substitutions", "headers", "categories", "custom_args", "mail_settings", "tracking_settings", "enable",
    "sandbox_mode", "attachments", "reply_to", "From", "To", "TextBody", "HtmlBody", "Metadata", "Tag", "TrackLinks",
    "MessageStream", "text/plain", "shop@sender.example", "x@there.example", "eA==", "", "a\nb", "\0", "\ud800", "ü",
    "=?utf-8?b?/w==?=", "%recipient.a%", "(" * 50, "<" * 50,
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=25,
)
GOOD: dict[str, Any] = {
    "ses": {
        "FromEmailAddress": "shop@sender.example",
        "Destination": {"ToAddresses": ["x@there.example"]},
        "Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "y"}}}},
    },
    "sendgrid": {
        "personalizations": [{"to": [{"email": "x@there.example"}], "substitutions": {"a": "b"}}],
        "from": {"email": "shop@sender.example"},
        "subject": "x",
        "content": [{"type": "text/plain", "value": "y"}],
    },
    "postmark": {"From": "shop@sender.example", "To": "x@there.example", "Subject": "x", "TextBody": "y"},
}


def by_ses(client: TestClient, body: bytes) -> Any:
    request = AWSRequest("POST", f"{BASE}/v2/email/outbound-emails", {"Content-Type": "application/json"}, body)
    SigV4Auth(Credentials("shop", SHOP), "ses", "eu-west-1").add_auth(request)
    return client.post("/v2/email/outbound-emails", content=body, headers=dict(request.headers))


def by_sendgrid(client: TestClient, body: bytes) -> Any:
    return client.post("/v3/mail/send", content=body, headers={"Authorization": f"Bearer {SHOP}"})


def by_postmark(client: TestClient, body: bytes) -> Any:
    return client.post("/email", content=body, headers={"X-Postmark-Server-Token": SHOP})


ASK: dict[str, Callable[[TestClient, bytes], Any]] = {"ses": by_ses, "sendgrid": by_sendgrid, "postmark": by_postmark}
FORM = {"ses": {"message"}, "sendgrid": {"errors"}, "postmark": {"ErrorCode", "Message"}}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The application before a relay that takes everything."""
    given_settings = replace(SETTINGS, keys=vendors.KEYS, vendors=vendors.VENDORS)
    services = Services(given_settings, Path("/nowhere"))
    taken = Outcome(250, "2.0.0 q1 Message accepted for delivery", "q1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Submission, "hand_over", lambda _, __, ___, recipients, ____: dict.fromkeys(recipients, taken))
        patch.setattr("postroad.web.sending.Sender.keep_tags", lambda *_: None)
        made = app.make(given_settings, services.operations(), (), services.vendors)
        yield TestClient(made, base_url=BASE, raise_server_exceptions=True)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()  # with NaN and lone surrogates, as a careless client has them


@pytest.mark.parametrize("name", list(ASK))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=JSON)
def test_any_json_is_answered(client: TestClient, name: str, value: Any) -> None:
    answer = ASK[name](client, dumped(value))
    assert answer.status_code in {200, 202, 400, 403, 413, 422}, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()) == FORM[name]


def changed(value: Any, path: list[int], other: Any) -> Any:
    """The value with another at one place, chosen by numbers."""
    if not path or not isinstance(value, dict | list) or not value:
        return other
    if isinstance(value, dict):
        name = list(value)[path[0] % len(value)]
        return value | {name: changed(value[name], path[1:], other)}
    at = path[0] % len(value)
    return [*value[:at], changed(value[at], path[1:], other), *value[at + 1 :]]


@pytest.mark.parametrize("name", list(ASK))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=st.lists(st.integers(0, 5), min_size=1, max_size=5), other=JSON)
def test_a_good_request_with_anything_in_one_place_is_answered(
    client: TestClient, name: str, path: list[int], other: Any
) -> None:
    assert ASK[name](client, dumped(GOOD[name])).status_code in {200, 202}
    answer = ASK[name](client, dumped(changed(GOOD[name], path, other)))
    assert answer.status_code in {200, 202, 400, 403, 422}, answer.text


FIELDS = st.sampled_from([
    "from", "to", "cc", "bcc", "subject", "text", "html", "o:tag", "o:testmode", "o:tracking", "v:a", "h:Reply-To", "h:Sender",
    "h:X-A", "h:", "recipient-variables", "attachment", "message", "template", "", "v:", "o:",
])  # fmt: skip
VALUES = st.sampled_from(WORDS) | JSON.map(json.dumps) | st.text(max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(fields=st.lists(st.tuples(FIELDS, VALUES), max_size=6), mime=st.booleans(), multipart=st.booleans())
def test_any_form_is_answered(client: TestClient, fields: list[tuple[str, str]], mime: bool, multipart: bool) -> None:
    given_fields = [("from", b"shop@sender.example"), ("to", b"x@there.example")]
    given_fields += [(name, value.encode(errors="replace")) for name, value in fields]
    if multipart:
        kind = "multipart/form-data; boundary=b"
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n'.encode() + v + b"\r\n" for n, v in given_fields
        ]
        body = b"".join(parts) + b"--b--\r\n"
    else:
        kind, body = "application/x-www-form-urlencoded", urlencode(given_fields).encode()
    path = f"/v3/sender.example/messages{'.mime' if mime else ''}"
    answer = client.post(path, content=body, headers={"Content-Type": kind}, auth=("api", SHOP))
    assert answer.status_code in {200, 400}, answer.text
    assert "message" in answer.json()


@given(
    kind=st.sampled_from(
        ["multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "multipart/form-data", ""]
    )
    | st.text(st.characters(max_codepoint=255), max_size=40),
    body=st.lists(
        st.sampled_from(
            [
                b"--b",
                b"--",
                b"\r\n",
                b"\n",
                b'Content-Disposition: form-data; name="a"',
                b"\r\n\r\n",
                b"x",
                b"=",
                b"&",
                b"%",
            ]
        )
        | st.binary(max_size=8),
        max_size=20,
    ).map(b"".join),
)
def test_no_form_is_a_fault_of_ours(kind: str, body: bytes) -> None:
    try:
        found = forms.read(kind, body)
    except forms.FormError:
        return
    assert all(each.name or not body.startswith(b"--") for each in found)


def test_the_vendors_are_all_of_them() -> None:
    assert {*ASK, "mailgun"} == set(vendors.VENDORS)
    assert vendor.Form.ABSENT == {}
