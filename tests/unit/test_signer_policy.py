"""The policy of messages: what is refused, and what changes."""

from dataclasses import replace

import pytest

from postroad.runtime.signing import Rewriting, SenderDomain, Settings
from postroad.signer.policy import Acceptance, HeaderChange, Refusal, SubmittedMessage, decide
from tests.growth import TIMES, in_proportion

NO_REWRITING = Rewriting(add_domain="", masquerade_domains=(), masquerade_as="", addresses={}, sender="")
PLAIN = Settings(
    hostname="mail.x.example",
    domains=(SenderDomain("x.example", subdomains=False), SenderDomain("below.example", subdomains=True)),
    users={"app": (SenderDomain("below.example", subdomains=True),), "any": (SenderDomain("*", subdomains=False),), "u@other": (SenderDomain("x.example", subdomains=False),)},
    rewriting=NO_REWRITING,
    keys=(),
)  # fmt: skip


def message(*lines: str, user: str = "") -> SubmittedMessage:
    fields = [line.encode("latin-1").partition(b":")[::2] for line in lines]
    return SubmittedMessage(tuple(fields), user)


def refused(verdict: Refusal | Acceptance) -> Refusal:
    assert isinstance(verdict, Refusal), verdict
    assert verdict.code == "550"
    assert verdict.text.isascii()
    assert verdict.text.isprintable()
    return verdict


def accepted(verdict: Refusal | Acceptance) -> Acceptance:
    assert isinstance(verdict, Acceptance), verdict
    return verdict


def test_a_plain_message_is_left_as_it_is() -> None:
    verdict = accepted(decide(message("From: App <a@X.Example>", "To: ((((", "x-odd: \xff"), PLAIN))
    assert verdict == Acceptance(
        message("From: App <a@X.Example>", "To: ((((", "x-odd: \xff").headers, domains=("x.example",)
    )


@pytest.mark.parametrize(
    "domain", ["y.example", "sub.x.example", "xx.example", "x.example.evil.example", "notbelow.example"]
)
def test_from_is_of_domains(domain: str) -> None:
    assert domain in refused(decide(message(f"From: a@{domain}"), PLAIN)).text
    assert "domains" in refused(decide(message(f"From: a@x.example, b@{domain}"), PLAIN)).text


def test_subdomains_count_where_they_are_let() -> None:
    assert accepted(decide(message("From: a@deep.sub.below.example"), PLAIN)).domains == ("deep.sub.below.example",)


def test_several_of_ours_may_stand_in_from() -> None:
    assert accepted(decide(message("From: a@x.example, b@below.example, c@X.example"), PLAIN)).domains == (
        "x.example",
        "below.example",
    )


def test_any_domain() -> None:
    settings = replace(PLAIN, domains=(SenderDomain("*", subdomains=False),))
    assert accepted(decide(message("From: a@y.example"), settings)).domains == ("y.example",)


def test_the_domain_that_leaves_chooses_the_key() -> None:
    rewriting = replace(NO_REWRITING, masquerade_domains=("web1",), masquerade_as="x.example")
    settings = replace(PLAIN, rewriting=rewriting)
    assert accepted(decide(message("From: a@host.web1"), settings)).domains == ("x.example",)
    settings = replace(PLAIN, rewriting=replace(NO_REWRITING, sender="no@below.example"))
    assert accepted(decide(message("From: a@x.example"), settings)).domains == ("below.example",)


@pytest.mark.parametrize(
    ("user", "sender", "may"),
    [
        ("app", "a@below.example", True), ("app@mail.x.example", "a@sub.below.example", True), ("app", "a@x.example", False),
        ("any", "a@x.example", True), ("any", "a@y.example", False), ("u@other", "a@x.example", True), ("u", "a@x.example", False),
        ("app@other", "a@below.example", False), ("nobody", "a@x.example", False), ("", "a@x.example", True),
    ],
)  # fmt: skip
def test_a_user_s_domains(user: str, sender: str, may: bool) -> None:
    verdict = decide(message(f"From: {sender}", user=user), PLAIN)
    assert isinstance(verdict, Acceptance) == may


