"""Mailgun's endpoints: forms of both kinds, recipient variables, and what is refused. Its client: test_web_npm.py."""

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
import requests

from postroad.web import forms
from tests.unit.api import put
from tests.unit.vendors import BOARD, NOBODY, SHOP, Relay

MAIL: dict[str, Any] = {"from": "Shop <shop@sender.example>", "to": "x@there.example", "subject": "Hi", "text": "Hello"}
DOMAIN = "sender.example"


def post(
    relay: Relay, data: Any, key: str = SHOP, domain: str = DOMAIN, mime: str = "", **more: Any
) -> tuple[int, Any]:
    url = f"{relay.url}/v3/{domain}/messages{mime}"
    answer = requests.post(url, data=data, timeout=60, auth=("api", key), **more)
    return answer.status_code, answer.json()


def several(given: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(given.items())


def test_a_message_arrives(relay: Relay) -> None:
    data = several(
        MAIL
        | {"from": "Grüße GmbH <shop@sender.example>", "subject": "Grüße", "html": "<p>Hi", "cc": "c@there.example"}
    )
    data += [("to", '"Doe, J" <y@there.example>, z@there.example'), ("bcc", "b@there.example")]
    data += [("h:List-Unsubscribe", "<https://sender.example/u>"), ("h:Reply-To", "R <r@there.example>")]
    data += [("o:tag", "a"), ("o:tag", "b"), ("v:order", "12"), ("o:tracking", "no"), ("o:dkim", "yes")]
    files = [
        ("attachment", ("bill.pdf", b"%PDF\r\n--x\0\xff", "application/pdf")),
        ("inline", ("logo.png", b"png", "image/png")),
    ]
    status, answer = post(relay, data, files=files)
    assert (status, answer["message"]) == (200, "Queued. Thank you.")
    (taken,), (message,) = relay.taken, relay.messages
    assert message["Message-ID"] == answer["id"]
    assert taken.recipients == [f"{name}@there.example" for name in "xyzcb"]
    assert [each.display_name for each in message["To"].addresses] == ["", "Doe, J", ""]
    assert message["From"].addresses[0].display_name == "Grüße GmbH"
    assert (message["Subject"], message["Cc"], message["Bcc"], message["Reply-To"]) == (
        "Grüße",
        "c@there.example",
        None,
        "R <r@there.example>",
    )
    assert [each.get_content() for each in message.iter_attachments() if each.get_filename() == "bill.pdf"] == [
        b"%PDF\r\n--x\0\xff"
    ]
    assert [part["Content-ID"] for part in message.walk() if part.get_filename() == "logo.png"] == ["<logo.png>"]


def test_a_form_without_files_may_be_urlencoded(relay: Relay) -> None:
    assert post(relay, MAIL | {"text": "a+b&c=ü"})[0] == 200
    assert relay.messages[0].get_content().strip() == "a+b&c=ü"


def test_with_recipient_variables_each_gets_a_message_of_its_own(relay: Relay) -> None:
    variables = {f"u{n}@there.example": {"name": f"N{n}", "id": n, "more": "%recipient.name%"} for n in range(3)}
    data = MAIL | {
        "to": ["You <u0@there.example>", "u1@there.example, u2@there.example"],
        "subject": "Hi %recipient.name%",
        "html": "<a href='https://x.example/?i=%recipient.id%&e=%recipient%'>100%</a> %recipient.more%",
        "h:List-Unsubscribe": "<https://x.example/u?%recipient.id%>, <%tag_unsubscribe_email%>",
        "recipient-variables": json.dumps(variables),
    }
    assert post(relay, data)[0] == 200
    found = {each.recipients[0]: message for each, message in zip(relay.taken, relay.messages, strict=True)}
    assert sorted(found) == sorted(variables)
    one = found["u1@there.example"]
    assert (one["To"], one["Subject"]) == ("u1@there.example", "Hi N1")
    assert one["List-Unsubscribe"] == "<https://x.example/u?1>"
    html = one.get_body(("html",))
    assert html
    assert "?i=1&e=u1@there.example'>100%</a> %recipient.name%" in html.get_content()
    assert found["u0@there.example"]["To"] == "You <u0@there.example>"


def test_an_empty_set_of_variables_keeps_recipients_from_each_other_too(relay: Relay) -> None:
    assert post(relay, MAIL | {"to": "x@there.example,y@there.example", "recipient-variables": "{}"})[0] == 200
    assert sorted(each["To"] for each in relay.messages) == ["x@there.example", "y@there.example"]


def test_mime_leaves_as_it_is(relay: Relay) -> None:
    raw = b"From: Shop <shop@sender.example>\r\nMessage-ID: <own@x>\r\nSubject: raw\r\n\r\n.\r\nHi\r\n"
    status, answer = post(
        relay, [("to", "x@there.example"), ("o:tag", "a")], mime=".mime", files={"message": ("m.eml", raw)}
    )
    assert (status, answer["id"]) == (200, "<own@x>")
    assert relay.taken[0].data == raw
    assert post(relay, {"to": "x@there.example"}, mime=".mime")[0] == 400
    assert post(relay, MAIL, mime=".mime", files={"message": ("m.eml", raw)})[0] == 400
    assert post(relay, MAIL, files={"message": ("m.eml", raw)})[0] == 400
    assert (
        post(relay, {"to": "x@there.example"}, mime=".mime", files={"message": ("m.eml", b"Subject: x\r\n\r\n")})[0]
        == 400
    )
    assert len(relay.taken) == 1


def test_the_test_mode_sends_nothing(relay: Relay) -> None:
    assert post(relay, MAIL | {"o:testmode": "yes"})[0] == 200
    assert post(relay, MAIL | {"o:testmode": "yes", "subject": "a\nb"})[0] == 400
    assert not relay.listener.commands


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"o:tracking-opens": "yes"}, "o:tracking-opens: a request without it: opens are not tracked"),
        ({"o:tracking-clicks": "htmlonly"}, "clicks are not tracked"),
        ({"o:deliverytime": "Fri, 14 Oct 2026 23:10:10 -0000"}, "o:deliverytime: a request without it"),
        ({"o:dkim": "no"}, "o:dkim"),
        ({"o:testmode": "perhaps"}, "o:testmode"),
        ({"template": "x"}, "template: a request without it"),
        ({"t:variables": "{}"}, "t:variables"),
        ({"amp-html": "x"}, "amp-html"),
        ({"h:Bcc": "y@there.example"}, "h:: other header fields than Bcc"),
        ({"h:Sender": "other@sender.example"}, "h:Sender: the address in from"),
        ({"h:X-A": "1", "h:x-a": "2"}, "x-a: give it once"),
        ({"from": "shop"}, "from: addresses with a domain"),
        ({"from": ["a@sender.example", "b@sender.example"]}, "from: give it once"),
        ({"from": "a@sender.example, b@sender.example"}, "from: one mailbox"),
        ({"to": ""}, "to: 1 to 1000 recipients"),
        ({"to": "team: x@there.example;"}, "to: addresses with a domain"),
        ({"subject": "a\nb"}, "subject"),
        ({"text": "%unsubscribe_url%"}, "text: no %unsubscribe_url%"),
        ({"h:List-Unsubscribe": "<%unsubscribe_email%>"}, "h:List-Unsubscribe: no %unsubscribe_email%"),
        ({"h:List-Unsubscribe": "<%tag_unsubscribe_email%>, <%unsubscribe_url%>"}, "no %unsubscribe_url%"),
        ({"text": "%recipient.name%"}, "text: no %recipient.name%"),
        ({"text": "%recipient.name%", "recipient-variables": '{"x@there.example": {"name": {"a": 1}}}'}, "has not for x@there.example"),
        ({"subject": "%recipient.a%", "recipient-variables": '{"x@there.example": {"a": "b\\nBcc: z"}}'}, "subject: text without line breaks"),
        ({"recipient-variables": "[]"}, "recipient-variables: JSON"),
        ({"recipient-variables": "{"}, "recipient-variables: JSON"),
        ({"recipient-variables": "{}", "cc": "c@there.example"}, "no cc and no bcc"),
        ({"to": ",".join(f"u{n}@a.example" for n in range(1001))}, "1 to 1000"),
        ({"o:tag": "x" * 400}, "o:tag"),
        ({"unknown": "1"}, "unknown: a request without it"),
    ],
)  # fmt: skip
def test_what_the_relay_has_not_is_refused(relay: Relay, changes: dict[str, Any], said: str) -> None:
    status, answer = post(relay, MAIL | changes)
    assert status == 400
    assert said in answer["message"]
    assert not relay.listener.commands


