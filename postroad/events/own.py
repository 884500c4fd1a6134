"""Lines of Postroad's own: what a process beside the supervisor tells the log."""

import json
from collections.abc import Mapping

from postroad.events.ledger import origin
from postroad.events.model import BounceRate, Doctor, Evacuated, Event, Notice, TakenOver
from postroad.events.syslog import LogLine

KINDS: Mapping[str, type[BounceRate | Doctor | Evacuated | TakenOver]] = {
    kind.kind: kind for kind in (BounceRate, Doctor, Evacuated, TakenOver)
}
"""What is more than words."""
LONGEST = 1900
"""Octets of such a line: the log takes 2,000, with what stands before it."""
TEXTS = (1000, 500, 250, 100)
"""Characters of a text in it, the longest that fits."""


def bounce_rate(state: str, domain: str, bounced: int, ended: int, window: float | None = None) -> str:
    """The line that ``read`` makes a ``BounceRate`` of."""
    said = {
        "state": state,
        "sender_domain": domain,
        "bounced": bounced,
        "ended": ended,
        "bounce_rate": round(bounced / ended, 4) if ended else 0.0,
        "window": int(window) if window else None,
    }
    return f"{BounceRate.kind} {json.dumps(said)}"


def doctor(fields: Mapping[str, str | int | None]) -> str:
    """The line that ``read`` makes a ``Doctor`` of; ``fields`` are its own, cut to fit."""
    said = {name: value for name, value in fields.items() if value is not None}
    line = ""
    for longest in TEXTS:
        if longest == TEXTS[-1]:
            said.pop("record", None)  # a part of it would be wrong
        cut = {name: _cut(value, longest) if name != "record" else value for name, value in said.items()}
        line = f"{Doctor.kind} {json.dumps(cut, ensure_ascii=False)}"
        if len(line.encode()) <= LONGEST:
            break
    return line


def handed_over(kind: type[Evacuated | TakenOver], fields: Mapping[str, str | int | None]) -> str:
    """The line that ``read`` makes an ``Evacuated`` or a ``TakenOver`` of; without a sender that does not fit."""
    said = {name: value for name, value in fields.items() if value is not None}
    line = f"{kind.kind} {json.dumps(said, ensure_ascii=False)}"
    if len(line.encode()) > LONGEST:
        said.pop("sender", None)
        line = f"{kind.kind} {json.dumps(said, ensure_ascii=False)}"
    return line


def _cut(value: str | int, longest: int) -> str | int:
    return value if isinstance(value, int) or len(value) <= longest else f"{value[: longest - 1]}…"


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