@pytest.mark.parametrize(
    "name",
    ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject", "Message-ID", "In-Reply-To", "References"],
)
def test_what_may_stand_once_stands_once(name: str) -> None:
    value = "a@x.example"
    lines = [f"{name}: {value}", f"{name.upper()}: {value}"] + ([] if name == "From" else [f"From: {value}"])
    assert f"more than one {name}:" in refused(decide(message(*lines), PLAIN)).text


def test_there_is_a_from() -> None:
    assert "no From:" in refused(decide(message("To: a@x.example"), PLAIN)).text
    assert "no From:" in refused(decide(message("From\t: a@x.example"), PLAIN)).text


@pytest.mark.parametrize(
    "line",
    [
        "Sender: a@y.example, b@y.example",
        "Sender: g: a@y.example;",
        "Sender: a",
        "Resent-From: <a@y.example",
        "Resent-Sender: a@b@c",
    ],
)
def test_other_fields_of_senders_are_plain_too(line: str) -> None:
    assert line.partition(":")[0] + ":" in refused(decide(message("From: a@x.example", line), PLAIN)).text


def test_more_than_100_servers_are_a_circle() -> None:
    lines = ["From: a@x.example", *["Received: x"] * 100]
    accepted(decide(message(*lines), PLAIN))
    assert refused(decide(message(*lines, "received: x"), PLAIN)).status == "5.4.6"


@pytest.mark.parametrize(
    "line",
    [
        "X-A: " + "x" * 2000,
        "X-A: a\n" + "x" * 2001,
        "X-A:" + "\x80" * 1001,
        "X" * 101 + ": a",
        "X-A: a\0b",
        "X-A: a\rb",
        "X A: b",
        "X\xe9: b",
    ],
)
def test_what_sendmail_would_alter_is_refused(line: str) -> None:
    refused(decide(message("From: a@x.example", line), PLAIN))


def test_long_fields_of_short_lines_pass() -> None:
    accepted(
        decide(message("From: a@x.example", "X-A:" + "\n ".join(["x" * 1990] * 100), "X-B: " + "\xea" * 1990), PLAIN)
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "x",
        "v=1",
        "v=1; a=rsa-sha256; d=y; s=s; h=from; bh=; b=x",
        "v=1; a=r; d=y; s=s; h=from; bh=x; b=x; ;",
        "v=1; a=r; d=y; s=s; h=from; bh=x; b=x; \xe9=1",
    ],
)
def test_what_is_called_a_signature_is_one(value: str) -> None:
    assert "DKIM-Signature:" in refused(decide(message("From: a@x.example", f"DKIM-Signature: {value}"), PLAIN)).text


def test_another_s_signature_may_be_there() -> None:
    field = "dkim-signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\n\td=y.example; s=s;\n h=from:to; bh=eA==;\n b=eA==;"
    accepted(decide(message("From: a@x.example", field, field), PLAIN))


def test_bcc_goes() -> None:
    verdict = accepted(
        decide(message("Bcc: b@y.example", "From: a@x.example", "Resent-Bcc: c", "RESENT-BCC: d"), PLAIN)
    )
    assert verdict.changes == (
        HeaderChange(b"Bcc", 1, None),
        HeaderChange(b"Resent-Bcc", 1, None),
        HeaderChange(b"RESENT-BCC", 2, None),
    )
    assert verdict.headers == message("From: a@x.example").headers


REWRITING = replace(
    PLAIN,
    rewriting=Rewriting(
        "x.example", ("web1", "internal.example"), "x.example", {"root@x.example": "Ops.Team@x.example"}, ""
    ),
)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("From: root", "From: Ops.Team@x.example"),
        ("From: Web <www@WEB1> (w)", "From: Web <www@x.example> (w)"),
        ("From: a@deep.internal.example,b@x.example", "From: a@x.example,b@x.example"),
        ("To: t: root,a@web1;, (x) B <b@web1>", "To: t: Ops.Team@x.example,a@x.example;, (x) B <b@x.example>"),
        ("To: a@web1.example, a@[192.0.2.1]", "To: a@web1.example, a@[192.0.2.1]"),
        ("To: a@web1 ((((", "To: a@web1 (((("),
        ("X-To: a@web1", "X-To: a@web1"),
        ("Sender: cron@web1", "Sender: cron@x.example"),
        ("Resent-To: cron@web1", "Resent-To: cron@x.example"),
    ],
)
def test_addresses_leave_as_others(line: str, left: str) -> None:
    lines = [line] if line.startswith("From") else ["From: a@x.example", line]
    verdict = accepted(decide(message(*lines), REWRITING))
    assert message(left).headers[0] == verdict.headers[-1]
    assert [change.value for change in verdict.changes] == [message(left).headers[0][1]] * (left != line)


