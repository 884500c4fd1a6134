"""The MIME that the API makes of fields, as another parser reads it; and what no field may hold."""

import email
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from postroad.web import compose
from postroad.web.sending import Message, MessageByFields

BASE: dict[str, Any] = {"from": "a@sender.example", "to": ["x@there.example"], "subject": "hi", "text": "Hello"}


def body(**changes: Any) -> MessageByFields:
    found = Message.model_validate(BASE | changes).root
    assert isinstance(found, MessageByFields)
    return found


def octets(**changes: Any) -> bytes:
    given = body(**changes)
    names = ("from_", "to", "cc", "reply_to", "subject", "text", "html", "attachments", "headers")
    return compose.message(compose.Fields(**{name: getattr(given, name) for name in names}), "<1@mail.sender.example>")


def parsed(**changes: Any) -> EmailMessage:
    found = email.message_from_bytes(octets(**changes), policy=policy.default)
    assert isinstance(found, EmailMessage)
    assert not found.defects
    return found


def content(part: Any) -> Any:
    found = part.get_content()
    return found.replace("\r\n", "\n").rstrip("\n") if isinstance(found, str) else found


def test_a_message_of_text() -> None:
    found = parsed(text="Grüße\n.\n\nvon hier")
    assert (found["From"], found["To"], found["Subject"]) == ("a@sender.example", "x@there.example", "hi")
    assert (found["Message-ID"], found["MIME-Version"]) == ("<1@mail.sender.example>", "1.0")
    assert found["Date"].endswith("+0000")
    assert found["Bcc"] is None
    assert content(found) == "Grüße\n.\n\nvon hier"


def test_every_line_is_7_bit_and_short_and_ends_in_crlf() -> None:
    made = octets(
        text="ü" * 5000 + "\n" + "x" * 5000,
        html="<p>" + "한" * 5000,
        subject="한국어 제목 " * 40,
        to=[f"이름 {number} <user{number}@there.example>" for number in range(300)],
        headers={"List-Unsubscribe": f"<https://www.sender.example/{'u' * 800}>"},
    )
    assert made.isascii()
    assert made.count(b"\n") == made.count(b"\r\n") == made.count(b"\r")
    assert max(map(len, made.split(b"\r\n"))) <= 998


def test_a_long_url_in_a_field_stays_as_it_is() -> None:
    """Receivers read List-Unsubscribe as it stands, and know no encoded words in it."""
    url = f"<https://www.sender.example/{'u' * 800}>"
    assert f"List-Unsubscribe: {url}\r\n".encode() in octets(headers={"List-Unsubscribe": url})


def test_names_and_subjects_of_any_language_come_back_as_they_were() -> None:
    name, subject = 'Grüße, "한국어" <x> (y); \\ z', "제목 😀 =?utf-8?q?x?="
    found = parsed(**{"from": {"address": "a@sender.example", "name": name}, "subject": subject})
    (mailbox,) = found["From"].addresses
    assert (mailbox.display_name, mailbox.addr_spec) == (name, "a@sender.example")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x@there.example", ""),
        ("<x@there.example>", ""),
        ("User Name <x@there.example>", "User Name"),
        ('"Name, User" <x@there.example>', "Name, User"),
        (r'"A \"B\" C" <x@there.example> ', 'A "B" C'),
    ],
)
def test_a_mailbox_as_text(text: str, name: str) -> None:
    (found,) = body(to=[text]).to
    assert (found.address, found.name) == ("x@there.example", name)


HOSTILE = (
    "",
    "x",
    "@there.example",
    "x@",
    "x@there..example",
    "x y@there.example",
    "x@there.example, y@there.example",
    "x@there.example>",
    "<x@there.example> <y@there.example>",
    "x@there.example\r\nRCPT TO:<y@there.example>",
    "x@there.example\n",
    "x@there.example\0",
    "x@[127.0.0.1]",
    "x@localhost@there.example",
    '"x y"@there.example',
    "x.@there.example",
    ".x@there.example",
    "x..y@there.example",
    "x(comment)@there.example",
    "@hop.example:x@there.example",
    "ü@there.example",
    "x@thére.example",
    "x@there.example NOTIFY=NEVER",
    "x" * 65 + "@there.example",
    "x@" + "d" * 64 + ".example",
    "x@" + "d.example" * 40,
    "a;b@there.example",
    "a,b@there.example",
    "undisclosed-recipients:;",
    "\u202ex@there.example",
    "x@there.example\u2028y",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["from", "to", "cc", "bcc", "reply_to", "return_path", "object"])
