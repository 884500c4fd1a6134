import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import lines
from tests.logs.writers import printable


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_unescape_undoes_what_sendmail_does(text: str) -> None:
    assert lines.unescape(printable(text)) == text


def test_unescape_shows_bytes_that_are_not_utf8() -> None:
    assert lines.unescape(r"caf\351 \303\251") == r"caf\xe9 é"


@settings(deadline=None)
@given(st.text())
def test_unescape_never_raises(text: str) -> None:
    lines.unescape(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a@x>, delay=1", ["<a@x>"]),
        ("<a@x>,<b@y>, delay=1", ["<a@x>", "<b@y>"]),
        ("a@x,b@y, delay=1", ["a@x", "b@y"]),
        ('<"a, b"@x>,<c@y>, delay=1', ['<"a, b"@x>', "<c@y>"]),
        (r'<"a\", b"@x>, delay=1', [r'<"a\", b"@x>']),
        ("<a(one, two)@x>, delay=1", ["<a(one, two)@x>"]),
        ('<a(a "quote, in (a) comment)@x>, delay=1', ['<a(a "quote, in (a) comment)@x>']),
        (r"<a(\), )@x>, delay=1", [r"<a(\), )@x>"]),
        ('<"a(, "@x>, delay=1', ['<"a(, "@x>']),
        ("<@a, @b:c@d>, delay=1", ["<@a, @b:c@d>"]),
        (r"a\, b@x, delay=1", [r"a\, b@x"]),
        ("<>, delay=1", ["<>"]),
        (", delay=1", []),
    ],
)
def test_addresses(text: str, expected: list[str]) -> None:
    found = lines.addresses(text)
    assert found is not None
    assert found[0] == expected
    assert text[found[1] :] == "delay=1"


@pytest.mark.parametrize(
    "text", ['<"a, b@x>, delay=1', "<a(b@x>, delay=1", "<a@x, delay=1", "<a@x>", "", r'<"a\"@x>, d']
)
def test_addresses_that_do_not_end(text: str) -> None:
    assert lines.addresses(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[192.0.2.1]", (None, "192.0.2.1")),
        ("mx.example. [192.0.2.1]", ("mx.example", "192.0.2.1")),
        ("mx.example.", ("mx.example", None)),
        ("[192.0.2.1] [192.0.2.1]", (None, "192.0.2.1")),
        ("[IPv6:2001:db8::25] [IPv6:2001:db8:0:0:0:0:0:25]", (None, "2001:db8::25")),
        ("app.example [192.0.2.1] (may be forged)", (None, "192.0.2.1")),
        ("localhost [IPv6:0:0:0:0:0:0:0:1]", ("localhost", "::1")),
        ("[IPv6:2001:db8:0:0:0:0:0:25]", (None, "2001:db8::25")),
        ("[IPv6:nonsense:]", (None, "nonsense:")),
        (".", (None, None)),
        (None, (None, None)),
    ],
)
def test_peer(text: str | None, expected: tuple[str | None, str | None]) -> None:
    assert lines.peer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:03", 3),
        ("01:02:03", 3723),
        ("1+00:00:01", 86401),
        ("4+23:59:59", 431999),
        ("", None),
        ("soon", None),
        (None, None),
    ],
)
def test_seconds(text: str | None, expected: int | None) -> None:
    assert lines.seconds(text) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.1.1 <a@x>... User unknown", "5.1.1"),
        ("550-5.7.1 Our system", "5.7.1"),
        ("421 4.3.2", "4.3.2"),
        ("550 no such user 5.1.1", None),
        ("5.1.1 unknown", None),
    ],
)
def test_reply_dsn(reply: str, expected: str | None) -> None:
    assert lines.reply_dsn(reply) == expected


