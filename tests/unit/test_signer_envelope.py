"""The arguments of MAIL and RCPT."""

import pytest

from postroad.signer.envelope import redirections, refused_recipient, refused_sender
from tests.growth import in_proportion

PLAIN = [
    "<a@x.example>", "a@x.example", "<a.b+c@x.example>", "<a%b@x.example>", "<b!a@x.example>", '<"a b"@x.example>', '<"a\\"b"@x.example>', '<"a@y"@x.example>',
    "<a@[192.0.2.1]>", "<a@[IPv6:2001:db8::1]>", "<@r.example,@s.example:a@x.example>", "<root>", "<postmaster>", "<a@x_y.example>", "<a@x>", '<"">',
    "<" + "l" * 200 + "@x.example>", "<=?utf-8?q?a?=@x.example>",
]  # fmt: skip
ODD = [
    "<jane doe@x.example>", "<a @x.example>", "<a@ x.example>", "< a@x.example>", "<a@x.example >", "<a@x.example.>", "<(c)a@x.example>", "<a(c)@x.example>",
    "<a;b@x.example>", "<a,b@x.example>", "<a:b@x.example>", "<A <a@x.example>>", "<a..b@x.example>", "<.a@x.example>", "<a.@x.example>", "<a\\ b@x.example>",
    "<a@x..example>", "<a@-x.example>", "<a@x-.example>", "<a@x.example>b", "b<a@x.example>", "<a@x.ex\xe1mple>", "<a@x\x80.example>", "<\xe9@x.example>", "<a[b@x.example>",
    "<a@y@x.example>", "<@x.example>", "<a@>", "", "<a@x.example", "a@x.example>", "<a\x00@x.example>", "<a\t@x.example>", '<"a@x.example>', '<"a"b@x.example>', '<"\x80"@x.example>',
    "<:include:/etc/passwd>", "<a@[x y]>", "<a@x.example,b@x.example>", "<@r.example a@x.example>",
]  # fmt: skip


@pytest.mark.parametrize("path", PLAIN)
def test_a_plain_address_is_taken(path: str) -> None:
    assert refused_sender([path.encode()]) is None
    assert refused_recipient([path.encode()]) is None


@pytest.mark.parametrize("path", ODD)
def test_another_one_is_refused(path: str) -> None:
    for refusal in (refused_sender([path.encode("latin-1")]), refused_recipient([path.encode("latin-1")])):
        assert refusal is not None
        assert refusal.code == "501"


@pytest.mark.parametrize(
    ("path", "resolved", "other"),
    [
        (b"<a@x.example>", b"a@x.example", None),
        (b"<A@X.example>", b"<a@x.example.>", None),
        (b'<"a"@x.example>', b"a@x.example", None),
        (b"<@r.example,@s.example:a@x.example>", b"a@x.example", None),
        (b"<a@x.example>", b"qa@y.example", ("a@x.example", "qa@y.example")),
        (b"a@x.example", b"<qa@y.example.>", ("a@x.example", "qa@y.example")),
        (b"<@r.example:a@x.example>", b"qa@y.example", ("@r.example:a@x.example", "qa@y.example")),
        (b"<root>", b"root@x.example", ("root", "root@x.example")),
    ],
)
def test_a_recipient_is_redirected_where_the_address_is_another(
    path: bytes, resolved: bytes, other: tuple[str, str] | None
) -> None:
    assert redirections([(path, resolved)]) == ([other] if other else [])


def test_a_recipient_at_an_address_that_another_one_s_mail_goes_to_is_told_too() -> None:
    """sendmail delivers once, and logs the first."""
    plain = (b"<x@y.example>", b"x@y.example")
    assert redirections([(b"<old@y.example>", b"new@y.example"), (b"<New@y.example>", b"New@y.example"), plain]) == [
        ("old@y.example", "new@y.example"),
        ("New@y.example", "New@y.example"),
    ]
    assert redirections([(b"<x@y.example>", b""), plain, plain]) == []


def test_the_null_sender_sends_and_gets_nothing() -> None:
    assert refused_sender([b"<>", b"BODY=8BITMIME", b"SIZE=7"]) is None
    assert refused_recipient([b"<>"]) is not None


@pytest.mark.parametrize(
    "value", ["a+0D+0AX:+20y", "a+0a", "a+00", "a+7F+80", "a\x80", "a+", "a+4", "a b", "a=b", "+ff"]
)
def test_parameters_bring_no_lines_into_bounces(value: str) -> None:
    for name in ("ENVID=", "envid="):
        assert refused_sender([b"<a@x.example>", name.encode() + value.encode("latin-1")]) is not None
        assert refused_sender([b"<>", name.encode() + value.encode("latin-1")]) is not None
    assert refused_recipient([b"<a@x.example>", b"ORCPT=rfc822;" + value.encode("latin-1")]) is not None


def test_plain_parameters_are_taken() -> None:
    assert refused_sender([b"<a@x.example>", b"RET=HDRS", b"ENVID=QQ314159+2B+3D;x", b"AUTH=<>"]) is None
    assert refused_recipient([b"<a@x.example>", b"NOTIFY=SUCCESS,FAILURE", b"ORCPT=rfc822;Bob+2Bx@x.example"]) is None


@pytest.mark.parametrize(("begin", "unit"), [("<", "a."), ("<a@", "-"), ("<", "@a,"), ('<"', "\\a"), ("<a@", "a-")])
def test_no_path_takes_long(begin: str, unit: str) -> None:
    assert in_proportion(lambda number: refused_recipient([(begin + unit * number).encode()]), 2_000)
