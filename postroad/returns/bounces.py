"""Late bounces: delivery status notifications (RFC 3464) by their fields, the many others by flufl.bounce. Pure."""

import logging
import re
from collections.abc import Iterator

from flufl.bounce import all_failures

from postroad.returns.found import Bounce, Failure, Other
from postroad.returns.message import Parsed, address, clean, field, parts, text

MOST_RECIPIENTS = 100
"""Recipients of one bounce that are read."""

_STATUS = re.compile(r"(?<![0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_REPLY = re.compile(r"(?<![0-9.])(5[0-9]{2}[ -](?:#?5\.[0-9]{1,3}\.[0-9]{1,3}[ :])?[^\r\n]{3,400})")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,253}")
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it tells each detector that it tries


def of_status(message: Parsed) -> Bounce | Other | None:
    """What a delivery status notification says; None where the message is none.

    A failure counts before a delay, and that before a delivery: one notification may tell of several recipients.
    """
    said: set[str] = set()
    failures: list[Failure] = []
    for block in _blocks(message):
        action = field(block, "Action", 40).lower()
        if action.startswith(("fail", "error")):  # opensmtpd has the latter
            failures.append(_failure(block))
        elif action:
            said.add(action.split()[0].strip("(;"))
    if failures:
        return Bounce(tuple(failures[:MOST_RECIPIENTS]))
    if "delayed" in said:
        return Other("delayed")
    if said & {"delivered", "relayed", "expanded"}:
        return Other("delivered")
    return None


def _blocks(message: Parsed) -> Iterator[Parsed]:
    for kind, part in parts(message):
        if kind in {"message/delivery-status", "message/global-delivery-status"} and part.is_multipart():
            payload = part.get_payload()
            yield from (block for block in payload if isinstance(block, type(message)))


def _failure(block: Parsed) -> Failure:
    names = (address(field(block, name)) for name in ("Original-Recipient", "Final-Recipient"))
    status = _STATUS.search(field(block, "Status", 100))
    kind, found, diagnostic = field(block, "Diagnostic-Code", 1000).partition(";")
    if not found:
        kind, diagnostic = "smtp", kind
    reply = clean(diagnostic) if kind.strip().lower() in {"smtp", "x-postfix", "lmtp"} else ""
    host = _HOST.fullmatch(field(block, "Remote-MTA", 300).rpartition(";")[2].strip().split(" ")[0].rstrip("."))
    return Failure(
        tuple(dict.fromkeys(name for name in names if name)),
        status[1] if status else None,
        reply or None,
        host[0].lower() if host else None,
    )


def of_text(message: Parsed) -> Bounce | Other | None:
    """What a bounce in a server's own words says; None where flufl.bounce knows none of it."""
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # noqa: BLE001 - a detector's, on odd input
        return None
    if not permanent:
        return Other("delayed") if temporary else None
    found = text(message)
    reply = _REPLY.search(found)
    status = _STATUS.search(reply[1] if reply else found)
    failures = [
        Failure(
            (name,) if name else (),
            status[1] if status and status[1][0] == "5" else None,
            clean(reply[1]) if reply else None,
        )
        for name in (address(each.decode("ascii", "replace")) for each in sorted(permanent)[:MOST_RECIPIENTS])
    ]
    return Bounce(tuple(failures))
