"""Replies that machines make (RFC 3834), which say nothing of the mailbox's end. Pure."""

import re

from postroad.returns.found import Other
from postroad.returns.message import Parsed, field, subject, text

_CHALLENGE = re.compile(
    r"boxbe\.com|spamarrest\.com|challenge[ -]response"
    r"|verify (?:that )?you(?:'re| are) (?:a )?(?:human|real|the sender)"
    r"|(?:confirm|verify|authenticate) your (?:e-?mail|message|address)(?: address)? (?:to|before|by|so)"
    r"|sender verification|one[ -]time confirmation|\[?tmda\]?|please confirm (?:that )?you sent",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"out of (?:the )?office|auto(?:matic(?:ally)?)?[ -:]*(?:reply|response|answer|generated)|autoreply|auto:|vacation"
    r"|on (?:annual )?leave|away from (?:my|the) (?:office|desk|mail)|abwesen|automatische antwort"
    r"|absence|absent du bureau|r[eé]ponse automatique|respuesta autom|risposta automatica|fuera de (?:la )?oficina"
    r"|부재중|不在",
    re.IGNORECASE,
)
_FIELDS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply-From", "X-Mail-Autoreply", "X-Vacation")
_PRECEDENCE = frozenset({"auto_reply", "auto-reply", "autoreply"})


def read(message: Parsed) -> Other | None:
    """Whether a machine replied, and whether it asks the sender for something; None where none did that we know."""
    about = subject(message)
    if _CHALLENGE.search(about) or field(message, "X-TMDA-Confirm") or _CHALLENGE.search(text(message, 2000)):
        return Other("challenge", about)
    submitted = field(message, "Auto-Submitted", 100).lower().partition(";")[0].strip()
    automatic = (
        submitted not in {"", "no"}
        or field(message, "Precedence", 40).lower() in _PRECEDENCE
        or any(message.get(name) is not None for name in _FIELDS)
        or _SUBJECT.search(about) is not None
    )
    return Other("automatic", about) if automatic else None
