import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events.pieces import LONGEST, UNFINISHED, Pieces
from postroad.events.syslog import LogLine
from tests.logs.writers import in_pieces

ID = "6AO58bxT005525"


def line(text: str, pid: int | None = 1) -> LogLine:
    return LogLine(1.0, 2, 6, "sendmail", pid, text)


def feed(pieces: Pieces, *texts: str, pid: int = 1) -> list[str]:
    return [whole.text for text in texts for whole in pieces.feed(line(text, pid))]


@pytest.mark.parametrize("queue_id", [ID, "NOQUEUE", ""])
@settings(deadline=None)
@given(st.text(st.sampled_from("ab, "), min_size=30, max_size=200))
def test_joins_what_sendmail_cut(queue_id: str, text: str) -> None:
    text = text.rstrip(" ,") + "z"
    prefix = f"{queue_id}: " if queue_id else ""
    assert feed(Pieces(), *in_pieces(queue_id, text, 25)) == [prefix + text]


def test_other_processes_come_in_between() -> None:
    pieces = Pieces()
    first, second = in_pieces(ID, "a, " * 20, 30), in_pieces(ID, "b, " * 20, 30)
    got = []
    for one, two in zip(first, second, strict=True):
        got += feed(pieces, one, pid=1) + feed(pieces, "plain", pid=3) + feed(pieces, two, pid=2)
    assert [text for text in got if text != "plain"] == [f"{ID}: " + "a, " * 20, f"{ID}: " + "b, " * 20]


def test_plain_lines_pass() -> None:
    pieces = Pieces()
    assert feed(pieces, f"{ID}: to=<a@x>", "starting daemon", "[x]: y") == [
        f"{ID}: to=<a@x>",
        "starting daemon",
        "[x]: y",
    ]
    assert pieces.flush() == []


def test_a_line_whose_end_is_lost_comes_before_the_next_one() -> None:
    assert feed(Pieces(), f"{ID}[1]: a, ...", f"{ID}: b") == [f"{ID}: a,", f"{ID}: b"]
    assert feed(Pieces(), f"{ID}[1]: a, ...", f"{ID}[1]: b, ...", f"{ID}[2]: c") == [f"{ID}: a,", f"{ID}: b,c"]
    assert feed(Pieces(), f"{ID}[1]: a, ...", f"{ID}[3]: c") == [f"{ID}: a,", f"{ID}[3]: c"]
    assert feed(Pieces(), f"{ID}[1]: a, ...", "NOQUEUE[2]: c") == [f"{ID}: a,", "NOQUEUE[2]: c"]


def test_a_piece_whose_beginning_is_lost_passes() -> None:
    assert feed(Pieces(), f"{ID}[2]: b") == [f"{ID}[2]: b"]


def test_what_is_held_back_comes_at_the_end() -> None:
    pieces = Pieces()
    assert feed(pieces, f"{ID}[1]: a, ...", f"{ID}[2]: b ...") == []
    assert [whole.text for whole in pieces.flush()] == [f"{ID}: a,b"]
    assert pieces.flush() == []


def test_unfinished_lines_are_bounded() -> None:
    pieces = Pieces()
    got = [text for pid in range(UNFINISHED + 3) for text in feed(pieces, f"{ID}[1]: {pid} ...", pid=pid)]
    assert got == [f"{ID}: {pid}" for pid in range(3)]


def test_the_length_is_bounded() -> None:
    pieces = Pieces()
    sizes = [len(text) for number in range(1, 200) for text in feed(pieces, f"{ID}[{number}]: {'x' * 1000} ...")]
    assert sizes
    assert max(sizes) < LONGEST + 2000
