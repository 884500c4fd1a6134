"""What comes back: bounces in many words, complaints, and what is neither."""

import email.message
import email.policy
from email.generator import BytesGenerator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroad.returns import message
from postroad.returns.found import Bounce, Complaint, Failure, Other, UnreadableError
from postroad.returns.reading import read

pytestmark = pytest.mark.usefixtures("whole_returned")

ORIGINAL = """Return-Path: <bxyz@bounces.x.example>
From: App <app@x.example>
To: u@y.example
Subject: Hello
Message-ID: <1@x.example>

Hi
"""


def report(
    kind: str, inner_type: str, fields: str, text: str = "It failed.", original: str = ORIGINAL, head: str = ""
) -> bytes:
    return f"""From: MAILER-DAEMON@y.example
To: bxyz@bounces.x.example
Subject: Undelivered Mail
{head}MIME-Version: 1.0
Content-Type: multipart/report; report-type={kind}; boundary="b1"

--b1
Content-Type: text/plain

{text}

--b1
Content-Type: message/{inner_type}

{fields}
--b1
Content-Type: message/rfc822

{original}
--b1--
""".encode()


DSN = """Reporting-MTA: dns; mx.y.example
Arrival-Date: Thu, 26 Nov 2026 07:52:15 GMT

Final-Recipient: rfc822; u@inner.y.example
Original-Recipient: rfc822;u@y.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; store.y.example
Diagnostic-Code: smtp; 550 5.1.1 <u@inner.y.example>: Recipient address
    rejected: User unknown
"""


def text_message(body: str, head: str = "", subject: str = "failure notice") -> bytes:
    return f"From: MAILER-DAEMON@y.example\nTo: b@bounces.x.example\nSubject: {subject}\n{head}\n{body}".encode()


def test_a_notification_by_its_fields() -> None:
    assert read(report("delivery-status", "delivery-status", DSN)) == Bounce(
        (
            Failure(
                ("u@y.example", "u@inner.y.example"),
                "5.1.1",
                "550 5.1.1 <u@inner.y.example>: Recipient address rejected: User unknown",
                "store.y.example",
            ),
        )
    )


def test_two_recipients_of_which_one_is_delayed() -> None:
    fields = DSN + "\nFinal-Recipient: rfc822; v@y.example\nAction: delayed\nStatus: 4.4.1\n"
    found = read(report("delivery-status", "delivery-status", fields))
    assert isinstance(found, Bounce)
    assert [each.recipients[0] for each in found.failures] == ["u@y.example"]


@pytest.mark.parametrize(
    ("action", "what"),
    [("delayed", "delayed"), ("relayed", "delivered"), ("delivered", "delivered"), ("expanded (list)", "delivered")],
)
def test_what_is_no_failure(action: Any, what: Any) -> None:
    assert read(
        report("delivery-status", "delivery-status", DSN.replace("Action: failed", f"Action: {action}"))
    ) == Other(what)


def test_the_words_of_a_server_that_runs_no_dns_diagnostics() -> None:
    """A status without a diagnostic, an action with a comment, an address in brackets: as some write it."""
    fields = "Reporting-MTA: dns; y\n\nFinal-Recipient: <u@y.example>\nAction: failed (bad)\nStatus: 5.2.2 (full)\n"
    assert read(report("delivery-status", "delivery-status", fields)) == Bounce((Failure(("u@y.example",), "5.2.2"),))


@pytest.mark.parametrize(
    ("content", "recipient", "said"),
    [
        (  # Exim
            text_message(
                "This message was created automatically by mail delivery software.\n\nA message that you sent could not be"
                " delivered to one or more of its\nrecipients. This is a permanent error. The following address(es)"
                " failed:\n\n  u@y.example\n    host mx.y.example [192.0.2.1]\n    SMTP error from remote mail server after"
                " RCPT TO:<u@y.example>:\n    550 5.1.1 No such user here\n",
                "X-Failed-Recipients: u@y.example\nAuto-Submitted: auto-replied\n",
                "Mail delivery failed: returning message to sender",
            ),
            "u@y.example",
            "550 5.1.1 No such user here",
        ),
        (  # qmail
            text_message(
                "Hi. This is the qmail-send program at y.example.\nI'm afraid I wasn't able to deliver your message to the"
                " following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
                "<u@y.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the"
                " message.\n\nReturn-Path: <x@x.example>\n"
            ),
            "u@y.example",
            None,
        ),
    ],
    ids=["exim", "qmail"],
)
def test_bounces_in_a_server_s_own_words(content: Any, recipient: Any, said: Any) -> None:
    found = read(content)
    assert isinstance(found, Bounce)
    assert [(each.recipients, each.reply) for each in found.failures] == [((recipient,), said)]


