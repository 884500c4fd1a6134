"""What the supervisor says of itself in its file, and what is dead since."""

from pathlib import Path

from postroad.runtime import reasons
from postroad.runtime.paths import HEALTH


def read() -> tuple[str, list[str]]:
    """The supervisor's state, and why it is not ready: the image's health check says the same."""
    try:
        first, _, *found = HEALTH.read_text().splitlines()
        state, _, *pids = first.split()
    except (OSError, ValueError):
        return "stopped", ["the supervisor is not running"]
    found = [text for text in map(str.strip, found) if text]
    found = found or ([] if state == "ready" else [state])
    for pid in pids:
        try:
            life = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            life = "X"
        found += [reasons.gone(pid)] if life in "XZ" else []
    return state, found


def life() -> tuple[str, list[str]]:
    """Likewise, without what no restart mends: deliveries that fail."""
    state, found = read()
    others = [text for text in found if reasons.cause_of(text) not in reasons.DELIVERY]
    return (state, others) if others or not found else ("ready", [])
