"""TLS reports of our own (RFC 8460): what our deliveries of a day saw of each domain's TLS. Pure.

The store has a line for each TLS session (``tls``), and for what became of each recipient; both were told by the same
process, so its id joins them. Mail to smarthosts is none: their names say nothing of the domains behind them.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any
from urllib.parse import unquote

ENDS = frozenset({"delivered", "deferred", "bounced"})
KINDS = ENDS | {"tls"}
"""The events that are read."""
DANE = "TRUSTED"
"""sendmail's ``{verify}`` of a certificate that a TLSA record vouches for."""
FAULTS = (
    (re.compile(r"does not offer STARTTLS"), "starttls-not-supported"),
    (re.compile(r"has a certificate that is expired or not signed|showed no certificate"), "certificate-not-trusted"),
    (re.compile(r"the certificate of .* is for .*, not for "), "certificate-host-mismatch"),
    (re.compile(r"needs DANE|DANE check failed|no TLSA records"), "dnssec-invalid"),
    (re.compile(r"TLS handshake|STARTTLS now"), "validation-failure"),
)
"""Words of our rules for TLS that a server lacks (``templates/mc/tls-faults.j2``), and RFC 8460's (4.3) for them."""


@dataclass
class DomainSessions:
    """Sessions with a domain's MX hosts: with TLS, of these by DANE, and why others were without, with the MX."""

    successful: int = 0
    dane: int = 0
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)


def sessions(events: Iterable[Mapping[str, Any]]) -> dict[str, DomainSessions]:
    """The sessions of each recipient domain.

    Args:
        events: of ``KINDS``, in order.
    """
    found: dict[str, DomainSessions] = {}
    latest: dict[int | None, tuple[str, str]] = {}  # by process: the MX of its last TLS session, and {verify}
    counted: dict[int | None, set[tuple[str, str, bool]]] = {}
    for event in events:
        process, host = event.get("pid"), str(event.get("relay_host") or "").lower().rstrip(".")
        if event["event"] == "tls":
            if event.get("side") == "client" and host:
                latest[process] = host, str(event.get("tls_verify"))
                counted[process] = set()
            continue
        domain = str(event.get("recipient") or "").rpartition("@")[2].lower().rstrip(".>")
        mailer = str(event.get("mailer") or "")
        if event["event"] not in ENDS or not host or not domain or mailer.startswith("smarthost") or "uplink" in host:
            continue
        verify = latest[process][1] if latest.get(process, ("", ""))[0] == host else None
        fault = _fault(event)
        if fault is None and verify is None and event["event"] != "delivered":
            continue  # it failed for another reason, and whether TLS would have worked is not known
        key = (domain, host, fault is None and verify is not None)
        if key in counted.setdefault(process, set()):
            continue  # another recipient of the same session
        counted[process].add(key)
        about = found.setdefault(domain, DomainSessions())
        if fault or verify is None:
            about.failed[fault or "starttls-not-supported", host] += 1
        else:
            about.successful += 1
            about.dane += verify == DANE
    return found


def _fault(event: Mapping[str, Any]) -> str | None:
    if event["event"] == "delivered":
        return None
    words = f"{event.get('status') or ''} {event.get('reply') or ''}"
    return next((result for pattern, result in FAULTS if pattern.search(words)), None)


def recipients(texts: Iterable[str]) -> list[str]:
    """The mail addresses that a domain wants reports at, from the TXT values of ``_smtp._tls`` (RFC 8460, section 3).

    None where there is no record, or more than one; ``https:`` addresses are left out.
    """
    records = [text for text in texts if re.match(r"v=TLSRPTv1[ \t]*(;|$)", text)]
    if len(records) != 1:
        return []
    found = []
    for tag in records[0].split(";")[1:]:
        name, _, value = tag.partition("=")
        if name.strip() == "rua":
            for uri in value.split(","):
                scheme, _, address = uri.strip().partition(":")
                address = unquote(address.partition("?")[0])
                if scheme.lower() == "mailto" and re.fullmatch(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,255}", address):
                    found.append(address)
    return found[:2]


def report(domain: str, seen: DomainSessions, day: datetime, submitter: str, contact: str) -> dict[str, Any]:
    """A report (RFC 8460, 4.4).

    Args:
        domain: the domain that it is about.
        seen: its sessions.
        day: the beginning of the day, UTC.
        submitter: our host name.
        contact: an address of ours.
    """
    end = day + timedelta(days=1, seconds=-1)
    details = [
        {"result-type": result, "receiving-mx-hostname": host, "failed-session-count": number}
        for (result, host), number in sorted(seen.failed.items(), key=lambda item: (-item[1], item[0]))
    ]
    kind = "tlsa" if seen.dane else "no-policy-found"
    return {
        "organization-name": submitter,
        "date-range": {"start-datetime": f"{day:%Y-%m-%dT%H:%M:%SZ}", "end-datetime": f"{end:%Y-%m-%dT%H:%M:%SZ}"},
        "contact-info": contact,
        "report-id": f"{day:%Y-%m-%d}.{domain}@{submitter}",
        "policies": [
            {
                "policy": {"policy-type": kind, "policy-domain": domain},
                "summary": {
                    "total-successful-session-count": seen.successful,
                    "total-failure-session-count": seen.failed.total(),
                },
                **({"failure-details": details} if details else {}),
            }
        ],
    }


def letter(made: Mapping[str, Any], to: str, sender: str, now: datetime) -> EmailMessage:
    """A report as a message (RFC 8460, section 5.3).

    Args:
        made: the report.
        to: who gets it.
        sender: an address of one of our domains, so that it is signed.
        now: its date.
    """
    submitter, report_id = made["organization-name"], made["report-id"]
    domain = made["policies"][0]["policy"]["policy-domain"]
    begin, end = (
        int(datetime.fromisoformat(made["date-range"][name]).replace(tzinfo=UTC).timestamp())
        for name in ("start-datetime", "end-datetime")
    )
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Date"] = format_datetime(now)
    message["Subject"] = f"Report Domain: {domain} Submitter: {submitter} Report-ID: <{report_id}>"
    message["Message-ID"] = make_msgid(domain=submitter)
    message["TLS-Report-Domain"] = domain
    message["TLS-Report-Submitter"] = submitter
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"This is an aggregate TLS report from {submitter} about {domain} (RFC 8460).\n")
    packed = gzip.compress(json.dumps(made).encode(), mtime=0)
    name = f"{submitter}!{domain}!{begin}!{end}.json.gz"
    message.add_attachment(packed, maintype="application", subtype="tlsrpt+gzip", filename=name)
    message.replace_header("Content-Type", "multipart/report")
    message.set_param("report-type", "tlsrpt")
    return message
