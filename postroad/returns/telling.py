"""A message that came back, as lines for the log: events of the story of the message that it is about. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from postroad.events import own
from postroad.events.model import Bounced, Complained, Reported, Returned
from postroad.returns import dmarc, message, reading, tlsrpt, unpacking
from postroad.returns.found import Bounce, Complaint, Other, UnreadableError

MOST_LINES = 100
"""Lines of one report: its largest."""
LARGEST_MESSAGE = 5 * 2**20
"""Octets of a message that is taken."""
LARGEST_FILE = 4 * 2**20
"""Octets of a report as it is attached."""
MOST_FILES = 5

_TEXTS = frozenset({"text/plain", "text/html"})


@dataclass(frozen=True)
class Told:
    """What becomes of a message.

    Attributes:
        lines: for the log.
        keep: whether it is to be kept, since nothing here could read it.
        forwarded: the line instead of those where it is handed on to a person, and not kept; empty where it may not be.
    """

    lines: list[str]
    keep: bool = False
    forwarded: str = ""


def told(recipients: Sequence[str], content: bytes, queue_id: Callable[[str], str | None]) -> Told:
    """What the log is told of a message. Never raises.

    Args:
        recipients: the addresses that it was sent to.
        content: the message.
        queue_id: gives the queue id in a return address; None where it is none.
    """
    about = next((found_id for each in recipients if (found_id := queue_id(each))), None)
    if about is None:
        roles = {each.partition("@")[0].lower() for each in recipients}
        if roles & {"dmarc", "tlsrpt"}:
            return _reported(content)
    found = reading.read(content)
    if isinstance(found, Complaint):
        about = about or next((each for sender in found.senders if (each := queue_id(sender))), None)
        fields = {
            "queue_id": about,
            "message_id": None if about else found.message_id,
            "recipient": found.recipient,
            "feedback": found.feedback,
            "reporter": found.reporter,
        }
        return Told([own.line(Complained, fields)])
    if isinstance(found, Other) and found.what == "written":
        kept, forwarded = (_other(what, about, found.why) for what in ("unreadable", "forwarded"))
        return Told([kept], keep=True, forwarded=forwarded)
    if about is None:  # a bounce of something that did not leave with a return address: whose it is can't be told
        said = found.why if isinstance(found, Other) else "a bounce without a return address"
        return Told([_other("unreadable", None, said)], keep=True)
    if isinstance(found, Bounce):
        return Told(list(_bounced(found, about)))
    return Told([_other(found.what, about, found.why)], keep=found.what == "unreadable")


def _other(what: str, about: str | None, why: str) -> str:
    return own.line(Returned, {"what": what, "queue_id": about, "status": why or None})


def _bounced(bounce: Bounce, about: str) -> Iterator[str]:
    for failure in bounce.failures:
        fields = {
            "queue_id": about,
            "recipient": next(iter(failure.recipients), None),
            "relay_host": failure.mta,
            "dsn": failure.dsn,
            "reply": failure.reply,
            "late": True,
        }
        yield own.line(Bounced, fields)


def _reported(content: bytes) -> Told:
    why = "it has no report"
    lines: list[str] = []
    try:
        for file in _files(message.parse(content, LARGEST_MESSAGE)):
            try:
                lines += _lines(unpacking.unpack(file))
            except UnreadableError as error:
                why = str(error)
    except UnreadableError as error:
        why = str(error)
    return Told(lines) if lines else Told([_other("unreadable", None, why)], keep=True)


def _files(parsed: message.Parsed) -> list[bytes]:
    found = []
    for kind, part in message.parts(parsed):
        if not part.is_multipart() and kind not in _TEXTS:
            found.append(message.octets(part, LARGEST_FILE))
    return found[:MOST_FILES]


def _lines(report: bytes) -> list[str]:
    """Lines of one report of either kind.

    Raises:
        UnreadableError: it is neither.
    """
    if report.lstrip()[:1] == b"{":
        return [own.line(Reported, each) for each in _of_tls(tlsrpt.read(report))[:MOST_LINES]]
    return [own.line(Reported, each) for each in _of_dmarc(dmarc.read(report))[:MOST_LINES]]


def _of_dmarc(report: dmarc.DmarcReport) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str, bool, bool, str], int] = {}
    for row in report.rows:
        key = (row.header_from or report.domain, row.source, row.dkim, row.spf, row.disposition)
        counts[key] = counts.get(key, 0) + row.count
    head = _head("dmarc", report)
    rows = sorted(counts.items(), key=lambda item: -item[1])
    names = ("domain", "source", "dkim", "spf", "disposition")
    return [head | dict(zip(names, key, strict=True)) | {"count": number} for key, number in rows]


def _of_tls(report: tlsrpt.TlsReport) -> list[dict[str, Any]]:
    head = _head("tls", report)
    rows = []
    for policy in report.policies:
        about = head | {"domain": policy.domain}
        rows.append(about | {"result": "success", "count": policy.successful})
        failed = [about | {"result": each.result, "source": each.mx, "count": each.count} for each in policy.failures]
        rest = policy.failed - sum(each.count for each in policy.failures)
        rows += failed + ([about | {"result": "other", "count": rest}] if rest > 0 else [])
    return sorted((row for row in rows if row["count"]), key=lambda row: (row["result"] == "success", -row["count"]))


def _head(kind: str, report: dmarc.DmarcReport | tlsrpt.TlsReport) -> dict[str, Any]:
    return {
        "report": kind,
        "organization": report.organization,
        "report_id": report.report_id,
        "begin": report.begin or None,
        "end": report.end or None,
    }