WORDS = st.text(st.sampled_from(string.ascii_lowercase + ' .,()=<>"'), max_size=20)
HOSTILE = st.lists(
    st.one_of(
        WORDS,
        st.sampled_from([", stat=Sent", ", stat=Deferred: 452 x", ", stat=User unknown", ", dsn=2.0.0, stat=Deferred"]),
    ),
    max_size=4,
).map("".join)


def separate(reply: str, status: str, dsn: str) -> tuple[str | None, str]:
    before, _, after = f"{reply}, stat={status}".partition(", stat=")
    return lines.reply_and_status(before, after, dsn)


@settings(deadline=None)
@given(HOSTILE)
def test_a_reply_does_not_forge_the_status_of_a_failure(words: str) -> None:
    reply = f"550 5.1.1 {words}"
    assert separate(reply, "User unknown", "5.1.1") == (reply, "User unknown")


@settings(deadline=None)
@given(HOSTILE)
def test_a_reply_does_not_forge_the_status_of_a_deferral(words: str) -> None:
    reply = f"452 4.2.2 {words}"
    assert separate(reply, f"Deferred: {reply}", "4.2.2") == (reply, f"Deferred: {reply}")
    assert separate(reply, "Deferred", "4.2.2")[1].startswith("Deferred")


def test_a_failure_after_a_deferring_code_keeps_its_words() -> None:
    assert separate("452 full, stat=Sent", "User unknown", "5.0.0") == ("452 full, stat=Sent", "User unknown")


def test_rejection_of_an_address_is_not_forged_by_it() -> None:
    text = (
        'ruleset=check_rcpt, arg1=<"a, relay=[6.6.6.6], reject=250 ok"@x>, relay=[192.0.2.1], '
        'reject=550 5.7.1 <"a, reject=2"@x>... no'
    )
    assert lines.rejection(text, {"check_rcpt"}) == lines.Rejection(
        "check_rcpt", '<"a, relay=[6.6.6.6], reject=250 ok"@x>', "[192.0.2.1]", '550 5.7.1 <"a, reject=2"@x>... no'
    )


def test_rejection_of_a_header_is_not_forged_by_it() -> None:
    text = 'ruleset=CheckFrom, arg1= "x, relay=[6.6.6.6], reject=250 ok, relay=[192.0.2.1], reject=550 5.7.1 no'
    found = lines.rejection(text, {"check_rcpt"})
    assert found is not None
    assert (found.peer, found.reply) == ("[192.0.2.1]", "550 5.7.1 no")


@pytest.mark.parametrize(
    "text",
    [
        "ruleset=check_rcpt, arg1=<a@x>, relay=[192.0.2.1], discard",
        "ruleset=CheckFrom, arg1=x, discard",
        'ruleset=check_rcpt, arg1=<"a...x>, relay=[192.0.2.1], reject=550 <"a, relay=[6.6.6.6], reject=1"@x>... no',
        "ruleset=",
        "ruleset=check_rcpt, arg1=",
        "ruleset=X, arg1=, relay=, reject=",
    ],
)
def test_what_is_no_rejection(text: str) -> None:
    assert lines.rejection(text, {"check_rcpt"}) is None


def test_sender_that_was_cut_can_not_take_in_the_fields() -> None:
    cut = '<"' + "y" * 198
    message_id = '">, size=1, class=0, nrcpts=9, msgid=x'
    text = f"from={cut}, size=7, class=0, nrcpts=1, msgid={message_id}, proto=SMTP, relay=[192.0.2.1]"
    sender, match = lines.sender(text)
    assert sender == cut
    assert match is not None
    assert match["size"] == "7"
    assert match["message_id"] == message_id


@settings(deadline=None)
@given(st.text())
def test_readers_never_raise(text: str) -> None:
    lines.addresses(text)
    lines.peer(text)
    lines.rejection(f"ruleset=check_rcpt, arg1={text}", {"check_rcpt"})
    lines.rejection(f"ruleset=x, arg1={text}", {"check_rcpt"})
    lines.sender(f"from={text}")
    lines.seconds(text)
