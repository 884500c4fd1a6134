"""No address is printed where log.redact says so."""

import io
import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import model
from postroad.sinks.redact import Redactor
from postroad.sinks.stdout import StdoutSink
from postroad.sinks.told import Told

DOMAIN, HASH = Redactor("domain"), Redactor("hash", b"key")
MARK = "Zebra7"
"""In every generated mailbox's name; it may show nowhere."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 5.1.1 <gone@example.net> unknown user", "550 5.1.1 <***@example.net> unknown user"),
        ("550 5.1.1 <Gone@Example.net>... User unknown", "550 5.1.1 <***@Example.net>... User unknown"),
        ("to=<a@x.example>,<b@y.example>, delay=1", "to=<***@x.example>,<***@y.example>, delay=1"),
        ("from=app@sender.example, size=5", "from=***@sender.example, size=5"),
        ("mailto:a.b+c@x.example.", "mailto:***@x.example"),
        ("see https://x.example/?m=a%40x.example&q", "see https:***@x.example"),
        ('arg1=<"john doe"@x.example>, relay=', "arg1=<***@x.example>, relay="),
        ('"John" <j@x.example>', '"John" <***@x.example>'),
        ('said "550 j@x.example unknown"', 'said "550 ***@x.example unknown"'),
        ("arg1=<root>, relay=<>", "arg1=<***>, relay=<>"),
        ("user@[192.0.2.1] @x", "***@[192.0.2.1] ***@x"),
        ("@relay.example:j@x.example", "***@relay.example:***@x.example"),
        ("a%b.example@x.example", "***@x.example"),
        ("a@b@x.example", "***@x.example"),
        ("<cut@x.exam", "<***@x.exam"),
        ('cut off"@x.example here', "***@x.example here"),
        ('"not closed j@x.example', "***@x.example"),
        ("nobody here: 5.1.1 it's 12:30 (a, b)", "nobody here: 5.1.1 it's 12:30 (a, b)"),
        ("ruleset=check_rcpt, arg1=<a b@x.example>", "ruleset=check_rcpt, arg1=<***@x.example>"),
        ("", ""),
    ],
)
def test_domain(text: str, expected: str) -> None:
    assert DOMAIN.text(text) == expected


def test_a_digest_is_the_same_for_the_same_address_and_another_for_others() -> None:
    texts = ["<gone@x.example>... User unknown", "to=GONE@X.example", "<gone@x.example>"]
    (found,) = {number for text in texts for number in re.findall(r"#[0-9a-f]{16}", HASH.text(text))}
    assert HASH.fields({"recipient": "Gone@x.example"}) == {"recipient": found}
    event = HASH.fields({"recipient": "gone@x.example", "reply": "<gone@x.example>... and GONE@x.example. "})
    assert event["reply"] == f"<{found}>... and {found} "
    assert found not in HASH.text("<gone@y.example>")
    assert Redactor("hash", b"other").text("gone@x.example") not in {found, "***"}
    assert Redactor("hash").text("to <gone@x.example>") == "to <***>"


def test_a_mailbox_s_name_without_its_domain() -> None:
    event: dict[str, Any] = {
        "event": "bounced", "recipient": "alice.b@x.example", "sender": "", "relay_host": "alice.b.example",
        "reply": "550 No mailbox ALICE.B here, but alice.bc", "message_id": "<1.alice.b@app>",
    }  # fmt: skip
    assert DOMAIN.fields(event) == event | {
        "recipient": "***@x.example", "reply": "550 No mailbox *** here, but alice.bc",
    }  # fmt: skip


@pytest.mark.parametrize("text", ['"@Zebra7"%c.example@x.example', 'no "@Zebra7"@x.example', '"a"@"Zebra7"@x.example'])
def test_an_at_sign_in_quotes_begins_no_domain(text: str) -> None:
    for redactor in (DOMAIN, HASH):
        assert "zebra7" not in redactor.text(text).lower()


ATOM = st.text("abc019!#$%&'*+-/=?^_`{|}~.ü", max_size=8)
QUOTED = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8).map(
    lambda text: text.replace("\\", "\\\\").replace('"', '\\"')
)
LOCAL = st.one_of(
    st.tuples(ATOM, ATOM).map(lambda parts: f"{parts[0]}{MARK}{parts[1]}"),
    st.tuples(QUOTED, QUOTED).map(lambda parts: f'"{parts[0]}{MARK}{parts[1]}"'),
)
AT = st.sampled_from(["@", "%40", "@relay.example@", "%c.example@"])
ADDRESS = st.tuples(LOCAL, AT, st.sampled_from(["x.example", "[192.0.2.1]", "xn--bcher-kva.example"])).map("".join)
AROUND = st.sampled_from(
    [
        "{}", "<{}>", "to=<{}>, ctladdr=<{}> (1/1), delay=00:00:01", "550 5.1.1 <{}>... User unknown", "({})", "{}: no",
        "550 {}, is unknown", "arg1=<{}>, relay=app [10.0.0.1], reject=550 5.7.1 <{}>... no", "<{}", "from={}, size=1",
        "SMTP:{}", "rfc822;{}", "mail from {} to <{}> and {}; refused", "said: {}.", "[{}]", "{{{}}}", "a\t{}\nb",
    ]
)  # fmt: skip
EVENT = st.tuples(AROUND, ADDRESS).map(lambda parts: parts[0].replace("{}", parts[1]))


@settings(deadline=None, max_examples=500)
@given(EVENT, ADDRESS, st.sampled_from(["json", "text"]), st.sampled_from([DOMAIN, HASH]))
def test_no_address_is_printed(text: str, address: str, format_: str, redactor: Redactor) -> None:
    stream = io.StringIO()
    sink = StdoutSink(format_, stream)
    sink.redactor = redactor
    for each in (
        model.Raw(time=0, message=text),
        model.Notice(time=0, message=text),
        model.Auth(time=0, user=address, status=text),
        model.Bounced(time=0, sender=address, recipient=address, reply=text, status=text),
        model.Rejected(time=0, recipient=address, reply=f"550 {MARK} unknown, {text}"),
    ):
        sink.handle([Told(each)])
    said = stream.getvalue()
    if MARK.lower() in said.lower():
        # a name that is no whole word, after words that only look like it
        said = said.replace(f"550 {MARK} unknown", "")
    assert MARK.lower() not in said.lower()


@pytest.mark.parametrize("unit", ['<"', '"', '\\"', "<", "a@", '"@', "<<>", "(", '<a"@'])
def test_the_time_is_in_proportion_to_the_text(unit: str) -> None:
    DOMAIN.text(unit * 100)
    began = time.process_time()
    DOMAIN.text(unit * 30_000)
    assert time.process_time() - began < 3


def test_without_it_all_stays() -> None:
    stream = io.StringIO()
    StdoutSink("json", stream).handle([Told(model.Raw(time=0, message="<a@x.example>"))])
    assert json.loads(stream.getvalue())["message"] == "<a@x.example>"


def test_openssl_is_not_loaded_unless_wanted() -> None:
    code = "import sys, postroad.supervisor.main, postroad.sinks.redact as r; r.Redactor('domain'); print('hmac' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