ARF = """Feedback-Type: abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <bxyz@bounces.x.example>
Original-Rcpt-To: <u@y.example>
Reporting-MTA: dns; mail.y.example
"""


def test_a_complaint() -> None:
    assert read(report("feedback-report", "feedback-report", ARF)) == Complaint(
        "abuse", "u@y.example", ("bxyz@bounces.x.example",), "<1@x.example>", "mail.y.example"
    )


def test_a_redacted_complaint_leaves_one_name_of_the_message() -> None:
    fields = "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\nOriginal-Rcpt-To: redacted\n"
    only_id = "Message-ID: <1@x.example>\nSubject: redacted\n\n"
    assert read(report("feedback-report", "feedback-report", fields, original=only_id)) == Complaint(
        "abuse", None, (), "<1@x.example>", "Yahoo!-Mail-Feedback/2.0"
    )


@pytest.mark.parametrize(
    ("kind", "feedback"), [("not-spam", "not-spam"), ("Fraud", "fraud"), ("odd", "other"), ("", "other")]
)
def test_kinds_of_feedback(kind: Any, feedback: Any) -> None:
    found = read(report("feedback-report", "feedback-report", ARF.replace("abuse", kind)))
    assert isinstance(found, Complaint)
    assert found.feedback == feedback


def test_outlook_s_loop_has_a_form_of_its_own() -> None:
    content = f"""From: staff@hotmail.com
Subject: complaint about message from 192.0.2.1
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: message/rfc822

X-HmXmrOriginalRecipient: <u@hotmail.example>
{ORIGINAL}
--b--
"""
    assert read(content.encode()) == Complaint(
        "abuse", "u@hotmail.example", ("bxyz@bounces.x.example",), "<1@x.example>", "Outlook.com JMRP"
    )


@pytest.mark.parametrize(
    ("head", "subject", "what"),
    [
        ("Auto-Submitted: auto-replied (vacation)\n", "Re: Hello", "automatic"),
        ("X-Autoreply: yes\n", "Re: Hello", "automatic"),
        ("Precedence: auto_reply\n", "Re: Hello", "automatic"),
        ("", "Out of office: Hello", "automatic"),
        ("", "Automatic reply: Hello", "automatic"),
        ("", "=?utf-8?B?67aA7J6s7KSR?= 1", "automatic"),
        ("Auto-Submitted: auto-replied\n", "Please verify you are human", "challenge"),
        ("X-TMDA-Confirm: 1\n", "Confirm", "challenge"),
        ("", "A question about my order", "written"),
        ("Auto-Submitted: no\n", "A question", "written"),
    ],
)
def test_what_machines_reply_is_no_bounce(head: Any, subject: Any, what: Any) -> None:
    found = read(text_message("Hello\n", head, subject))
    assert isinstance(found, Other)
    assert found.what == what


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        b"Subject: x\n" + b"X: y\n" * 40_000 + b"\nx",
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\nContent-Type: multipart/mixed; boundary=a\n\n" * 5000,
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 500,
        b"Content-Type: message/rfc822\n\n" * 3000,
        b"Content-Type: text/plain; " + b"".join(b"x*%d=y; " % i for i in range(5000)) + b"\n\nx",
        b"Subject: =?x?b?!!!?=\n\n",
        b"Content-Type: multipart/report; boundary=\"\xff\"\n\n--\xff\nContent-Type: message/delivery-status\n\nAction: failed\n\n",
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_made_to_be_too_much_is_unreadable_and_soon(content: Any) -> None:
    assert isinstance(read(content), Other)


