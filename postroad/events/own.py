"""Lines of Postroad's own: what a process beside the supervisor tells the log."""

import json
from collections.abc import Mapping
from typing import get_args

from postroad.events.ledger import origin
from postroad.events.model import (
    Bounced,
    BounceRate,
    Complained,
    ComplaintRate,
    Console,
    Doctor,
    Evacuated,
    Event,
    Notice,
    Paused,
    Reported,
    Resumed,
    Returned,
    Slowed,
    TakenOver,
    Unsubscribed,
)
from postroad.events.syslog import LogLine

Own = (
    BounceRate
    | ComplaintRate
    | Doctor
    | Console
    | Evacuated
    | TakenOver
    | Slowed
    | Paused
    | Resumed
    | Bounced
    | Complained
    | Unsubscribed
    | Returned
    | Reported
)
KINDS: Mapping[str, type[Own]] = {kind.kind: kind for kind in get_args(Own)}
"""What is more than words."""
LONGEST = 1900
"""Octets of such a line: the log takes 2,000, with what stands before it."""
TEXTS = (1000, 500, 250, 100)
"""Characters of a text in it, the longest that fits."""


def bounce_rate(state: str, domain: str, bounced: int, ended: int, window: float | None = None) -> str:
    """The line that ``read`` makes a ``BounceRate`` of."""
    return _rate(BounceRate.kind, state, domain, {"bounced": bounced, "ended": ended}, window)


def complaint_rate(state: str, domain: str, complained: int, delivered: int, window: float | None = None) -> str:
    """The line that ``read`` makes a ``ComplaintRate`` of."""
    return _rate(ComplaintRate.kind, state, domain, {"complained": complained, "delivered": delivered}, window)


def _rate(kind: str, state: str, domain: str, counts: Mapping[str, int], window: float | None) -> str:
    number, total = counts.values()
    said = {
        "state": state,
        "sender_domain": domain,
        **counts,
        kind: round(number / total, 5) if total else 0.0,
        "window": int(window) if window else None,
    }
    return f"{kind} {json.dumps(said)}"


def receiver(kind: str, fields: Mapping[str, str | int | float | None]) -> str:
    """The line that ``read`` makes a ``Slowed``, ``Paused`` or ``Resumed`` of; ``fields`` are its own, cut to fit."""
    said = {name: _cut(value, TEXTS[1]) for name, value in fields.items() if value is not None}
    return f"{kind} {json.dumps(said)}"


def doctor(fields: Mapping[str, str | int | None]) -> str:
    """The line that ``read`` makes a ``Doctor`` of; ``fields`` are its own, cut to fit."""
    return line(Doctor, fields)


def console(by: str, client_address: str, action: str, message: str = "") -> str:
    """The line that ``read`` makes a ``Console`` of."""
    return line(Console, {"by": by, "client_address": client_address, "action": action, "message": message or None})


def line(kind: type[Own], fields: Mapping[str, str | int | None]) -> str:
    """The line that ``read`` makes an event of this kind of; ``fields`` are its own, cut to fit."""
    said = {name: value for name, value in fields.items() if value is not None}
    text = ""
    for longest in TEXTS:
        if longest == TEXTS[-1]:
            said.pop("record", None)  # a part of it would be wrong
        cut = {name: _cut(value, longest) if name != "record" else value for name, value in said.items()}
        text = f"{kind.kind} {json.dumps(cut, ensure_ascii=False)}"
        if len(text.encode(errors="replace")) <= LONGEST:
            break
    return text


def handed_over(kind: type[Evacuated | TakenOver], fields: Mapping[str, str | int | None]) -> str:
    """The line that ``read`` makes an ``Evacuated`` or a ``TakenOver`` of; without a sender that does not fit."""
    said = {name: value for name, value in fields.items() if value is not None}
    text = f"{kind.kind} {json.dumps(said, ensure_ascii=False)}"
    if len(text.encode()) > LONGEST:
        said.pop("sender", None)
        text = f"{kind.kind} {json.dumps(said, ensure_ascii=False)}"
    return text


def _cut(value: str | float, longest: int) -> str | float:
    return value if not isinstance(value, str) or len(value) <= longest else f"{value[: longest - 1]}…"


def read(line: LogLine) -> Event:
    """What the line says: an event of its kind, or else a notice. Never raises."""
    word, _, rest = line.text.partition(" ")
    if kind := KINDS.get(word):
        try:
            return kind(**origin(line), **json.loads(rest))
        except (ValueError, TypeError):
            pass
    level = {"err": "error", "warning": "warning"}.get(line.level, "info")
    return Notice(**origin(line), level=level, message=line.text)
