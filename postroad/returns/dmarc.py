"""DMARC aggregate reports (RFC 7489, appendix C; RFC 9990 has the same elements): XML, read within bounds. Pure.

By expat itself, with no tree: a report is a stream of a few elements. Whatever declares a document type is refused, so
there are no entities, inside or outside (that is all that defusedxml would add).
"""

import re
from dataclasses import dataclass
from typing import NoReturn
from xml.parsers import expat

from postroad.returns.found import UnreadableError
from postroad.returns.message import clean

MOST_ROWS = 50_000
"""Rows of a report that are read."""
MOST_ELEMENTS = 2_000_000
DEEPEST = 20
LONGEST_TEXT = 1000
"""Characters of an element's text that are kept."""
MOST_COUNT = 10**9


@dataclass(frozen=True)
class DmarcRow:
    """What a receiver saw of our mail from one address.

    Attributes:
        source: the IP address.
        count: messages.
        disposition: ``none``, ``quarantine`` or ``reject``: what became of them.
        dkim: whether an aligned DKIM signature verified; ``spf`` likewise.
        header_from: the domain in From:, in lower case.
    """

    source: str
    count: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str


@dataclass(frozen=True)
class DmarcReport:
    """A report.

    Attributes:
        organization: who reports.
        report_id: what they call it.
        domain: whose policy it is about, in lower case.
        policy: that policy: ``none``, ``quarantine``, ``reject``, or empty.
        begin: seconds since the epoch; ``end`` likewise.
        rows: what was seen, the first ``MOST_ROWS`` of it.
    """

    organization: str
    report_id: str
    domain: str
    policy: str
    begin: int
    end: int
    rows: tuple[DmarcRow, ...]


def read(content: bytes) -> DmarcReport:
    """Read a report.

    Raises:
        UnreadableError: it is not one, has a document type, or is too deep or too large.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    try:
        parser.Parse(content, True)
    except UnreadableError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UnreadableError("the DMARC report is not well-formed XML") from error
    return reader.report()


def _refuse(*_: object) -> NoReturn:
    raise UnreadableError("the DMARC report declares a document type")


_META = {
    "feedback/report_metadata/org_name": "organization",
    "feedback/report_metadata/report_id": "report_id",
    "feedback/report_metadata/date_range/begin": "begin",
    "feedback/report_metadata/date_range/end": "end",
    "feedback/policy_published/domain": "domain",
    "feedback/policy_published/p": "policy",
}
_ROW = {
    "feedback/record/row/source_ip": "source",
    "feedback/record/row/count": "count",
    "feedback/record/row/policy_evaluated/disposition": "disposition",
    "feedback/record/row/policy_evaluated/dkim": "dkim",
    "feedback/record/row/policy_evaluated/spf": "spf",
    "feedback/record/identifiers/header_from": "header_from",
}
_SOURCE = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class _Reader:
    """Takes expat's calls."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._elements = 0
        self._meta: dict[str, str] = {}
        self._row: dict[str, str] = {}
        self._rows: list[DmarcRow] = []

    def start(self, name: str, _attributes: object) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS or len(self._path) >= DEEPEST:
            raise UnreadableError("the DMARC report is too deep, or has too many elements")
        self._path.append(name.rpartition(" ")[2])  # RFC 9990 gives it a namespace
        self._text, self._length = [], 0
        if self._path == ["feedback", "record"]:
            self._row = {}

    def data(self, text: str) -> None:
        if self._length < LONGEST_TEXT:
            self._text.append(text[:LONGEST_TEXT])
            self._length += len(text)

    def end(self, _name: str) -> None:
        path = "/".join(self._path)
        value = clean("".join(self._text), 300)
        if path in _META:
            self._meta.setdefault(_META[path], value)
        elif path in _ROW:
            self._row.setdefault(_ROW[path], value)
        elif path == "feedback/record":
            self._take()
        self._path.pop()
        self._text, self._length = [], 0

    def _take(self) -> None:
        row, self._row = self._row, {}
        source = _SOURCE.fullmatch(row.get("source", ""))
        if source is None or len(self._rows) >= MOST_ROWS:
            return
        self._rows.append(
            DmarcRow(
                source[0].lower(),
                _number(row.get("count", ""), MOST_COUNT),
                row.get("disposition", "").lower()[:20],
                row.get("dkim", "").lower() == "pass",
                row.get("spf", "").lower() == "pass",
                row.get("header_from", "").lower(),
            )
        )

    def report(self) -> DmarcReport:
        """What was read.

        Raises:
            UnreadableError: it has no domain.
        """
        meta = self._meta
        if not meta.get("domain"):
            raise UnreadableError("it is XML, and no DMARC report: no feedback/policy_published/domain")
        return DmarcReport(
            meta.get("organization", ""),
            meta.get("report_id", ""),
            meta["domain"].lower().rstrip("."),
            meta.get("policy", "").lower(),
            _number(meta.get("begin", ""), 2**40),
            _number(meta.get("end", ""), 2**40),
            tuple(self._rows),
        )


def _number(text: str, most: int) -> int:
    """A whole number from 0 to ``most``; 0 where it is none."""
    return min(int(text[:15]), most) if text.isascii() and text.isdigit() else 0
