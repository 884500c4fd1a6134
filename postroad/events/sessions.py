"""The events of sessions and of the daemons: each is one line, and needs no memory."""

from collections.abc import Callable
from re import Match, Pattern
from typing import Any, NamedTuple

from postroad.events import lines, model
from postroad.events.ledger import origin
from postroad.events.model import Event
from postroad.events.syslog import LogLine


class Found(NamedTuple):
    """A line whose text, after the queue id, has a known shape."""

    line: LogLine
    queue_id: str | None
    match: Match[str]

    @property
    def client(self) -> dict[str, Any]:
        """The fields of an event that say which client it was."""
        name, address = lines.peer(self.match["peer"])
        return {"client_name": name, "client_address": address}


def read(line: LogLine, queue_id: str | None, text: str) -> Event | None:
    """The event of such a line, or None if it is another one."""
    for pattern, reader in _READERS:
        if match := pattern.fullmatch(text):
            return reader(Found(line, queue_id, match))
    return None


def _tls(found: Found) -> Event:
    match = found.match
    fields = origin(found.line) | {f"tls_{field}": match[field] for field in ("version", "cipher", "verify")}
    if match["side"] == "server":
        fields |= found.client
    else:
        fields["relay_host"], fields["relay_address"] = lines.peer(match["peer"])
    return model.Tls(**fields, side=match["side"], tls_bits=int(match["bits"]))


def _auth(found: Found) -> Event:
    fields = origin(found.line) | found.client
    return model.Auth(**fields, success=True, user=found.match["user"], mechanism=found.match["mechanism"])


def _auth_failed(found: Found) -> Event:
    fields = (
        origin(found.line) | found.client | {field: found.match[field] for field in ("user", "mechanism", "status")}
    )
    return model.Auth(**fields, success=False)


def _auth_unreadable(found: Found) -> Event:
    client = found.client if found.match["peer"] else {}
    return model.Auth(**origin(found.line), **client, success=False, status="the client's answer is not base64")


def _early_talker(found: Found) -> Event:
    return model.Rejected(**origin(found.line), **found.client, queue_id=found.queue_id, reply=found.match[0])


def _started(found: Found) -> Event:
    return model.Started(**origin(found.line), version=found.match["version"], status=found.match["status"])


def _stopped(found: Found) -> Event:
    return model.Stopped(**origin(found.line), status=found.match["status"])


def _lines_lost(found: Found) -> Event:
    return model.Notice(**origin(found.line), level="warning", message=found.match[0])


_READERS: tuple[tuple[Pattern[str], Callable[[Found], Event]], ...] = (
    (lines.TLS, _tls),
    (lines.AUTH, _auth),
    (lines.AUTH_FAILED, _auth_failed),
    (lines.AUTH_UNREADABLE, _auth_unreadable),
    (lines.EARLY_TALKER, _early_talker),
    (lines.STARTED, _started),
    (lines.STOPPED, _stopped),
    (lines.LINES_LOST, _lines_lost),
)
