"""The attempts at delivery that are under way: which, and ending them."""

from collections.abc import Iterable

from postroad.runtime import attempts
from postroad.runtime.attempts import Attempt
from postroad.runtime.log import tell
from postroad.text import printable

COMMANDS = {"user open": "connect", "DATA 354": "DATA", "DATA status": "end of data"}
"""What sendmail calls what it waits for, where we call it otherwise."""


def under_way(host: str | None = None) -> list[Attempt]:
    """Attempts under way, the oldest first; only those with this receiving host, if one is given."""
    wanted = host.lower().rstrip(".") if host else None
    return [each for each in attempts.under_way() if each.queue_id and wanted in {None, each.host.lower()}]


def command_of(attempt: Attempt) -> str:
    """The command whose answer is awaited."""
    return COMMANDS.get(attempt.command.strip(), attempt.command.strip())


def abort(found: Iterable[Attempt]) -> list[str]:
    """End these attempts, and tell the log; return what was ended, each in a line. Their messages stay in the queue."""
    ended = []
    for each in found:
        if attempts.abort(each):
            said = f"attempt for {each.queue_id} with {each.host} ended by hand, at {command_of(each)}"
            tell("notice", f"queue: {printable(said)}")
            ended.append(said)
    return ended