def test_who_may_send_is_asked_of_the_address_that_leaves() -> None:
    refused(decide(message("From: a@web1"), PLAIN))
    refused(decide(message("From: a@web1.evil.example"), REWRITING))
    settings = replace(REWRITING, users={"app": (SenderDomain("below.example", subdomains=False),)})
    refused(decide(message("From: a@web1", user="app"), settings))


def test_one_sender_keeps_the_name() -> None:
    settings = replace(PLAIN, rewriting=replace(NO_REWRITING, sender="noreply@below.example"))
    for value, left in (
        (" a@x.example (App)", " noreply@below.example (App)"),
        (' "Doe, J"\n <a@x.example>', ' "Doe, J"\n <noreply@below.example>'),
    ):
        verdict = accepted(decide(message(f"From:{value}"), settings))
        assert verdict.changes == (HeaderChange(b"From", 1, left.encode()),)
        assert verdict.added == ((b"X-Original-From", b" a@x.example"),)
        assert verdict.domains == ("below.example",)
    refused(decide(message("From: a@y.example"), settings))
    refused(decide(message("From: a@x.example, b@x.example"), settings))


@pytest.mark.parametrize("settings", [PLAIN, REWRITING], ids=["plain", "rewriting"])
@pytest.mark.parametrize("unit", ["(", "()", ",", "x\n (", "<", "a@b,"])
def test_no_field_takes_long(unit: str, settings: Settings) -> None:
    def judge(number: int) -> None:
        value = unit * number
        text = "\n ".join(value[at : at + 900] for at in range(0, len(value), 900))
        decide(message("From: a@x.example", f"To: {text}"), settings)

    assert in_proportion(judge, 30_000 // len(unit) // TIMES)


@pytest.mark.parametrize(
    ("lines", "settings", "user", "status", "text"),
    [
        (["To: a@x.example"], PLAIN, "", "5.6.0", "the message has no From: header"),
        (["From: a@x.example", "from: a@x.example"], PLAIN, "", "5.7.1", "more than one From: header"),
        (["From: a@x.example", "To: a", "TO: b"], PLAIN, "", "5.6.0", "more than one To: header"),
        (["From: a@x.example", "Sender: a@y.example, b@y.example"], PLAIN, "", "5.6.0", "Sender: must hold one address"),
        (["From: a@x.example", "Resent-Sender: a@y, b@y"], PLAIN, "", "5.6.0", "Resent-Sender: must hold one address"),
        (["From: a@x.example", "DKIM-Signature: x"], PLAIN, "", "5.6.0", "DKIM-Signature: is not a signature as RFC 6376 (3.5) has it"),
        (["From: a@y.example"], PLAIN, "", "5.7.1", "From: domain y.example is not one of domains in the configuration of this relay"),
        (["From: a@x.example"], PLAIN, "app", "5.7.1", "user app may not send From: x.example"),
        (["From: a@x.example"], PLAIN, "\xe9 b", "5.7.1", "user ?? may not send From: x.example".replace("??", "??b")),
        (["From: a@x.example"], PLAIN, "u" * 101, "5.7.1", f"user {'u' * 100} may not send From: x.example"),
        (["From: a@x.example", "A\xe9: b"], PLAIN, "", "5.6.0", "a header field's name holds other characters than RFC 5322 (3.6.8) has"),
        (["From: a@x.example", f"{'X' * 101}: b"], PLAIN, "", "5.6.0", f"{'X' * 40}...: a header field's name may have 100 octets"),
        (["From: a@x.example", "X-A: a\0"], PLAIN, "", "5.6.0", "X-A: holds a NUL or CR"),
        (["From: a@x.example", "X-A: " + "x" * 2000], PLAIN, "", "5.6.0", "X-A: has a line of more than 2000 octets (some count twice): fold it"),
        (["From: a@x.example", *["Received: x"] * 101], PLAIN, "", "5.4.6", "Received: stands here 101 times, 100 are most: mail goes in a circle"),
    ],
)  # fmt: skip
def test_what_a_refusal_says(lines: list[str], settings: Settings, user: str, status: str, text: str) -> None:
    assert refused(decide(message(*lines, user=user), settings)) == Refusal("550", status, text)


@pytest.mark.parametrize("name", ["Via", "Mail-From", "X400-Received", "Received"])
def test_every_trace_field_is_a_hop(name: str) -> None:
    assert refused(decide(message("From: a@x.example", *[f"{name}: x"] * 101), PLAIN)).status == "5.4.6"


def test_what_just_fits() -> None:
    value = "x" * (2000 - len("X-A:"))
    accepted(decide(message("From: a@x.example", f"X-A:{value}", "Y" * 100 + ": a"), PLAIN))
    refused(decide(message("From: a@x.example", f"X-A:{value}x"), PLAIN))
    accepted(decide(message("From: a@x.example", "X-A:\n" + "x" * 2000), PLAIN))
    # octets that count twice: 0x80 to 0x9f, and 0xff
    for octet, size in (("\x80", 998), ("\x9f", 998), ("\xff", 998), ("\x7f", 1996), ("\xa0", 1996), ("\xfe", 1996)):
        accepted(decide(message("From: a@x.example", "X-A:" + octet * size), PLAIN))
        refused(decide(message("From: a@x.example", "X-A:" + octet * (size + 1)), PLAIN))


def test_several_may_send_again() -> None:
    accepted(decide(message("From: a@x.example", "Resent-From: a@y.example, b@y.example"), PLAIN))


def test_a_name_alone_counts_only_where_a_domain_is_added() -> None:
    refused(decide(message("From: a@x.example", "Sender: cron"), PLAIN))
    verdict = accepted(decide(message("From: a@x.example", "Sender: cron"), REWRITING))
    assert verdict.headers[-1] == (b"Sender", b" cron@x.example")


@pytest.mark.parametrize("tag", ["v", "a", "b", "bh", "d", "h", "s"])
def test_no_tag_of_a_signature_may_be_missing(tag: str) -> None:
    tags = {"v": "1", "a": "rsa-sha256", "b": "eA==", "bh": "eA==", "d": "y.example", "h": "from", "s": "s"}
    for changed in ({**tags, tag: ""}, {key: value for key, value in tags.items() if key != tag}):
        field = ";".join(f"{key}={value}" for key, value in changed.items())
        refused(decide(message("From: a@x.example", f"DKIM-Signature: {field}"), PLAIN))
    spaced = " ; ".join(f" \t{key}\n =\t {value} " for key, value in tags.items())
    accepted(decide(message("From: a@x.example", f"DKIM-Signature: {spaced};\n "), PLAIN))
    # other white space is no white space of a header's
    refused(decide(message("From: a@x.example", f"DKIM-Signature: {spaced};\x0bx=1"), PLAIN))
    refused(decide(message("From: a@x.example", "DKIM-Signature: " + spaced.replace("v\n", "v\x0c")), PLAIN))
    refused(decide(message("From: a@x.example", f"DKIM-Signature: X{spaced}".replace("v\n", "v X")), PLAIN))


def test_a_realm_with_an_at_sign_is_not_the_host_s() -> None:
    settings = replace(PLAIN, users={"app": (SenderDomain("x.example", subdomains=False),)})
    accepted(decide(message("From: a@x.example", user="app@mail.x.example"), settings))
    refused(decide(message("From: a@x.example", user="app@other@mail.x.example"), settings))
    settings = replace(PLAIN, users={"app@other": (SenderDomain("x.example", subdomains=False),)})
    accepted(decide(message("From: a@x.example", user="app@other@mail.x.example"), settings))
