"""Mailboxes in text: what is plain is read, and nothing else; what is read comes to the same addresses in a header."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.signer import addresses
from postroad.web.compose import Mailbox
from postroad.web.mailboxes import mailbox, mailboxes
from postroad.web.problems import Problem


def pairs(text: str) -> list[tuple[str, str]]:
    return [(each["name"], each["address"]) for each in mailboxes(text, "to")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a@x.example", [("", "a@x.example")]),
        ("<a@x.example>", [("", "a@x.example")]),
        ("App <a@x.example>", [("App", "a@x.example")]),
        ("J. O'Neil [x] <a@x.example>", [("J. O'Neil [x]", "a@x.example")]),
        ('"Doe, J" <a@x.example>, b@y.example', [("Doe, J", "a@x.example"), ("", "b@y.example")]),
        ('"a \\"b\\" \\\\" <a@x.example>', [('a "b" \\', "a@x.example")]),
        ('"x: y; z" <a@x.example>', [("x: y; z", "a@x.example")]),
        ('"<evil@y.example>" <a@x.example>', [("<evil@y.example>", "a@x.example")]),
        ("Grüße <a@x.example>", [("Grüße", "a@x.example")]),
        ("=?utf-8?b?R3LDvMOfZQ==?= <a@x.example>", [("Grüße", "a@x.example")]),
        ("=?none?b?R3LDvMOfZQ==?= <a@x.example>", [("=?none?b?R3LDvMOfZQ==?=", "a@x.example")]),
        ("a@x.example,\n b@y.example,", [("", "a@x.example"), ("", "b@y.example")]),
        ("a@x.example (App)", [("", "a@x.example")]),
    ],
)
def test_what_is_plain_is_read(text: str, found: list[tuple[str, str]]) -> None:
    assert pairs(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a", "a@", "@x", "a@x.example b@y.example", "App <a@x.example> <b@y.example>", "App <a@x.example", "a@x.example>",
        "team: a@x.example, b@y.example;", "team: a@x.example;", "team:;, a@x.example", "a@x.example;b@y.example",
        '"App <a@x.example>', "a@x.example\r\nBcc: b@y.example", "a@x.example\0", "<a@x.example,b@y.example>",
        "a@x.example <b@y.example>", "@y.example:a@x.example", "=?utf-8?q?a@x.example?=", "postmaster", "(a@x.example)",
    ],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    with contextlib.suppress(Problem):
        assert pairs(text) == []


@pytest.mark.parametrize("text", ["", "a@x.example, b@y.example", "nobody"])
def test_one_is_one(text: str) -> None:
    with pytest.raises(Problem):
        mailbox(text, "from")


PIECES = st.sampled_from(
    [
        "a@x.example",
        "<",
        ">",
        ",",
        ";",
        ":",
        '"',
        "\\",
        "(",
        ")",
        "@",
        " ",
        "\n ",
        "ü",
        "=?utf-8?q?=3C?=",
        "b@y.example",
        "App",
        ".",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_read_is_the_same_in_a_header(text: str) -> None:
    try:
        found = [Mailbox.model_validate(each) for each in mailboxes(text, "to")]
    except (Problem, ValueError):
        return
    shown = ", ".join(str(each.in_header()) for each in found)
    read = addresses.recipients(shown.encode(errors="replace").decode("latin-1")) if shown else []
    assert [f"{each.local}@{each.domain}" for each in read] == [each.address for each in found]
    assert [each.address for each in found] == [
        f"{each.local}@{each.domain}" for each in addresses.recipients(text.encode().decode("latin-1"))
    ]
