"""TLS reports (RFC 8460): JSON, read within bounds. Pure."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from postroad.returns.found import UnreadableError
from postroad.returns.message import clean

MOST_POLICIES = 1000
MOST_FAILURES = 1000
MOST_COUNT = 10**12
LARGEST = 4 * 2**20
"""Octets of JSON that are parsed: the parser makes a tree of a dozen times its size."""


@dataclass(frozen=True)
class TlsFailure:
    """Sessions that failed in one way: ``result`` as RFC 8460 (4.3) names it, at which MX, and how many."""

    result: str
    mx: str
    count: int


@dataclass(frozen=True)
class TlsPolicy:
    """What a sender saw at one domain under one policy: ``sts``, ``tlsa`` or ``no-policy-found``; sessions."""

    kind: str
    domain: str
    successful: int
    failed: int
    failures: tuple[TlsFailure, ...]


@dataclass(frozen=True)
class TlsReport:
    """A report: who, what they call it, from when until when (seconds since the epoch), and what they saw."""

    organization: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TlsPolicy, ...]


def read(content: bytes) -> TlsReport:
    """Read a report.

    Raises:
        UnreadableError: it is not one.
    """
    if len(content) > LARGEST:
        raise UnreadableError(f"the TLS report has more than {LARGEST} octets")
    try:
        data = json.loads(content, parse_int=_int, parse_constant=_none)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("the TLS report is not JSON") from error
    if not isinstance(data, dict) or not isinstance(data.get("policies"), list):
        raise UnreadableError("it is JSON, and no TLS report: it has no policies")
    dates = _dict(data.get("date-range"))
    return TlsReport(
        _text(data.get("organization-name")),
        _text(data.get("report-id")),
        _time(dates.get("start-datetime")),
        _time(dates.get("end-datetime")),
        tuple(_policy(_dict(each)) for each in data["policies"][:MOST_POLICIES]),
    )


def _policy(data: dict[str, Any]) -> TlsPolicy:
    policy, summary, details = _dict(data.get("policy")), _dict(data.get("summary")), data.get("failure-details")
    failures = [_dict(each) for each in details[:MOST_FAILURES]] if isinstance(details, list) else []
    return TlsPolicy(
        _text(policy.get("policy-type")).lower(),
        _text(policy.get("policy-domain")).lower().rstrip("."),
        _count(summary.get("total-successful-session-count")),
        _count(summary.get("total-failure-session-count")),
        tuple(
            TlsFailure(
                _text(each.get("result-type")).lower(),
                _text(each.get("receiving-mx-hostname")).lower().rstrip("."),
                _count(each.get("failed-session-count")),
            )
            for each in failures
        ),
    )


def _int(digits: str) -> int:
    return int(digits) if len(digits) < 20 else MOST_COUNT


def _none(_name: str) -> None:
    return None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return clean(value, 300) if isinstance(value, str) else ""


def _count(value: object) -> int:
    return min(max(value, 0), MOST_COUNT) if isinstance(value, int) and not isinstance(value, bool) else 0


def _time(value: object) -> int:
    """Seconds since the epoch; 0 where it is no time."""
    if not isinstance(value, str):
        return 0
    try:
        found = datetime.fromisoformat(value)
        return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError, OSError):
        return 0
