"""The milter protocol, packet by packet, and what a fault becomes."""

import struct
from pathlib import Path

import pytest

from postroad.runtime.handover import dumps
from postroad.runtime.signing import FILE, DkimKey, Settings
from postroad.signer import protocol
from postroad.signer.judge import Judge
from postroad.signer.keys import PrivateKey, SigningError
from postroad.signer.protocol import Answer, Envelope, MilterSession, ProtocolError, packet
from tests.growth import in_proportion
from tests.unit.test_signer_policy import PLAIN
from tests.unit.test_signer_sign import generate, rsa  # noqa: F401 - a fixture

ALL = struct.pack(">III", 6, 0x1FF, 0x1FFFFF)


def told(session: MilterSession, *packets: bytes, step: int | None = None) -> bytes:
    data = b"".join(packets)
    out = b""
    for at in range(0, len(data), step or len(data)):
        answer = session.feed(data[at : at + (step or len(data))])
        assert answer is not None
        out += answer
    return out


@pytest.mark.parametrize("step", [1, 7, None])
def test_a_message_in_whatever_pieces(step: int | None) -> None:
    seen: list[Envelope] = []

    def judge(envelope: Envelope) -> Answer:
        seen.append(envelope)
        return (protocol.ACCEPT,)

    session = MilterSession(judge)
    answer = told(
        session,
        packet(b"O", ALL),
        *[
            packet(b"L", b"From\0 a@x.example\0"),
            packet(b"L", b"To\0 b\n c\0"),
            packet(b"B", b"one\r\n"),
            packet(b"D", b"Ei\0ID1\0{auth_authen}\0app\0"),
            packet(b"E", b"two\r\n"),
        ]
        * 2,
        step=step,
    )
    assert answer[4:17] == b"O" + struct.pack(">III", 6, 0x111, 0x1803C3)
    assert answer.endswith(protocol.ACCEPT * 2)
    assert len(seen) == 2
    for envelope in seen:
        assert envelope.headers == [(b"From", b" a@x.example"), (b"To", b" b\n c")]
        assert envelope.macros == {b"i": b"ID1", b"{auth_authen}": b"app"}


def test_an_abort_forgets() -> None:
    seen: list[Envelope] = []

    def judge(envelope: Envelope) -> Answer:
        seen.append(envelope)
        return (protocol.ACCEPT,)

    told(MilterSession(judge), packet(b"L", b"From\0 a\0"), packet(b"A"), packet(b"L", b"To\0 b\0"), packet(b"E"))
    assert seen[0].headers == [(b"To", b" b")]


def test_quit_ends() -> None:
    assert MilterSession(lambda _: (protocol.ACCEPT,)).feed(packet(b"Q")) is None


