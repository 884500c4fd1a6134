"""A message's end, packet by packet: who sent it counts, what changes is said to sendmail, what is signed is logged."""

from dataclasses import replace

import pytest

from postroad.runtime import returning
from postroad.runtime.signing import DkimKey, Settings
from postroad.signer import judge, protocol
from postroad.signer.judge import Judge
from postroad.signer.keys import PrivateKey
from postroad.signer.protocol import Answer, Envelope
from postroad.signer.returned import ReturnAddresses
from tests.unit.test_signer_policy import NO_REWRITING, PLAIN, REWRITING
from tests.unit.test_signer_sign import rsa  # noqa: F401 - a fixture

FROM = (b"From", b" a@x.example")
Lines = list[tuple[str, str]]


def judged(
    settings: Settings, *headers: tuple[bytes, bytes], keys: dict[str, PrivateKey] | None = None, **macros: bytes
) -> tuple[Answer, Lines]:
    lines: Lines = []
    names = {"id": b"i", "user": b"{auth_authen}"}
    envelope = Envelope(headers=list(headers), macros={names[name]: value for name, value in macros.items()})
    return Judge(settings, keys or {}, lambda level, text: lines.append((level, text)))(envelope), lines


@pytest.mark.parametrize(
    ("user", "sender", "refusal"),
    [
        (b"any", b" a@x.example", None),
        (b"app", b" a@below.example", None),
        (b"app", b" a@x.example", "user app may not send From: x.example"),
        (b"nobody", b" a@x.example", "user nobody may not send From: x.example"),
        (b"\xe9\xff", b" a@x.example", "user ?? may not send From: x.example"),
        (b"", b" a@x.example", None),
        (b"any", b" a@y.example", "From: domain y.example is not one of domains in the configuration of this relay"),
    ],
)
def test_who_has_authenticated_counts(user: bytes, sender: bytes, refusal: str | None) -> None:
    answer, lines = judged(PLAIN, (b"From", sender), user=user)
    assert answer == ((protocol.refuse("550", "5.7.1", refusal),) if refusal else (protocol.ACCEPT,))
    assert lines == []


def test_what_changes_is_said_from_the_last_field_to_the_first() -> None:
    answer, _ = judged(
        REWRITING, (b"Bcc", b" x"), (b"From", b" a@web1"), (b"Resent-Bcc", b" y"), (b"Resent-Bcc", b" z")
    )
    assert answer == (
        protocol.change(b"Resent-Bcc", 2, None),
        protocol.change(b"Resent-Bcc", 1, None),
        protocol.change(b"From", 1, b" a@x.example"),
        protocol.change(b"Bcc", 1, None),
        protocol.ACCEPT,
    )
    one = replace(PLAIN, rewriting=replace(NO_REWRITING, sender="no@below.example"))
    assert judged(one, FROM)[0] == (
        protocol.change(b"From", 1, b" no@below.example"),
        protocol.add(b"X-Original-From", b" a@x.example"),
        protocol.ACCEPT,
    )


def test_a_signature_is_inserted_and_logged(rsa: bytes) -> None:  # noqa: F811
    settings = replace(PLAIN, keys=(DkimKey("x.example", False, "s1", "x.pem"),))
    keys = {"x.pem": PrivateKey(rsa)}
    (signed, accepted), lines = judged(settings, FROM, keys=keys, id=b"ID1")
    assert signed[4:].startswith(b"i\0\0\0\0DKIM-Signature\0 v=1;")
    assert b"d=x.example" in signed
    assert b"s=s1" in signed
    assert accepted == protocol.ACCEPT
    assert lines == [("info", "ID1: DKIM-Signature field added (s=s1, d=x.example)")]
    assert judged(settings, FROM, keys=keys)[1][0][1].startswith("?: DKIM-Signature")
    assert judged(settings, FROM, keys=keys, id=b"\xe9")[1][0][1].startswith("\ufffd: DKIM-Signature")


def test_redirected_recipients_are_logged_once_the_message_is_taken() -> None:
    def lines_about(sender: bytes) -> Lines:
        lines: Lines = []
        envelope = Envelope(
            headers=[(b"From", sender)],
            macros={b"i": b"ID1"},
            recipients=[(b"<a@y.example>", b"qa@x.example"), (b"<b@y.example>", b"b@y.example")],
        )
        Judge(PLAIN, {}, lambda level, text: lines.append((level, text)))(envelope)
        return lines

    assert lines_about(b" a@x.example") == [("info", 'ID1: redirected {"a@y.example": "qa@x.example"}')]
    assert lines_about(b" a@other.example") == []


def test_a_fault_is_logged_and_puts_the_message_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(judge, "decide", broken)
    assert judged(PLAIN, FROM, id=b"ID1") == (
        (protocol.TRY_AGAIN,),
        [("err", "ID1: can't be signed now: RuntimeError('broken')")],
    )


def test_a_link_to_unsubscribe_is_added_and_signed(rsa: bytes) -> None:  # noqa: F811
    """RFC 8058, section 4: the signature has to cover both fields."""
    settings = replace(PLAIN, keys=(DkimKey("x.example", False, "s1", "x.pem"),))
    link = returning.Unsubscribing(("x.example",), "https://b.x.example/u", "127.0.0.1", 8026)
    returns = ReturnAddresses(returning.Settings("mail.x.example", "b.x.example", (), link), b"k" * 32)
    judge = Judge(settings, {"x.pem": PrivateKey(rsa)}, lambda *_: None, returns)

    def fields(session: protocol.MilterSession, *recipients: bytes) -> list[bytes]:
        packets = [(b"M", b"<App@X.example>\0SIZE=1\0"), *((b"R", b"<%s>\0" % each) for each in recipients)]
        packets += [(b"L", b"From\0 a@x.example\0"), (b"E", b"")]
        answer = session.feed(b"".join(protocol.packet(command, content) for command, content in packets))
        assert answer
        return [
            name
            for name in (b"List-Unsubscribe\0", b"List-Unsubscribe-Post\0", b":list-unsubscribe-post")
            if name in answer
        ]

    session = protocol.MilterSession(judge)
    assert len(fields(session, b"U@y.example")) == 3
    assert fields(session, b"u@y.example", b"v@y.example") == [], "several"
    assert len(fields(session, b"u@y.example")) == 3, "the next message of a session"
