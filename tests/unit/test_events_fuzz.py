"""From whatever comes to the log's socket to the lines that are printed."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from postroad.events.parse import Parser
from postroad.events.syslog import parse_datagram
from tests.unit.test_sinks_stdout import as_json, as_text

ID = "6AO58bxT005525"
WORDS = st.sampled_from(
    [
        *(f"{ID}: ", "NOQUEUE: ", "from=", "to=", ", ", "<a@x>", "stat=Sent (", "stat=Deferred: ", "stat=User unknown", "dsn=5.1.1, "),
        *("relay=mx.y. [192.0.2.9]", "delay=00:00:01, ", "msgid=<m@x>, ", "size=1, ", "nrcpts=1, ", "reject=550 5.7.1 ", "ruleset=check_rcpt, "),
        *("Milter accept: message", "Milter: ", "STARTTLS=client, ", "AUTH=server, ", "DSN: ", f"clone of {ID}", "DKIM-Signature field added (s=a, d=b)"),
        *("\n", "\r", "\x1b[31m", "\0", '"', "\\", "{", "}", '{"event": "delivered"}', "[", "]", "(", ")", "=", "99999999999999999999", "-1"),
    ]
)  # fmt: skip
TEXTS = st.lists(WORDS | st.text(max_size=8), max_size=14).map("".join)
HEADS = st.sampled_from([b"<22>sendmail[7]: ", b"<22>signer[8]: ", b"<22>sendmail[9]: ", b"<21>postroad[1]: ", b""])
DATAGRAMS = st.tuples(HEADS, TEXTS.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=40)).map(
    b"".join
)


@given(st.lists(DATAGRAMS, max_size=8))
def test_whatever_is_logged_becomes_lines_of_our_own(datagrams: list[bytes]) -> None:
    parser = Parser()
    events = [
        event for time, datagram in enumerate(datagrams) for event in parser.feed(parse_datagram(datagram, float(time)))
    ]
    for event in [*events, *parser.expire(1e6), *parser.flush()]:
        line = as_json(event)
        assert re.fullmatch(r"[ -~]+", line)
        assert json.loads(line)["event"] == event.kind
        assert as_text(event).isprintable()