def test_what_is_no_address_gets_nowhere(text: str, field: str) -> None:
    if field == "return_path" and text == "<x@there.example>":
        return
    value: Any = [text] if field in {"to", "cc", "bcc", "reply_to"} else text
    changes = {"to": [{"address": text}]} if field == "object" else {field: value}
    with pytest.raises(ValidationError):
        Message.model_validate(BASE | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "hi\r\nBcc: y@there.example"},
        {"subject": "hi\nX: y"},
        {"subject": "hi\u2028there"},
        {"subject": "hi\x00"},
        {"subject": "x" * 901},
        {"from": {"address": "a@sender.example", "name": "A\r\nBcc: y@there.example"}},
        {"to": [{"address": "x@there.example", "name": "A\nB"}]},
        {"text": "a\0b"},
        {"text": "a\x1bb"},
        {"html": "a\x7fb"},
        {"headers": {"X-A": "b\r\nBcc: y@there.example"}},
        {"headers": {"X-A": "b\n"}},
        {"headers": {"X-A": ""}},
        {"headers": {"X-A": "b" * 901}},
        {"headers": {"X-A": "ü" * 451}},
        {"headers": {"X A": "b"}},
        {"headers": {"X-A:": "b"}},
        {"headers": {"X-A\r\nBcc": "y@there.example"}},
        {"headers": {"": "b"}},
        {"headers": {"Ü": "b"}},
        {"headers": {"X-A": "b", "x-a": "c"}},
        *({"headers": {name: "x@there.example"}} for name in ("From", "bcc", "TO", "Sender", "Message-Id", "DATE")),
        *(
            {"headers": {name: "x"}}
            for name in ("Content-Type", "DKIM-Signature", "Resent-From", "Received", "ARC-Seal")
        ),
        {"headers": {f"X-{number}": "b" for number in range(51)}},
        {"attachments": [{"filename": "a\r\nb.txt", "content": ""}]},
        {"attachments": [{"filename": "", "content": ""}]},
        {"attachments": [{"filename": "a", "content": "%%%"}]},
        {"attachments": [{"filename": "a", "content": "YQ"}]},
        {"attachments": [{"filename": "a", "content": 3}]},
        {"attachments": [{"filename": "a", "content": "YQ==", "type": "text/html; charset=x"}]},
        {"attachments": [{"filename": "a", "content": "YQ==", "type": "a/b\r\nX: y"}]},
        {"attachments": [{"filename": "a", "content": "YQ==", "type": "message/rfc822"}]},
        {"attachments": [{"filename": "a", "content": "YQ==", "type": "multipart/mixed"}]},
        {"attachments": [{"filename": "a", "content": "YQ==", "content_id": "a>\r\nX: <b"}]},
        {"to": [f"u{number}@there.example" for number in range(1001)]},
        {"unknown": 1},
        {"from_": "a@sender.example"},
        {"to": "x@there.example"},
        {"text": 5},
        {"idempotency_key": ""},
        {"idempotency_key": "a b"},
        {"idempotency_key": "k" * 256},
        {"idempotency_key": "ü"},
    ],
)
def test_hostile_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Message.model_validate(BASE | changes)


def test_text_html_pictures_and_files_are_where_they_belong() -> None:
    found = parsed(
        html='<img src="cid:logo">',
        attachments=[
            {"filename": "logo.png", "content": "iVBO\nRw==", "type": "image/png", "content_id": "logo"},
            {"filename": "Rechnung für Ü.pdf", "content": "JVBERg==", "type": "application/pdf"},
            {"filename": "a.txt", "content": "w7w=", "type": "text/plain"},
        ],
    )
    assert found.get_content_type() == "multipart/mixed"
    alternative, pdf, text = found.iter_parts()
    plain, related = alternative.iter_parts()
    html, picture = related.iter_parts()
    assert [part.get_content_type() for part in (alternative, plain, related, html, picture, pdf, text)] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png", "application/pdf",
        "text/plain",
    ]  # fmt: skip
    assert (picture["Content-ID"], picture.get_content_disposition(), content(picture)) == (
        "<logo>",
        "inline",
        b"\x89PNG"[:4],
    )
    assert (pdf.get_filename(), content(pdf)) == ("Rechnung für Ü.pdf", b"%PDF")
    assert text.get_payload(decode=True) == "ü".encode()


def test_html_alone_and_a_picture_without_html() -> None:
    found = parsed(text=None, html="<p>한")
    assert (found.get_content_type(), content(found)) == ("text/html", "<p>한")
    picture = {"filename": "p.png", "content": "iVBORw==", "type": "image/png", "content_id": "p"}
    assert parsed(attachments=[picture]).get_content_type() == "multipart/mixed"


def test_recipients_that_no_field_may_name() -> None:
    assert parsed(to=[], bcc=["x@there.example"])["To"] == "undisclosed-recipients:;"
    assert parsed(to=[], cc=["x@there.example"])["To"] is None


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Co", "Cn"]) | st.just(" "))


@given(
    name=PRINTABLE.filter(lambda text: len(text) <= 200),
    subject=PRINTABLE,
    text=st.text(st.characters(exclude_categories=["Cc", "Cs"])),
)
def test_no_text_makes_a_field_or_a_recipient_more(name: str, subject: str, text: str) -> None:
    given = {"from": {"address": "a@sender.example", "name": name}, "subject": subject[:900], "text": text}
    made = octets(**given)
    head, _, _ = made.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert sorted(names) == sorted(
        [
            b"From",
            b"To",
            b"Subject",
            b"Date",
            b"Message-ID",
            b"Content-Type",
            b"Content-Transfer-Encoding",
            b"MIME-Version",
        ]
    )
    found = email.message_from_bytes(made, policy=policy.default)
    assert [mailbox.addr_spec for mailbox in found["From"].addresses] == ["a@sender.example"]
