"""DMARC and TLS reports: unpacked and read within bounds, whatever they are."""

import bz2
import gzip
import io
import json
import time
import tracemalloc
import xml.etree.ElementTree as ET
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroad.returns import dmarc, tlsrpt, unpacking
from postroad.returns.dmarc import DmarcReport, DmarcRow
from postroad.returns.found import UnreadableError
from postroad.returns.tlsrpt import TlsFailure, TlsPolicy, TlsReport

pytestmark = pytest.mark.usefixtures("whole_returned")

XML = b"""<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>Yahoo</org_name><email>dmarc@yahoo.example</email><report_id>1.2</report_id>
    <date_range><begin>1795651200</begin><end>1795737599</end></date_range>
  </report_metadata>
  <policy_published><domain>X.example</domain><adkim>r</adkim><p>quarantine</p><pct>100</pct></policy_published>
  <record>
    <row><source_ip>192.0.2.25</source_ip><count>970</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>
    <identifiers><header_from>x.example</header_from></identifiers>
    <auth_results><dkim><domain>x.example</domain><result>pass</result></dkim></auth_results>
  </record>
  <record>
    <row><source_ip>2001:DB8::7</source_ip><count>30</count>
      <policy_evaluated><disposition>quarantine</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>x.example</header_from></identifiers>
  </record>
</feedback>
"""
REPORT = DmarcReport(
    "Yahoo",
    "1.2",
    "x.example",
    "quarantine",
    1795651200,
    1795737599,
    (
        DmarcRow("192.0.2.25", 970, "none", dkim=True, spf=True, header_from="x.example"),
        DmarcRow("2001:db8::7", 30, "quarantine", dkim=False, spf=False, header_from="x.example"),
    ),
)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_a_dmarc_report() -> None:
    assert dmarc.read(XML) == REPORT


def test_a_dmarc_report_with_the_namespace_of_its_standard() -> None:
    assert dmarc.read(XML.replace(b"<feedback>", b'<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">')) == REPORT


def test_a_dmarc_report_in_another_encoding() -> None:
    text = XML.decode().replace("UTF-8", "ISO-8859-1").replace("<org_name>Yahoo", "<org_name>Soci\xe9t\xe9")
    assert dmarc.read(text.encode("latin-1")).organization == "Soci\xe9t\xe9"


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 10) for c in range(97, 107))
    + b"]><feedback><policy_published><domain>&k;</domain></policy_published></feedback>"
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BOMB, "document type"),
        (b'<!DOCTYPE f SYSTEM "http://127.0.0.1/x"><feedback/>', "document type"),
        (b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>&x;</feedback>', "document type"),
        (b"<feedback>" + b"<a>" * 100, "too deep"),
        (b"<html></html>", "no DMARC report"),
        (b"<feedback/>", "no DMARC report"),
        (b"", "not well-formed"),
        (XML[:-12], "not well-formed"),
        (XML + b"<feedback/>", "not well-formed"),
        (b"\xff\xfe<", "not well-formed"),
        (b'<?xml version="1.0" encoding="x-none"?><feedback/>', "not well-formed"),
        (b'<?xml version="1.0" encoding="utf-7"?><feedback/>', "not well-formed|no DMARC"),
    ],
)
def test_what_is_no_dmarc_report(content: Any, why: Any) -> None:
    with pytest.raises(UnreadableError, match=why):
        dmarc.read(content)


def test_rows_and_texts_have_bounds() -> None:
    row = b"<record><row><source_ip>192.0.2.1</source_ip><count>%s</count></row></record>"
    many = XML.replace(b"</feedback>", row % b"1" * (dmarc.MOST_ROWS + 5) + b"</feedback>")
    assert len(dmarc.read(many).rows) == dmarc.MOST_ROWS
    for odd, count in ((b"9" * 5000, dmarc.MOST_COUNT), (b"-5", 0), (b"1e9", 0), ("²".encode(), 0)):
        assert dmarc.read(XML.replace(b"</feedback>", row % odd + b"</feedback>")).rows[-1].count == count
    long = XML.replace(b"Yahoo", b"y" * 1_000_000).replace(b"192.0.2.25", b"<b>192.0.2.25</b>")
    assert len(dmarc.read(long).organization) == 300
    assert len(dmarc.read(long).rows) == 1, "a row without a plain address is none"


