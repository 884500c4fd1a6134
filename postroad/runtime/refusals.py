"""Texts that sendmail's rules say, by which other processes know them again: one place writes and reads them.

Standard library only.
"""

import re

SUPPRESSED = "this address is suppressed"
"""At RCPT, to a recipient on the suppression list."""

BRAKED = "is taken for now, too much comes back"
"""At MAIL, to a sender domain that is braked; the map says why."""

CLASSES = {SUPPRESSED: "suppressed", BRAKED: "braked"}
"""What the store calls a refusal with one of these texts."""

DRAINING = "this server is being drained and takes no messages now: try again later"
"""To whoever has a message while a drain goes on: by the front, and by sendmail's rules."""

_WAITS = "waits for its turn:"
_GROUP = re.compile(rf"{_WAITS} .*, queue group ([0-9A-Za-z-]+)$")


def class_of(reply: str) -> str | None:
    """What the store calls a refusal with this reply; None: it is none of these."""
    return next((name for text, name in CLASSES.items() if text in reply), None)


def waits(route: str, group: str) -> str:
    """The reason for which mail of a route with limits waits: what people call the route, and its queue group."""
    return f"{_WAITS} {route}, queue group {group}"


def group_of(reason: str) -> str | None:
    """The queue group in a reason that ``waits`` wrote, as sendmail kept it; None: it is another reason."""
    match = _GROUP.search(reason)
    return match[1] if match else None