@pytest.mark.parametrize(
    "data",
    [
        packet(b"O", struct.pack(">III", 2, 0x1FF, 0x7F)),
        packet(b"O", struct.pack(">III", 6, 0x1, 0x1FFFFF)),
        packet(b"X"),
        b"\0\0\0\0B",
        b"\xff\xff\xff\xffB",
    ],
)
def test_what_can_t_be_answered_ends_the_session(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        MilterSession(lambda _: (protocol.ACCEPT,)).feed(data)


def test_a_percent_sign_is_sendmail_s_own() -> None:
    assert protocol.refuse("550", "5.7.1", "100% s") == packet(b"y", b"550 5.7.1 100%% s\0")


def judged(
    settings: Settings, keys: dict[str, PrivateKey], *headers: tuple[bytes, bytes]
) -> tuple[Answer, list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []
    envelope = Envelope(headers=list(headers), macros={b"i": b"ID1"})
    return Judge(settings, keys, lambda level, text: lines.append((level, text)))(envelope), lines


FROM = (b"From", b" a@x.example")


def test_without_keys_a_message_is_judged_and_not_signed() -> None:
    assert judged(PLAIN, {}, FROM) == ((protocol.ACCEPT,), [])
    answer, _ = judged(PLAIN, {}, (b"From", b" a@y.example"))
    assert answer[0][4:5] == b"y"


def with_key(*domains: tuple[str, bool]) -> Settings:
    from dataclasses import replace  # noqa: PLC0415

    return replace(
        PLAIN, keys=tuple(DkimKey(domain, below, f"s{at}", f"{at}.pem") for at, (domain, below) in enumerate(domains))
    )


@pytest.mark.parametrize(
    ("sender", "selectors"),
    [
        (b" a@x.example", ["s0"]),
        (b" a@below.example", ["s1"]),
        (b" a@sub.below.example", ["s2"]),
        (b" a@other.below.example", ["s1"]),
        (b" a@x.example, b@other.below.example, c@below.example", ["s0", "s1"]),
    ],
)
def test_each_domain_is_signed_with_its_key(sender: bytes, selectors: list[str], rsa: bytes) -> None:  # noqa: F811
    settings = with_key(("x.example", False), ("below.example", True), ("sub.below.example", False))
    key = PrivateKey(rsa)
    answer, lines = judged(settings, {f"{at}.pem": key for at in range(3)}, (b"From", sender))
    assert [text.partition("(s=")[2].partition(",")[0] for _, text in lines] == selectors
    assert len(answer) == len(selectors) + 1
    assert answer[-1] == protocol.ACCEPT


def test_a_signature_for_each_algorithm(rsa: bytes) -> None:  # noqa: F811
    settings = with_key(("x.example", False), ("x.example", False))
    keys = {"0.pem": PrivateKey(rsa), "1.pem": PrivateKey(generate("-algorithm", "ED25519"))}
    answer, lines = judged(settings, keys, FROM)
    assert [b"a=rsa-sha256;" in each or b"a=ed25519-sha256;" in each for each in answer] == [True, True, False]
    assert len(lines) == 2


def test_a_fault_refuses_for_now_and_never_lets_a_message_pass() -> None:
    class Broken(PrivateKey):
        def __init__(self) -> None:
            self.algorithm = "rsa-sha256"

        def sign(self, data: bytes) -> bytes:
            raise RuntimeError("broken")

    answer, lines = judged(with_key(("x.example", False)), {"0.pem": Broken()}, FROM)
    assert answer == (protocol.TRY_AGAIN,)
    assert lines[0][0] == "err"


@pytest.mark.parametrize("name", [b"To", b"Subject", b"From", b"X-Other"])
def test_the_time_of_a_message_is_in_proportion_to_its_parentheses(name: bytes, rsa: bytes) -> None:  # noqa: F811
    """From its first packet to its signature."""
    made = Judge(with_key(("x.example", False)), {"0.pem": PrivateKey(rsa)}, lambda _level, _text: None)
    fields = [packet(b"L", b"From\0 a@x.example\0")] if name != b"From" else []

    def judge(number: int) -> None:
        value = b"\n ".join([b"(" * 1000] * (number // 1000))
        end = packet(b"E", b"(" * number)
        session = MilterSession(made)
        told(session, packet(b"O", ALL))
        answer = told(session, b"".join([*fields, packet(b"L", name + b"\0 " + value + b"\0"), end]))
        assert answer.endswith(protocol.ACCEPT) == (name != b"From")

    assert in_proportion(judge, 2_000)


def test_a_parameter_that_was_refused_spoils_the_message() -> None:
    """sendmail keeps the ORCPT of a recipient that was refused where the same recipient was taken before."""
    session = MilterSession(lambda _envelope: (protocol.ACCEPT,))
    told(session, packet(b"O", ALL))
    mail, end = packet(b"M", b"<a@x.example>\0"), packet(b"E")
    good, odd = (
        packet(b"R", b"<b@y.example>\0ORCPT=rfc822;b@y.example\0"),
        packet(b"R", b"<b@y.example>\0ORCPT=rfc822;b+0A\0"),
    )
    assert told(session, mail, good, end).endswith(protocol.ACCEPT)
    assert b"501 5.5.4 ORCPT" in told(session, mail, good, odd)
    assert b"550 5.5.4 ORCPT" in told(session, end)
    assert told(session, mail, good, end).endswith(protocol.ACCEPT)
    told(session, mail, odd)
    assert told(session, packet(b"A"), mail, good, end).endswith(protocol.ACCEPT)
    assert told(session, mail, packet(b"R", b"<b b@y.example>\0"), good, end).endswith(protocol.ACCEPT), "others go on"


def test_without_one_of_its_keys_it_does_not_begin(rsa: bytes, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / FILE).write_text(dumps(with_key(("x.example", False), ("below.example", True))))
    (tmp_path / "0.pem").write_bytes(rsa)
    with pytest.raises(FileNotFoundError):
        Judge.load(tmp_path, lambda _level, _text: None)
    (tmp_path / "1.pem").write_text("no key")
    with pytest.raises(SigningError):
        Judge.load(tmp_path, lambda _level, _text: None)


def test_what_is_offered_and_asked_for_octet_by_octet() -> None:
    session = MilterSession(lambda _: (protocol.ACCEPT,))
    macros = b"".join(
        struct.pack(">I", stage) + {3: b"{rcpt_addr}\0", 5: b"i {auth_authen}\0"}.get(stage, b"\0")
        for stage in range(7)
    )
    answer = told(session, packet(b"O", ALL + b"more"))
    assert answer == packet(b"O", struct.pack(">III", 6, 0x111, 0x1803C3) + macros)
    # a flag in the highest bit is no sign
    assert told(session, packet(b"O", struct.pack(">III", 0x80000006, 0x800001FF, 0xFFFFFFFF)))[4:5] == b"O"


def test_the_commands_octet_by_octet() -> None:
    assert protocol.insert(b"A", b" b") == packet(b"i", b"\0\0\0\0A\0 b\0")
    assert protocol.add(b"A", b" b") == packet(b"h", b"A\0 b\0")
    assert protocol.change(b"A", 2, b" b") == packet(b"m", b"\0\0\0\2A\0 b\0")
    assert protocol.change(b"A", 1, None) == packet(b"m", b"\0\0\0\1A\0\0")
    assert protocol.refuse("550", "5.7.1", "no \xe9") == packet(b"y", b"550 5.7.1 no ?\0")
    assert (protocol.ACCEPT, protocol.TRY_AGAIN) == (b"\0\0\0\1a", b"\0\0\0\1t")


PLAIN_PATH = "address is not plain (RFC 5321, 4.1.2): <USER@DOMAIN>, odd names in quotes"
PARAMETERS = "holds other octets than RFC 3461 (section 4) has"


@pytest.mark.parametrize(
    ("command", "content", "answer"),
    [
        (b"M", b"<a@x.example>\0", b"c"),
        (b"M", b"<a@x.example>\0SIZE=7\0BODY=8BITMIME\0", b"c"),
        (b"M", b"<>\0", b"c"),
        (b"M", b"<a b@x.example>\0SIZE=7\0", f"y501 5.1.7 the sender {PLAIN_PATH}\0".encode()),
        (b"M", b"<a@x.example>\0SIZE=7\0ENVID=a b\0", f"y501 5.5.4 ENVID {PARAMETERS}\0".encode()),
        (b"R", b"<a@x.example>\0", b"c"),
        (b"R", b"<a@x.example>\0NOTIFY=NEVER\0", b"c"),
        (b"R", b"<>\0", f"y501 5.1.3 the recipient {PLAIN_PATH}\0".encode()),
        (b"R", b"<a@x.example>\0ORCPT=rfc822;a b\0", f"y501 5.5.4 ORCPT {PARAMETERS}\0".encode()),
        (b"R", b"<a@x.example>\0ORCPT=rfc822;a;b\0", b"c"),
    ],
)
def test_mail_and_rcpt_are_answered_at_once(command: bytes, content: bytes, answer: bytes) -> None:
    session = MilterSession(lambda _: (protocol.ACCEPT,))
    assert told(session, packet(command, content)) == packet(answer[:1], answer[1:])


def test_a_message_whose_recipient_brought_a_line_is_refused_at_its_end() -> None:
    """sendmail keeps that recipient's ORCPT where the same one was taken before."""
    session = MilterSession(lambda _: (protocol.ACCEPT,))
    odd = packet(b"R", b"<a@x.example>\0ORCPT=rfc822;a b\0")
    told(session, packet(b"M", b"<a@x.example>\0"), odd)
    assert told(session, packet(b"E")) == packet(b"y", f"550 5.5.4 ORCPT {PARAMETERS}\0".encode())
    assert told(session, packet(b"E")) == protocol.ACCEPT, "the next one is another message"
    told(session, odd, packet(b"M", b"<b@x.example>\0"))
    assert told(session, packet(b"E")) == protocol.ACCEPT
    for over in (b"A", b"K"):
        told(session, odd, packet(over))
        assert told(session, packet(b"E")) == protocol.ACCEPT
    told(session, packet(b"R", b"<a b@x.example>\0"))
    assert told(session, packet(b"E")) == protocol.ACCEPT, "a recipient who is not taken spoils nothing"


def test_each_recipient_is_kept_with_the_address_that_the_receiver_is_told() -> None:
    seen: list[Envelope] = []

    def judge(envelope: Envelope) -> Answer:
        seen.append(envelope)
        return (protocol.ACCEPT,)

    def rcpt(path: bytes, resolved: bytes) -> tuple[bytes, bytes]:
        return packet(b"D", b"R{rcpt_addr}\0" + resolved + b"\0"), packet(b"R", path + b"\0NOTIFY=NEVER\0")

    session = MilterSession(judge)
    told(
        session,
        packet(b"M", b"<a@x.example>\0"),
        *rcpt(b"<one@y.example>", b"qa@x.example"),
        *rcpt(b"<two two@y.example>", b"qa@x.example"),
        packet(b"R", b"<three@y.example>\0"),
        *rcpt(b"<four@y.example>", b"four@y.example"),
        packet(b"E"),
    )
    told(session, packet(b"M", b"<a@x.example>\0"), packet(b"R", b"<five@y.example>\0"), packet(b"E"))
    assert [each.recipients for each in seen] == [
        [
            (b"<one@y.example>", b"qa@x.example"),
            (b"<three@y.example>", b""),
            (b"<four@y.example>", b"four@y.example"),
        ],
        [(b"<five@y.example>", b"")],
    ]


def test_all_that_the_judge_says_is_sent() -> None:
    said = (protocol.add(b"A", b" b"), protocol.ACCEPT)
    assert told(MilterSession(lambda _: said), packet(b"E")) == b"".join(said)


def test_macros_that_come_without_a_value_are_passed_over() -> None:
    seen: list[Envelope] = []

    def judge(envelope: Envelope) -> Answer:
        seen.append(envelope)
        return (protocol.ACCEPT,)

    told(MilterSession(judge), packet(b"D", b"Ei\0ID1\0rest"), packet(b"E"))
    assert seen[0].macros == {b"i": b"ID1"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (packet(b"X"), "command b'X'"),
        (packet(b"O", struct.pack(">III", 2, 0x1FF, 0x7F)), "sendmail offers version 2, actions 0x1ff, steps 0x7f"),
        (b"\0\0\0\0B", "a packet of 0 octets"),
        (struct.pack(">I", protocol.LARGEST_PACKET + 1) + b"B", f"a packet of {protocol.LARGEST_PACKET + 1} octets"),
    ],
)
def test_what_is_told_of_a_session_that_can_t_go_on(data: bytes, said: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        MilterSession(lambda _: (protocol.ACCEPT,)).feed(data)
    assert str(raised.value) == said
    assert MilterSession(lambda _: (protocol.ACCEPT,)).feed(struct.pack(">I", protocol.LARGEST_PACKET) + b"B") == b""