def test_a_sender_that_says_the_same_as_from_is_left_out(relay: Relay) -> None:
    assert post(relay, MAIL | {"h:Sender": "Shop <Shop@sender.example>"})[0] == 200
    assert relay.messages[0]["Sender"] is None


def test_of_a_thousand_messages_none_leaves_where_one_is_not_accepted(relay: Relay) -> None:
    variables = {f"u{n}@there.example": {"name": "x" if n < 999 else "a\nb"} for n in range(1000)}
    data = MAIL | {"to": list(variables), "subject": "%recipient.name%", "recipient-variables": json.dumps(variables)}
    assert post(relay, data)[0] == 400
    assert not relay.listener.commands


@pytest.mark.parametrize(
    "auth", [None, ("api", ""), ("api", "unknown"), ("api", SHOP[:-1]), ("key", SHOP), ("api:" + SHOP, "")]
)
def test_nobody_sends_without_a_key(relay: Relay, auth: tuple[str, str] | None) -> None:
    answer = requests.post(f"{relay.url}/v3/{DOMAIN}/messages", data=MAIL, timeout=60, auth=auth)
    assert (answer.status_code, answer.json()) == (401, {"message": "Invalid private key"})
    assert not relay.listener.commands


@pytest.mark.parametrize("header", ["Basic", "Basic ?", f"Bearer {SHOP}", "Basic YXBpOg==" * 100, "Basic Og=="])
def test_nobody_sends_with_another_header(relay: Relay, header: str) -> None:
    answer = requests.post(
        f"{relay.url}/v3/{DOMAIN}/messages", data=MAIL, timeout=60, headers={"Authorization": header}
    )
    assert answer.status_code == 401
    assert not relay.listener.commands


