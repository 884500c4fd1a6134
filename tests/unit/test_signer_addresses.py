"""Address fields: what is plain is read, and everything else is given up on."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.signer.addresses import FieldError, mailboxes, recipients
from tests.growth import TIMES, in_proportion


def found(text: str, **how: bool) -> list[str]:
    return [f"{box.local}@{box.domain}" for box in mailboxes(text, **how)]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        (" a@x.example", ["a@x.example"]),
        ("a@x.example (App)", ["a@x.example"]),
        ("<a@x.example>", ["a@x.example"]),
        ("App <a@x.example>", ["a@x.example"]),
        ("App<a@x.example>", ["a@x.example"]),
        ("J. O'Neil [x] <a@x.example>", ["a@x.example"]),
        ('"Doe, J" <a@x.example>', ["a@x.example"]),
        ('"b@y.example via App" <a@x.example>', ["a@x.example"]),
        ('"a \\" b" <a@x.example>', ["a@x.example"]),
        ("=?utf-8?q?J=C3=BCrgen?=\n <a@x.example>", ["a@x.example"]),
        ("\n App\n\t<a@x.example>", ["a@x.example"]),
        ("App (the (good) one) <a@x.example>", ["a@x.example"]),
        ("\xea\xb9\x80 <a@x.example>", ["a@x.example"]),
        ("a@x.example, B <b@y.example>", ["a@x.example", "b@y.example"]),
        ("a%b@x.example", ["a%b@x.example"]),
        ('"a b"@x.example', ['"a b"@x.example']),
        ("a@X.Example", ["a@X.Example"]),
    ],
)
def test_plain_fields_are_read(text: str, addresses: list[str]) -> None:
    assert found(text) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "<>", "App", "App <>", "a", "<a>", "a@", "@x.example", "a@x.example.", "a@.x.example", ".a@x.example",
        "a..b@x.example", "a@y.example@x.example", "a@x.example b@y.example", "b@y.example a@x.example",
        "b@y.example <a@x.example>", "B@C <a@x.example>", "<b@y.example> <a@x.example>", "a@x.example <b@y.example>",
        "<a@x.example>, ", ",a@x.example", "a@x.example,,b@x.example", "a@x.example;", "a@x.example; b@x.example",
        "group: a@x.example;", "undisclosed-recipients:;", "<@y.example:a@x.example>", "<a@x.example", "a@x.example>",
        "<<a@x.example>>", "<a@x.example>b", "<a@x.example> (b@y.example)", "(b@y.example) <a@x.example>",
        '(" ) <b@y.example> ") <a@x.example>', "a(b)@x.example", "a@(b)x.example", "a @x.example", "a@ x.example",
        "a@x .example", "a@\n x.example", "< a@x.example>", '"open <a@x.example>', "open ( <a@x.example>",
        "shut ) <a@x.example>", '"\\" <b@y.example>', "a\\@y.example <a@x.example>", "[a@y.example] <a@x.example>",
        '[(] b, [)] <a@x.example>', '["] <b@y> ["] <a@x.example>', "a@[192.0.2.1]", "a@x.example\n \n",
        " \n a@x.example\n  ", "a@x.exam\x00ple", "A\x00 <a@x.example>", '"A\x00" <a@x.example>', "A\x7f <a@x.example>",
        "a@x\xe9.example", "\xe9@x.example", '"b@y.example"@x.example', '"b\\"@y"@x.example',
        "=?utf-8?q?b=40y.example=00?=@x.example", "<=?utf-8?q?b=40y.example?=@x.example>", "a@x.example (\\))",
        "((((deep)))) <a@x.example>", "x" * 2000 + " <a@x.example>", "a:b@x.example", "a@x.example:25", "a@-x.example",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_given_up_on(text: str) -> None:
    with pytest.raises(FieldError):
        mailboxes(text)


def test_an_address_without_a_domain_is_read_where_one_is_added() -> None:
    assert found("root", bare=True) == ["root@"]
    assert found("root (Cron Daemon)", bare=True) == ["root@"]
    assert found("Cron <root>", bare=True) == ["root@"]
    assert found("root, a@x.example", bare=True) == ["root@", "a@x.example"]
    with pytest.raises(FieldError):
        mailboxes("root b@y.example", bare=True)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a@x.example,, b@y.example,", 2),
        ("The team: A <a@x.example>, b@y.example;", 2),
        ("undisclosed-recipients:;", 0),
        ("x: a@x.example;, y: ;, b@y.example", 2),
        ("a@[192.0.2.1], root", 2),
        ('"A,B" <a@x.example>,(x,"y) C <c@x.example>', 2),
    ],
)
def test_fields_of_others_may_hold_groups_and_gaps(text: str, count: int) -> None:
    assert len(recipients(text)) == count


def test_a_mailbox_says_where_it_stands() -> None:
    text = ' "a@b" <root> , B <b@y.example> (c)'
    assert [text[box.start : box.end] for box in recipients(text)] == ["root", "b@y.example"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            unit.__mul__
            for unit in (
                "(", "()", "(())", "\\", "[", ",", "<", "a@", "a.", " ", " \n", '"\\', "a:", "((a", ":;",
            )
        ),
        lambda number: "(a" * number + ")" * number,
        lambda number: "(((a" * number + ")))" * 10,
        lambda number: '"' * (number + 1),
        lambda number: "a <b@c>, " * number + "[",
    ],
)  # fmt: skip
def test_nothing_takes_long(text: Callable[[int], str]) -> None:
    def read(number: int) -> None:
        with contextlib.suppress(FieldError):
            recipients(text(number))

    assert in_proportion(read, 30_000 // TIMES)


@given(st.text(alphabet='ab@.<>,;:()[]"\\ \n\t=?%\x00\xe9', max_size=30))
def test_never_an_address_of_another_domain(text: str) -> None:
    """Whatever an @ stands in that is read as an address is followed by that address's domain."""
    try:
        boxes = mailboxes(text + " <a@x.example>")
    except FieldError:
        return
    assert boxes[-1].domain == "x.example"
    for box in boxes:
        assert box.domain
        assert "@" not in box.local
