"""SMTP as far as the front reads it."""

import random

import pytest

from postroad.front.lines import END, LONGEST, Answers, EndOfData, Reply, command
from tests.seeds import SEED


def cut(data: bytes, source: random.Random) -> list[bytes]:
    """The data in pieces of random sizes."""
    pieces = []
    while data:
        size = source.choice((1, 1, 2, 3, 5, 100))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.seeded
def test_the_end_of_a_message_is_found_however_it_is_cut() -> None:
    source = random.Random(SEED)
    for _ in range(3000):
        text = bytes(source.choices(b"\r\n.x", weights=(4, 4, 3, 1), k=source.randrange(30)))
        stream = text + END + b"QUIT\r\n"
        expected = (b"\r\n" + stream).find(END) + len(END) - 2
        end, passed = EndOfData(), 0
        for piece in cut(stream, source):
            found = end.find(piece)
            if found >= 0:
                passed += found
                break
            passed += len(piece)
        assert passed == expected, stream


@pytest.mark.parametrize("text", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"x.\r\n", b"\r\n.x\r\n", b"\r\n..\r\n"])
def test_nothing_else_is_an_end(text: bytes) -> None:
    assert EndOfData().find(b"x" + text + b"y") == -1


def test_a_dot_at_once_is_an_end() -> None:
    assert EndOfData().find(b".\r\nQUIT\r\n") == 3


def test_a_command_is_taken_when_it_is_whole() -> None:
    buffer = bytearray(b"mail FROM:<a@b> SIZE=1\r\nRC")
    taken = command(buffer)
    assert taken is not None
    assert taken.line == b"mail FROM:<a@b> SIZE=1\r\n"
    assert (taken.verb, taken.rest) == (b"MAIL", b"FROM:<a@b> SIZE=1")
    assert buffer == b"RC"
    assert command(buffer) is None


@pytest.mark.parametrize(
    "line",
    [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\0\r\n", b"NOOP \xff\r\n", b"\tNOOP\r\n", b"N" * LONGEST, b"N" * 5000 + b"\r\n"],
)
def test_what_is_not_usual_has_no_verb(line: bytes) -> None:
    taken = command(bytearray(line))
    assert taken is not None
    assert taken.verb == b""
    assert line.startswith(taken.line)


@pytest.mark.seeded
def test_answers_are_cut_alike_however_they_come() -> None:
    stream = b"250-a\r\n250-b\r\n250 c\r\n\x01AQ1\n354 go\r\n250 2.0.0 AQ1 Message accepted for delivery\r\nwhat\r\n"
    expected = [
        Reply(b"250-a\r\n250-b\r\n250 c\r\n", 250),
        Reply(b"AQ1", 0),
        Reply(b"354 go\r\n", 354),
        Reply(b"250 2.0.0 AQ1 Message accepted for delivery\r\n", 250),
        Reply(b"what\r\n", -1),
    ]
    source = random.Random(SEED)
    for _ in range(300):
        answers = Answers()
        assert [answer for piece in cut(stream, source) for answer in answers.feed(piece)] == expected


def test_a_note_within_an_answer_is_no_note() -> None:
    """The preload writes only when no answer is half out; anything else came by the message."""
    assert [answer.code for answer in Answers().feed(b"250-a\r\n\x01AQ1\n250 b\r\n")] == [-1, 250]
