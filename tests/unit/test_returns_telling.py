"""What the log is told of what came back, and how the lines are read again."""

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroad.events import model, own
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.returns.telling import told
from tests.unit.test_returns_reading import ARF, DSN, ORIGINAL, report, text_message
from tests.unit.test_returns_reports import TLS, XML

ID, DOMAIN = "6AQ7sdUD000094", "bounces.x.example"
TO = f"bxyz@{DOMAIN}"


def queue_id(address: str) -> str | None:
    return ID if address == TO else None


def events(recipient: str, content: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The events as PID 1 makes them of the lines."""
    result = told([recipient], content, queue_id)
    found = []
    for line in result.lines:
        datagram = format_datagram("info", line)
        assert len(datagram) < 2000
        event = own.read(parse_datagram(datagram, 1_795_000_000.0)).to_dict()
        found.append({name: value for name, value in event.items() if name not in {"time", "program", "pid"}})
    return found, result.keep


def attached(content: bytes, kind: str = "application/gzip") -> bytes:
    return (
        b"From: r@y.example\nSubject: Report domain: x.example\nMIME-Version: 1.0\nContent-Type: " + kind.encode()
        + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(content)
    )  # fmt: skip


def test_a_late_bounce() -> None:
    assert events(TO, report("delivery-status", "delivery-status", DSN)) == (
        [
            {
                "event": "bounced",
                "queue_id": ID,
                "recipient": "u@y.example",
                "relay_host": "store.y.example",
                "dsn": "5.1.1",
                "reply": "550 5.1.1 <u@inner.y.example>: Recipient address rejected: User unknown",
                "late": True,
            }
        ],
        False,
    )


def test_a_complaint_about_a_message_that_is_known_by_its_address() -> None:
    said = {
        "event": "complained", "queue_id": ID, "recipient": "u@y.example", "feedback": "abuse", "reporter": "mail.y.example",
    }  # fmt: skip
    assert events(f"abuse@{DOMAIN}", report("feedback-report", "feedback-report", ARF)) == ([said], False)
    assert events(TO, report("feedback-report", "feedback-report", ARF, original="\n")) == ([said], False)


def test_a_complaint_about_a_message_that_is_known_by_its_message_id() -> None:
    fields = ARF.replace("bxyz", "forged")
    original = ORIGINAL.replace("bxyz", "forged")
    found, keep = events(f"abuse@{DOMAIN}", report("feedback-report", "feedback-report", fields, original=original))
    assert [each.get("queue_id") for each in found] == [None]
    assert [each["message_id"] for each in found] == ["<1@x.example>"]
    assert not keep


@pytest.mark.parametrize(
    ("content", "what", "kept"),
    [
        (text_message("x", "Auto-Submitted: auto-replied\n"), "automatic", False),
        (report("delivery-status", "delivery-status", DSN.replace("failed", "delayed")), "delayed", False),
        (text_message("x"), "unreadable", True),
    ],
)
def test_what_is_neither(content: bytes, what: str, kept: bool) -> None:
    found, keep = events(TO, content)
    assert [(each["event"], each["what"], each["queue_id"]) for each in found] == [("returned", what, ID)]
    assert keep is kept


@pytest.mark.parametrize("role", ["abuse", "postmaster"])
def test_mail_for_a_person_is_kept_and_said(role: str) -> None:
    found, keep = events(f"{role}@{DOMAIN}", text_message("Please stop", subject="You send spam"))
    assert [(each["what"], each["status"]) for each in found] == [("unreadable", "You send spam")]
    assert keep


def test_a_bounce_to_abuse_is_nobody_s() -> None:
    """Anybody could write one, and suppress an address by it."""
    found, keep = events(f"abuse@{DOMAIN}", report("delivery-status", "delivery-status", DSN))
    assert [each["event"] for each in found] == ["returned"]
    assert keep


@pytest.mark.parametrize("role", ["dmarc", "tlsrpt"])
def test_reports_of_both_kinds_at_either_address(role: str) -> None:
    head: dict[str, Any] = {"event": "reported", "organization": "Yahoo", "report_id": "1.2", "report": "dmarc"}
    head |= {"begin": 1795651200, "end": 1795737599, "domain": "x.example"}
    assert events(f"{role}@{DOMAIN}", attached(gzip.compress(XML))) == (
        [
            head | {"source": "192.0.2.25", "count": 970, "dkim": True, "spf": True, "disposition": "none"},
            head | {"source": "2001:db8::7", "count": 30, "dkim": False, "spf": False, "disposition": "quarantine"},
        ],
        False,
    )
    found, keep = events(
        f"{role}@{DOMAIN}", attached(gzip.compress(json.dumps(TLS).encode()), "application/tlsrpt+gzip")
    )
    assert [(each["result"], each["count"], each.get("source")) for each in found] == [
        ("other", 203, None),
        ("certificate-expired", 100, "mx1.x.example"),
        ("success", 5326, None),
    ]
    assert not keep


@pytest.mark.parametrize(
    "content", [attached(b"\x1f\x8b\0"), text_message("no file"), attached(b""), attached(b"<html/>")]
)
def test_a_report_that_is_none_is_kept(content: bytes) -> None:
    found, keep = events(f"dmarc@{DOMAIN}", content)
    assert [each["what"] for each in found] == ["unreadable"]
    assert keep


def test_a_report_has_so_many_lines_and_no_more() -> None:
    row = b"<record><row><source_ip>192.0.2.%d</source_ip><count>%d</count></row></record>"
    many = b"".join(row % (i % 256, i) for i in range(5000))
    found, _ = events(f"dmarc@{DOMAIN}", attached(gzip.compress(XML.replace(b"</feedback>", many + b"</feedback>"))))
    assert len(found) == 100
    counts = [each["count"] for each in found]
    assert counts == sorted(counts, reverse=True)


LONG = st.text(st.characters(codec="utf-8"), min_size=300, max_size=3000)


@given(
    st.sampled_from([TO, f"abuse@{DOMAIN}", f"dmarc@{DOMAIN}"]),
    st.one_of(st.binary(max_size=2000), LONG.map(str.encode)),
)
@example(TO, report("delivery-status", "delivery-status", DSN.replace("User unknown", "\N{SNOWMAN}" * 3000)))
@example(
    f"abuse@{DOMAIN}",
    report("feedback-report", "feedback-report", "Feedback-Type: abuse\nReporting-MTA: " + "é" * 5000 + "\n"),
)
def test_whatever_comes_makes_lines_that_are_events(recipient: str, content: bytes) -> None:
    found, _ = events(recipient, content)
    assert {each["event"] for each in found} <= {"bounced", "complained", "returned", "reported"}


def test_a_line_that_is_cut_off_is_words() -> None:
    line = own.line(model.Bounced, {"queue_id": ID, "late": True})
    event = own.read(parse_datagram(format_datagram("info", line[:-5]), 0.0))
    assert event.kind == "notice"