@pytest.mark.parametrize(("key", "status"), [(NOBODY, 403), (BOARD, 403)])
def test_a_key_without_the_right_sends_nothing(relay: Relay, key: str, status: int) -> None:
    assert post(relay, MAIL, key)[0] == status
    assert not relay.listener.commands


def test_a_domain_outside_the_key_s_rights_is_refused(relay: Relay) -> None:
    for domain in ("other.example", "sender.example.", "%2e%2e"):
        status, answer = post(relay, MAIL, domain=domain)
        assert status == 404
        assert "message" in answer or answer["title"] == "Not found"
    status, answer = post(relay, MAIL | {"from": "a@other.example"})
    assert status == 400
    assert "does not send from a@other.example" in answer["message"]
    assert not relay.listener.commands


def test_what_the_relay_refuses_is_an_error_of_mailgun(relay: Relay) -> None:
    relay.listener.rcpt = lambda _: "550 5.1.1 no"
    assert post(relay, MAIL) == (400, {"message": "5.1.1 no"})
    relay.listener.rcpt = lambda _: "451 4.7.1 later"
    assert post(relay, MAIL)[0] == 503
    relay.listener.rcpt = lambda address: "451 4.7.1 later" if address.startswith("y") else "250 ok"
    data = MAIL | {"to": "x@there.example,y@there.example", "recipient-variables": "{}"}
    status, answer = post(relay, data)
    assert (status, answer["message"]) == (
        400,
        "Accepted for 1 of 2 recipients. Send it again to these alone: y@there.example.",
    )


@pytest.mark.parametrize(("key", "status"), [(SHOP, 404), ("unknown", 401)])
def test_another_endpoint_is_not_there(relay: Relay, key: str, status: int) -> None:
    answer = requests.get(f"{relay.url}/v3/{DOMAIN}/templates", auth=("api", key), timeout=60)
    assert (answer.status_code, list(answer.json())) == (status, ["message"])