def test_only_the_beginning_of_a_long_message_is_read() -> None:
    content = report(
        "delivery-status", "delivery-status", DSN, original=ORIGINAL + "x" * 60 + "\n" + ("y" * 70 + "\n") * 200_000
    )
    assert isinstance(read(content), Bounce)


TYPES = st.sampled_from(
    [
        "message/delivery-status",
        "message/feedback-report",
        "message/rfc822",
        "text/rfc822-headers",
        "text/plain",
        "text/html",
    ]
)
NAMES = st.sampled_from(
    [*("Action", "Status", "Final-Recipient", "Original-Recipient", "Diagnostic-Code", "Remote-MTA", "Feedback-Type"),
     *("Original-Rcpt-To", "Original-Mail-From", "Message-ID", "Return-Path", "Auto-Submitted", "Content-Type", "Subject")]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        ["failed", "delayed", "5.1.1", "rfc822; u@y.example", "rfc822;<>", "smtp; 550 5.1.1 no", ";;;", "dns; mx", "<a@b>",
         "multipart/mixed; boundary=b1", "=?utf-8?q?=ff?=", "abuse", "x" * 3000]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60),
)  # fmt: skip
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8).map(lambda pairs: "".join(f"{k}: {v}\n" for k, v in pairs))


@given(st.lists(st.tuples(TYPES, FIELDS, FIELDS), max_size=5), FIELDS)
def test_whatever_comes_is_one_of_three_things(sections: Any, head: Any) -> None:
    body = "".join(f"--b1\nContent-Type: {kind}\n\n{one}\n{two}\n" for kind, one, two in sections)
    found = read(f"{head}MIME-Version: 1.0\nContent-Type: multipart/report; boundary=b1\n\n{body}--b1--\n".encode())
    assert isinstance(found, Bounce | Complaint | Other)
    if isinstance(found, Bounce):
        assert 0 < len(found.failures) <= 100
        for failure in found.failures:
            for text in (*failure.recipients, failure.reply or "", failure.mta or ""):
                assert len(text) <= 500
                assert text.isprintable()


@given(st.binary(max_size=3000))
@example(b"\xff: \xff\n\n\xff")
def test_any_octets_are_one_of_three_things(content: Any) -> None:
    assert isinstance(read(content), Bounce | Complaint | Other)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z]{1,10}@[a-z]{1,10}\.example", fullmatch=True),
            st.sampled_from(["5.1.1", "5.2.2", "5.7.1", "4.4.7"]),
            st.from_regex(r"550 [A-Za-z ]{1,80}[a-z]", fullmatch=True),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_standard_library_writes_is_read_as_it_was_meant(failures: Any) -> None:
    """The oracle is the writer: a report made of parts by ``email.message``, folded as it folds."""
    whole = email.message.EmailMessage(policy=email.policy.SMTP)
    whole["Subject"] = "Undelivered"
    whole.set_content("It failed.")
    whole.make_mixed()
    status: Any = email.message.Message()
    status["Content-Type"] = "message/delivery-status"
    blocks = [email.message.Message()]
    blocks[0]["Reporting-MTA"] = "dns; mx.y.example"
    for recipient, dsn, reply in failures:
        block = email.message.Message()
        block["Final-Recipient"] = f"rfc822; {recipient}"
        block["Action"] = "failed"
        block["Status"] = dsn
        block["Diagnostic-Code"] = f"smtp; {reply}"
        blocks.append(block)
    status.set_payload(blocks)
    whole.attach(status)
    out = BytesIO()
    BytesGenerator(out, policy=email.policy.SMTP).flatten(whole)
    found = read(out.getvalue())
    assert isinstance(found, Bounce)
    assert [(each.recipients, each.dsn, each.reply) for each in found.failures] == [
        ((recipient,), dsn, " ".join(reply.split())) for recipient, dsn, reply in failures
    ]


def test_the_bounds_are_counted_from_the_content() -> None:
    with pytest.raises(UnreadableError, match="header"):
        message.parse(b"X: " + b"y" * message.LONGEST_HEADER + b"\n\n")
    with pytest.raises(UnreadableError, match="parts"):
        message.parse(b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 51)