NAME = st.sampled_from(["org_name", "report_id", "domain", "p", "source_ip", "count", "dkim", "spf", "header_from"])
SOURCES = st.sampled_from(["192.0.2.1", "198.51.100.7", "2001:db8::1"])
PLAIN = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(SOURCES, st.integers(0, 10**9), st.booleans(), st.booleans()), max_size=8), PLAIN)
def test_a_report_is_read_as_a_tree_of_it_says(rows: Any, organization: Any) -> None:
    """The oracle is the standard library's tree of the same report."""
    root = ET.Element("feedback")
    ET.SubElement(ET.SubElement(root, "report_metadata"), "org_name").text = organization
    ET.SubElement(ET.SubElement(root, "policy_published"), "domain").text = "x.example"
    for source, count, dkim, spf in rows:
        row = ET.SubElement(ET.SubElement(root, "record"), "row")
        ET.SubElement(row, "source_ip").text = source
        ET.SubElement(row, "count").text = str(count)
        evaluated = ET.SubElement(row, "policy_evaluated")
        ET.SubElement(evaluated, "dkim").text = "pass" if dkim else "fail"
        ET.SubElement(evaluated, "spf").text = "pass" if spf else "fail"
    found = dmarc.read(ET.tostring(root, encoding="utf-8"))
    assert found.organization == organization
    assert [(each.source, each.count, each.dkim, each.spf) for each in found.rows] == rows


@given(st.integers(0, len(XML) - 1), st.binary(max_size=8), st.integers(0, 12))
def test_a_damaged_dmarc_report_is_read_or_refused_by_one_error(place: Any, put: Any, cut: Any) -> None:
    content = XML[:place] + put + XML[place + cut :]
    try:
        assert isinstance(dmarc.read(content), DmarcReport)
    except UnreadableError:
        return


TLS: dict[str, Any] = {
    "organization-name": "Google Inc.",
    "date-range": {"start-datetime": "2026-11-25T00:00:00Z", "end-datetime": "2026-11-25T23:59:59Z"},
    "contact-info": "smtp-tls-reporting@google.example",
    "report-id": "2026-11-25T00:00:00Z_x.example",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-string": ["version: STSv1"], "policy-domain": "X.example"},
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "192.0.2.1",
                    "receiving-mx-hostname": "mx1.x.example.",
                    "failed-session-count": 100,
                }
            ],
        }
    ],
}


def test_names_of_domains_end_without_a_dot() -> None:
    assert dmarc.read(XML.replace(b"<domain>X.example<", b"<domain>X.example.<")) == REPORT
    policy = TLS["policies"][0] | {"policy": {"policy-type": "sts", "policy-domain": "X.example."}}
    assert tlsrpt.read(json.dumps(TLS | {"policies": [policy]}).encode()).policies[0].domain == "x.example"


def test_what_a_report_leaves_out() -> None:
    for part in (
        b"<org_name>Yahoo</org_name>",
        b"<begin>1795651200</begin>",
        b"<end>1795737599</end>",
        b"<p>quarantine</p>",
    ):
        dmarc.read(XML.replace(part, b""))  # compared whole
    for value in (2**40 - 1, 2**40, 2**41):
        dmarc.read(XML.replace(b"1795651200", str(value).encode()))


def test_a_tls_report() -> None:
    assert tlsrpt.read(json.dumps(TLS).encode()) == TlsReport(
        "Google Inc.",
        "2026-11-25T00:00:00Z_x.example",
        1795564800,
        1795651199,
        (TlsPolicy("sts", "x.example", 5326, 303, (TlsFailure("certificate-expired", "mx1.x.example", 100),)),),
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"policies": 1}', b"[" * 100_000, b"\xff", b'{"policies": []', b" " * (4 * 2**20 + 1)],
)
def test_what_is_no_tls_report(content: Any) -> None:
    with pytest.raises(UnreadableError):
        tlsrpt.read(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TLS, *TLS["policies"][0], "result-type"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON, JSON, JSON)
