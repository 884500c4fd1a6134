"""Lines of Postroad's own: what a process beside the supervisor tells the log."""

import json

from postroad.events.ledger import by
from postroad.events.model import BounceRate, Event, Notice
from postroad.events.syslog import LogLine


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


def read(line: LogLine) -> Event:
    """What the line says: an event of its kind, or else a notice. Never raises."""
    kind, _, rest = line.text.partition(" ")
    if kind == BounceRate.kind:
        try:
            return BounceRate(**by(line), **json.loads(rest))
        except (ValueError, TypeError):
            pass
    level = {"err": "error", "warning": "warning"}.get(line.level, "info")
    return Notice(**by(line), level=level, message=line.text)
