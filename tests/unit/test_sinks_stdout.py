import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import model
from postroad.sinks.stdout import StdoutSink
from postroad.sinks.told import Told

EVENT = model.Bounced(
    time=1795496643.4567,
    program="sendmail",
    pid=7,
    recipient="a@y",
    reply='550 5.1.1 "no" é\n\x1b[31m\x7f\u202e',
    delay=0,
)
NASTY = st.text(st.one_of(st.characters(), st.sampled_from('\n\r\t\0\x1b\x7f\x85\u2028\u202e\ud800"\\= ')))


def line_of(event: model.Event, form: str) -> str:
    stream = io.StringIO()
    StdoutSink(form, stream).handle([Told(event)])
    return stream.getvalue().removesuffix("\n")


def as_json(event: model.Event) -> str:
    return line_of(event, "json")


def as_text(event: model.Event) -> str:
    return line_of(event, "text")


def test_json() -> None:
    line = as_json(EVENT)
    assert json.loads(line) == EVENT.to_dict()
    assert line.startswith('{"event": "bounced", "time": "2026-11-24T05:04:03.456Z", ')
    assert "\\u001b[31m\\u007f\\u202e" in line


def test_text() -> None:
    assert as_text(EVENT) == (
        "2026-11-24T05:04:03.456Z bounced program=sendmail pid=7 recipient=a@y "
        'reply="550 5.1.1 \\"no\\" é\\n\\x1b[31m\\x7f\\u202e" delay=0'
    )


def test_text_of_simple_values() -> None:
    assert as_text(model.Auth(time=0, success=False, user="a")) == "1970-01-01T00:00:00.000Z auth success=no user=a"
    assert as_text(model.Auth(time=0, success=True)).endswith("success=yes")
    assert as_text(model.Accepted(time=0, sender="")).endswith('sender=""')
    assert as_text(model.Accepted(time=0, sender="a=b")).endswith('sender="a=b"')


@settings(deadline=None)
@given(NASTY)
def test_json_is_one_line_of_plain_ascii_whatever_is_in_it(text: str) -> None:
    line = as_json(model.Raw(time=0, message=text))
    assert re.fullmatch(r"[ -~]+", line)
    assert json.loads(line)["message"] == text


@settings(deadline=None)
@given(NASTY)
def test_text_is_one_line_that_can_be_printed_whatever_is_in_it(text: str) -> None:
    line = as_text(model.Raw(time=0, message=text))
    assert line.isprintable()
    assert line.encode()
    head = "1970-01-01T00:00:00.000Z raw message="
    assert line.startswith(head)
    value = line.removeprefix(head)
    assert value == text or (value[0] == value[-1] == '"' and not re.search(r'(?<!\\)(\\\\)*"', value[1:-1]))


@settings(deadline=None)
@given(NASTY, NASTY)
def test_text_of_one_value_does_not_pass_for_another(one: str, other: str) -> None:
    if one != other:
        assert as_text(model.Raw(time=0, message=one)) != as_text(model.Raw(time=0, message=other))


class Stream(io.StringIO):
    flushed = 0

    def flush(self) -> None:
        self.flushed += 1


@pytest.mark.parametrize(("format_", "write"), [("json", as_json), ("text", as_text)])
def test_the_sink_writes_a_line_an_event_and_flushes_it(format_: str, write: type) -> None:
    stream = Stream()
    sink = StdoutSink(format_, stream)
    sink.handle([Told(EVENT)])
    sink.handle([Told(EVENT)])
    assert stream.getvalue() == f"{write(EVENT)}\n" * 2
    assert stream.flushed == 2


def test_the_format_may_change() -> None:
    stream = Stream()
    sink = StdoutSink("json", stream)
    sink.format = "text"
    sink.handle([Told(EVENT)])
    assert stream.getvalue() == as_text(EVENT) + "\n"