@example(10**400, {"start-datetime": "9999-12-31T23:59:59+00:00", "end-datetime": "0001-01-01"}, [{"policy": []}], None)
def test_any_json_is_a_report_or_refused_by_one_error(name: Any, dates: Any, policies: Any, rest: Any) -> None:
    content = json.dumps({"organization-name": name, "date-range": dates, "policies": policies, "report-id": rest})
    try:
        found = tlsrpt.read(content.encode())
    except UnreadableError:
        return
    for policy in found.policies:
        assert policy.successful >= 0
        assert len(policy.domain) <= 300


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda content: zipped({"a/": b"", "x!y.XML": content})])
def test_a_report_is_unpacked(pack: Any) -> None:
    assert unpacking.unpack(pack(XML)) == XML


def test_a_directory_that_lies_of_its_size_gets_no_further() -> None:
    content = bytearray(zipped({"a.xml": b"\0" * 40_000_000}))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (100).to_bytes(4, "little")  # the size unpacked
    with pytest.raises(UnreadableError):
        unpacking.unpack(bytes(content))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(b"\0" * 40_000_000), "more than"),
        (zipped({"a.xml": b"\0" * 40_000_000}), "more than"),
        (zipped({"a.xml": bz2.compress(b"\0" * 100)}, zipfile.ZIP_BZIP2), "method"),
        (zipped({"a.xml": b"x"}, zipfile.ZIP_LZMA), "method"),
        (zipped({f"{i}.xml": b"x" for i in range(6)}), "files"),
        (zipped({f"{i}.xml": b"x" for i in range(2000)}), "files"),
        (zipped({"a.txt": b"x"}), "no report"),
        (zipped({"a.zip": zipped({"a.xml": b"x"})}), "no report"),
        (zipped({"a.xml": XML})[:-30], "broken"),
        (gzip.compress(XML)[:-20], "cut off"),
        (gzip.compress(XML)[:-8] + b"\0" * 8, "broken"),
        (b"\x1f\x8b" + b"\0" * 20, "broken"),
        (b" " * (unpacking.LARGEST + 1), "more than"),
    ],
    ids=range(13),
)
def test_what_is_not_unpacked(content: Any, why: Any) -> None:
    began = time.process_time()
    with pytest.raises(UnreadableError, match=why):
        unpacking.unpack(content)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_a_bomb_is_not_unpacked_before_it_is_refused(kind: str) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(100)) + packer.flush()
    content = bomb if kind == "gzip" else zipped({"a.xml": b"\0" * 100 * 2**20})
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError):
            unpacking.unpack(content)
        assert tracemalloc.get_traced_memory()[1] < 4 * unpacking.LARGEST
    finally:
        tracemalloc.stop()


def test_an_archive_with_a_password() -> None:
    content = bytearray(zipped({"a.xml": XML}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    with pytest.raises(UnreadableError, match="broken"):
        unpacking.unpack(bytes(content))


@given(
    st.sampled_from([gzip.compress(XML, mtime=0), zipped({"a.xml": XML})]),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=6),
)
def test_a_damaged_file_is_unpacked_or_refused_by_one_error(whole: Any, place: Any, put: Any) -> None:
    place %= len(whole)
    try:
        found = unpacking.unpack(whole[:place] + put + whole[place + len(put) :])
    except UnreadableError:
        return
    assert len(found) <= unpacking.LARGEST


@given(st.binary(max_size=5000))
def test_what_zlib_packs_comes_out_the_same(content: Any) -> None:
    packer = zlib.compressobj(wbits=31)
    assert unpacking.unpack(packer.compress(content) + packer.flush()) == content