# --- events


def events(relay: Relay, query: str = "", key: str = SHOP, domain: str = DOMAIN) -> tuple[int, Any]:
    answer = requests.get(f"{relay.url}/v3/{domain}/events{query}", auth=("api", key), timeout=60)
    return answer.status_code, answer.json()


def test_events_come_in_pages_in_either_order(relay: Relay) -> None:
    for n in range(3):
        put(relay.engine, f"q{n}", "accepted", "delivered", ago=3000 - n * 1000, recipient=f"u{n}@there.example")
    for order, wanted in (("yes", ["u0", "u1", "u2"]), ("no", ["u2", "u1", "u0"])):
        found, path = [], ""
        while True:
            status, answer = events(relay, f"{path}?event=delivered&limit=2&ascending={order}")
            assert status == 200
            if not answer["items"]:
                break
            found += [each["recipient"][:2] for each in answer["items"]]
            path = "/" + answer["paging"]["next"].rpartition("/")[2]
        assert found == wanted
    assert len(events(relay)[1]["items"]) == 6
    assert [each["recipient"][:2] for each in events(relay, "?recipient=U1@there.example")[1]["items"]] == ["u1"]
    assert events(relay, "?event=opened")[1]["items"] == []
    now = time.time()
    between = f"?event=delivered&begin={now - 2500}&end={formatdate(now - 1500)}"
    assert [each["recipient"][:2] for each in events(relay, between)[1]["items"]] == ["u1"]


@pytest.mark.parametrize(
    "query",
    [
        "?event=exploded",
        "?limit=301",
        "?begin=yesterday",
        "?ascending=perhaps",
        "?subject=x",
        "?limit=1&limit=2",
        "/x",
        "/-1",
    ],
)
def test_parameters_of_events_that_are_not_accepted(relay: Relay, query: str) -> None:
    status, answer = events(relay, query)
    assert (status, list(answer)) == (400, ["message"])


def test_events_are_those_of_the_key_s_domains(relay: Relay) -> None:
    put(relay.engine, "q1", "accepted", "delivered", sender="a@other.example")
    assert events(relay)[1]["items"] == []
    assert events(relay, domain="other.example")[0] == 404
    assert events(relay, key=NOBODY)[0] == 403
    assert events(relay, key="unknown")[0] == 401


# --- forms


def multipart(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


NAMED = b'Content-Disposition: form-data; name="a"\r\n\r\n'


def many() -> Iterator[bytes]:
    for _ in range(forms.MOST + 1):
        yield NAMED + b"x"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b"a=b"),
        ("text/plain", b"a=b"),
        ("multipart/form-data", multipart(NAMED + b"x")),
        ("multipart/form-data; boundary=" + "b" * 300, b""),
        ("multipart/form-data; boundary=b", b"a=b"),
        ("multipart/form-data; boundary=b", multipart(NAMED + b"x", end=b"")),
        ("multipart/form-data; boundary=b", multipart(b"Content-Type: text/plain\r\n\r\nx")),
        ("multipart/form-data; boundary=b", multipart(b'Content-Disposition: attachment; name="a"\r\n\r\nx')),
        ("multipart/form-data; boundary=b", multipart(b'Content-Disposition: form-data; name="\xff"\r\n\r\nx')),
        ("multipart/form-data; boundary=b", multipart(*many())),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * (forms.MOST + 1))),
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(forms.FormError):
        forms.read(kind, body)


def test_a_form_s_fields_come_in_their_order() -> None:
    body = multipart(
        NAMED + b"1",
        b'Content-Disposition: form-data; name="f"; filename="x.bin"\r\nContent-Type: a/b\r\n\r\n\r\n--\xff',
        NAMED,
    )
    found = forms.read("multipart/form-data; boundary=b", body)
    assert [(each.name, each.content, each.filename, each.type) for each in found] == [
        ("a", b"1", "", ""),
        ("f", b"\r\n--\xff", "x.bin", "a/b"),
        ("a", b"", "", ""),
    ]
    with pytest.raises(forms.FormError, match="f is not in UTF-8"):
        assert found[1].text
