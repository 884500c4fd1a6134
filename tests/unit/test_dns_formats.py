"""Records as text, at their edges; what reads them for real is in tests/integration."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import dns.rdata
import hcl2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.dns.formats import bind, cloudflare, record_sets, route53, strings, terraform, zone_line
from postroad.dns.records import Record
from postroad.dns.resolver import Text
from postroad.dns.survey import Planned, RecordState
from tests.unit.whole import Whole


def planned(
    value: str, name: str = "example.com", rtype: str = "TXT", state: RecordState = RecordState.ADD, **more: Any
) -> Planned:
    return Planned(Record(name, rtype, 3600, value, "for a test"), state, "example.com", **more)


def parsed(line: str) -> str:
    """A zone line's value as a DNS library reads it."""
    data = dns.rdata.from_text("IN", "TXT", line.split(" IN TXT ")[1])
    return b"".join(data.strings).decode()  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=700))
def test_any_text_survives_a_zone_file(text: str) -> None:
    line = zone_line(planned(text).record)
    assert line.isascii()
    assert line.isprintable()
    assert parsed(line) == text


def is_parsed(text: str) -> bool:
    """Not by Python's parser, which does not know how Terraform escapes the starts of templates: the next test has those."""
    return text.encode(errors="ignore").decode() == text and "${" not in text and "%{" not in text


@settings(deadline=None, max_examples=25)  # the parser takes its time
@given(st.text(max_size=600).filter(is_parsed))
def test_any_text_is_valid_terraform(text: str) -> None:
    made = terraform([planned(text)])
    assert made.isascii()
    assert hcl2.loads(made)["resource"]


def test_starts_of_templates_are_escaped_for_terraform() -> None:
    assert '"a$${b}%%{c}"' in terraform([planned("a${b}%{c}")])


