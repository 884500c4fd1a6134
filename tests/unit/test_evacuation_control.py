"""Control files of sendmail's: what goes to another relay, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.evacuation import control
from postroad.evacuation.control import ControlError
from tests.unit.test_sendmail_queue import QF

OCTETS = QF.encode(errors="surrogateescape")
PIECES = st.sampled_from(
    [b"V8\n", b"T1\n", b"S<a@b>\n", b"RPFD:<c@d>\n", b"H??X: y\n", b"\tz\n", b".\n", b"\0", b"C\n"]
)


def test_it_is_the_same_octets() -> None:
    found = control.read(OCTETS)
    assert found.octets == OCTETS
    assert found.message_id == "<1@sender.example>"
    assert control.read(found.octets) == found


def test_what_names_a_place_is_left_out() -> None:
    octets = OCTETS.replace(b"\nFs\n", b"\nI259/1/77\nFs\nd/var/spool/mqueue/route-1\n")
    assert octets != OCTETS
    assert control.read(octets).octets == OCTETS


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"H??message-ID: <x@y>\n", "<x@y>"),
        (b"H?M?Message-Id:\n\t<x@y>\n", "<x@y>"),
        (b"H??X-Message-ID: <x@y>\n", None),
        (b"H??Message-ID: <" + b"x" * 200 + b">\n", "<" + "x" * 99),
        (b"H??Message-ID: <\xff@y>\n", "<\ufffd@y>"),
        (b"HMessage-ID: <x@y>\n", "<x@y>"),
    ],
)
def test_the_message_id(field: bytes, found: str | None) -> None:
    assert control.read(OCTETS.replace(b"H??Message-ID: <1@sender.example>\n", field)).message_id == found


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "it is damaged: it has no beginning or no end"),
        (b"V8\nT1\nS<a@x>\nRPFD:<b@y>\n.", "it is damaged: it has no beginning or no end"),
        (b" V8\nT1\nS<a@x>\nRPFD:<b@y>\n.\n", "it is damaged: it has no beginning or no end"),
        (b"\tV8\nT1\nS<a@x>\nRPFD:<b@y>\n.\n", "it is damaged: it has no beginning or no end"),
        (b"V8\nT1\nS<a\0@x>\nRPFD:<b@y>\n.\n", "it is damaged: it has no beginning or no end"),
        (b"V7\nT1\nS<a@x>\nRPFD:<b@y>\n.\n", "its version is not V8: another sendmail wrote it"),
        (b"V8\nS<a@x>\nRPFD:<b@y>\n.\n", "it is damaged: its time, its sender or its recipients are not there"),
        (b"V8\nT1\nRPFD:<b@y>\n.\n", "it is damaged: its time, its sender or its recipients are not there"),
        (b"V8\nT1\nS<a@x>\n.\n", "it is damaged: its time, its sender or its recipients are not there"),
        (b"V8\nT1\n\nS<a@x>\nRPFD:<b@y>\n.\n", "it has a line '', which is in no mail of ours"),
        (b"V8\nT1\nC/bin/sh\nS<a@x>\nRPFD:<b@y>\n.\n", "it has a line 'C', which is in no mail of ours"),
        (b"V8\nT1\nS<a@x>\n more\nRPFD:<b@y>\n.\n", "its line 'S' goes on in the next one, which sendmail writes of fields alone"),
        (b"V8\nT1\nS<a@x>\nRPFD\n.\n", "one of its recipients is no mail address"),
        (b"V8\nT1\nS<a@x>\nRPFD:|/bin/sh\n.\n", "one of its recipients is no mail address"),
        (b'V8\nT1\nS<a@x>\nRPFD:< "\\/etc/x\n.\n', "one of its recipients is no mail address"),
    ],
)  # fmt: skip
def test_what_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(ControlError) as caught:
        control.read(octets)
    assert str(caught.value) == why


def test_a_file_without_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LARGEST", 10)
    with pytest.raises(ControlError, match="more than 10 octets"):
        control.read(OCTETS)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=12).map(b"".join)))
def test_whatever_it_is_it_is_checked_or_refused(octets: bytes) -> None:
    """What passes once passes again as it is, ends once, and has nothing of another user's."""
    try:
        found = control.read(octets)
    except ControlError:
        return
    assert control.read(found.octets) == found
    lines = found.octets.split(b"\n")
    assert lines.count(b".") == 1
    assert not [line for line in lines if line.startswith((b"C", b"d", b"I"))]
