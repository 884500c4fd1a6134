"""Recognizes the doctor's own relay attempts, which are logged but not counted. Standard library only."""

from collections import deque

from postroad.events.model import Disconnected, Event, Rejected, Tls

STRANGER = "127.0.0.2"
"""The address that the doctor connects from; no other client has it, whatever forwards ports."""
SESSIONS = 16
"""The number of the doctor's sessions to remember."""


class Probes:
    """Recognizes events of the doctor's sessions."""

    def __init__(self) -> None:
        self._sessions: deque[str] = deque(maxlen=SESSIONS)

    def made(self, event: Event) -> bool:
        """Whether the doctor caused this event. Refusals without a client are matched by their session's queue ID."""
        if not isinstance(event, Rejected | Tls | Disconnected):
            return False
        queue_id = getattr(event, "queue_id", None)
        if event.client_address == STRANGER:
            if queue_id and queue_id not in self._sessions:
                self._sessions.append(queue_id)
            return True
        return event.client_address is None and queue_id is not None and queue_id in self._sessions
