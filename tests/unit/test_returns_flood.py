"""Whatever comes: messages made at random end in lines for the log, and in nothing else.

``POSTROAD_CASES=100000`` (``make returns-inputs``) makes so many messages. They are made in parts, each with a seed of its
own from that of all tests, so that several processes share them, and a part that fails can be repeated alone.
"""

import gzip
import json
import os
import random
import time

import pytest

from postroad.events import own
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.returns.telling import told
from tests.seeds import SEED
from tests.unit.test_returns_reading import ARF, DSN, report, text_message
from tests.unit.test_returns_reports import TLS, XML, zipped
from tests.unit.test_returns_server import DOMAIN
from tests.unit.test_returns_telling import attached

pytestmark = pytest.mark.seeded
CASES = int(os.environ.get("POSTROAD_CASES", "400"))
LARGEST_PART = 500
PARTS = [
    pytest.param(number, min(LARGEST_PART, CASES - begin), id=f"part {number}")
    for number, begin in enumerate(range(0, CASES, LARGEST_PART))
]
"""A part's number, and how many cases it has."""
KINDS = {"bounced", "complained", "returned", "reported"}
LONGEST = 5.0
"""Seconds of CPU time that one message may take."""

SAMPLES = (
    report("delivery-status", "delivery-status", DSN),
    report("delivery-status", "delivery-status", DSN.replace("failed", "delayed")),
    report("feedback-report", "feedback-report", ARF),
    text_message("<u@y.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n"),
    text_message("x", "Auto-Submitted: auto-replied\n"),
    attached(gzip.compress(XML, mtime=0)),
    attached(zipped({"a.xml": XML}), "application/zip"),
    attached(gzip.compress(json.dumps(TLS).encode(), mtime=0), "application/tlsrpt+gzip"),
    attached(XML, "text/xml"),
)
PIECES = (
    *(b"\0", b"\r\n", b"\n", b"\n\n", b"--b1\n", b"--b1--\n", b"\xff\xfe", b"=?utf-8?b?", b"<!DOCTYPE x>", b"&x;", b"1" * 400),
    *(b"Content-Type: multipart/mixed; boundary=b1\n", b"Content-Type: message/rfc822\n", b"Action: failed\n", b"x" * 3000),
    *(b"Content-Transfer-Encoding: base64\n", b'Content-Type: text/plain; charset="', b"boundary*0*=", b"\x1f\x8b", b"PK\x03\x04"),
)  # fmt: skip


def mutated(source: random.Random) -> bytes:
    """A message that once was one."""
    content = bytearray(source.choice(SAMPLES))
    for _ in range(source.randrange(1, 12)):
        at = source.randrange(len(content) + 1)
        match source.randrange(5):
            case 0:
                content[at : at + source.randrange(1, 40)] = b""
            case 1:
                content[at:at] = source.choice(PIECES)
            case 2:
                content[at : at + 4] = source.randbytes(4)
            case 3:
                other = source.choice(SAMPLES)
                content[at:at] = other[source.randrange(len(other)) :][: source.randrange(1, 600)]
            case _:
                begin = source.randrange(len(content) + 1)
                content[at:at] = content[begin : begin + source.randrange(1, 300)] * source.choice((1, 2, 20))
    return bytes(content[:100_000])


def source_of(part: int) -> random.Random:
    """What a part's cases are made from."""
    return random.Random(f"{SEED} {part}")


@pytest.mark.parametrize(("part", "cases"), PARTS)
def test_messages_made_at_random_end_in_events(part: int, cases: int) -> None:
    source = source_of(part)
    queue_ids = {f"b@{DOMAIN}": "6AQ7sdUD000094"}
    for number in range(cases):
        content = mutated(source)
        to = source.choice((f"b@{DOMAIN}", f"abuse@{DOMAIN}", f"dmarc@{DOMAIN}", f"postmaster@{DOMAIN}"))
        began = time.thread_time()
        lines = told([to], content, queue_ids.get).lines
        assert time.thread_time() - began < LONGEST, (number, content)
        assert lines, (number, content)
        for line in lines:
            event = own.read(parse_datagram(format_datagram("info", line), 0.0))
            assert event.kind in KINDS, (number, line)