@pytest.mark.parametrize("length", [0, 1, 254, 255, 256, 510, 511])
def test_strings_of_255(length: int) -> None:
    parts = strings("x" * length)
    assert b"".join(parts) == b"x" * length
    assert all(len(part) <= 255 for part in parts)
    assert len(parts) == max(1, -(-length // 255))


OTHERS = [Text([b"a\xffb", b"", b'"c\\']), Text([b"a\xfeb", b"", b'"c\\']), Text([b"\xc3\xa4"])]


def test_what_is_somebody_else_s_is_written_back_octet_by_octet() -> None:
    """Octets above 127 and the strings' boundaries: two of these look the same as text."""
    record = planned("v=spf1 -all", state=RecordState.CHANGE, beside=tuple(OTHERS))
    (change,) = json.loads(route53([record]))["Changes"]
    assert [each["Value"] for each in change["ResourceRecordSet"]["ResourceRecords"]] == [
        '"v=spf1 -all"', r'"a\377b" "" "\"c\\"', r'"a\376b" "" "\"c\\"', r'"\303\244"',
    ]  # fmt: skip
    # Terraform reads escapes of its own, and the provider adds the outer quotes
    lines = terraform([record]).splitlines()
    assert [line.strip() for line in lines[lines.index("  records = [") + 1 : lines.index("  ]")]] == [
        '"v=spf1 -all",', r'"a\\377b\"\"\"\"\\\"c\\\\",', r'"a\\376b\"\"\"\"\\\"c\\\\",', r'"\\303\\244",',
    ]  # fmt: skip


@given(st.lists(st.binary(max_size=255), min_size=1, max_size=4))
def test_any_strings_survive_a_zone_file(parts: list[bytes]) -> None:
    data = dns.rdata.from_text("IN", "TXT", zone_line(planned(Text(parts)).record).split(" IN TXT ")[1])
    assert list(data.strings) == parts  # type: ignore[attr-defined]


def test_a_text_can_be_copied_with_its_strings() -> None:
    record = planned(OTHERS[0]).record
    (value,) = [value for name, value in asdict(record).items() if name == "value"]
    assert (value, value.strings) == (OTHERS[0], OTHERS[0].strings)
    assert pickle.loads(pickle.dumps(OTHERS[0])).strings == OTHERS[0].strings


def test_a_record_of_ours_that_is_there_is_set_once() -> None:
    key = "v=other " + "x" * 300
    members = [planned("v=spf1 -all", beside=(Text([key[:10].encode(), key[10:].encode()]),)), planned(key)]
    assert [each.values for each in record_sets(members)] == [("v=spf1 -all", key)]


def test_what_is_beside_stays_and_what_is_replaced_goes() -> None:
    sets = record_sets(
        [
            planned("v=spf1 new", state=RecordState.CHANGE, replaces=("v=spf1 old",), beside=("verify=1",)),
            planned("v=other", beside=("v=spf1 old", "verify=1")),
            planned("10 a.example.com", rtype="MX"),
            planned("20 b.example.com", rtype="MX"),
        ]
    )
    assert [(each.type, each.values, each.exists) for each in sets] == [
        ("TXT", ("v=spf1 new", "v=other", "verify=1"), True),
        ("MX", ("10 a.example.com", "20 b.example.com"), False),
    ]


@pytest.mark.parametrize(
    ("state", "action"), [("ADD", "CREATE"), ("UNKNOWN", "CREATE"), ("CHANGE", "UPSERT"), ("PRESENT", "UPSERT")]
)
def test_only_what_was_seen_is_overwritten(state: str, action: str) -> None:
    record = planned("x", state=RecordState[state])
    assert [each["Action"] for each in json.loads(route53([record]))["Changes"]] == [action]
    assert ("allow_overwrite" in terraform([record])) == (action == "UPSERT")


def test_what_is_not_ours_is_not_set() -> None:
    record = planned("10 mx.example.net", rtype="MX", state=RecordState.PRESENT, ours=False)
    assert record_sets([record]) == []
    assert "10 mx.example.net." in bind([record])


def test_nothing_in_a_value_is_terraform_s_to_replace() -> None:
    made = terraform([planned("v=spf1 exists:%{i}.example ${path} -all")])
    assert '"v=spf1 exists:%%{i}.example $${path} -all"' in made


def test_names_end_with_a_dot_where_the_zone_would_be_added() -> None:
    assert zone_line(planned("10 mx.example.com", rtype="MX").record) == "example.com. 3600 IN MX 10 mx.example.com."
    assert zone_line(planned("0 .", rtype="MX").record) == "example.com. 3600 IN MX 0 ."
    assert zone_line(planned("2001:db8::1", rtype="AAAA").record) == "example.com. 3600 IN AAAA 2001:db8::1"


def test_a_value_that_is_to_go_is_a_comment() -> None:
    record = planned("v=spf1 new", state=RecordState.CHANGE, replaces=("v=spf1 old\nevil.example. 60 IN A 192.0.2.1",))
    for text in (bind([record]), cloudflare([record])):
        assert [line for line in text.splitlines() if line and not line.startswith(";")] == [
            'example.com. 3600 IN TXT "v=spf1 new"'
        ]


@pytest.mark.parametrize("made", [bind, cloudflare, route53, terraform], ids=lambda made: str(made.__name__))
def test_a_whole_file(made: Callable[[Sequence[Planned]], str], whole: Whole) -> None:
    """Records of every kind and state; what reads these files for real is in tests/integration."""
    change: dict[str, Any] = {
        "replaces": ("v=spf1 old",),
        "beside": ("verify=1",),
        "notes": ("A note.", "Another\x1b[1m one."),
    }
    records = [
        planned("203.0.113.10", "mail.example.com", "A"),
        planned("2001:db8::1", "mail.example.com", "AAAA", RecordState.PRESENT),
        planned("10 mail.example.com", rtype="MX", state=RecordState.UNKNOWN),
        planned("20 mail.example.com", rtype="MX", state=RecordState.PRESENT, ours=False),
        planned("v=spf1 ip4:203.0.113.10 -all", state=RecordState.CHANGE, **change),
        planned("v=DKIM1; p=" + "x" * 300, "s._domainkey.example.com"),
        planned("s._domainkey.mail.example.net", "t._domainkey.example.com", "CNAME"),
        replace(planned("mail.example.com", "10.113.0.203.in-addr.arpa", "PTR"), zone="113.0.203.in-addr.arpa"),
        replace(planned("v=DMARC1; p=none", "_dmarc.example.net"), zone="example.net"),
    ]
    whole.add(made(records))
