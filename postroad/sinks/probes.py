"""The doctor's own attempts to relay as a stranger: in the log, and not in what is counted. Standard library only."""

from collections import deque

from postroad.events.model import Disconnected, Event, Rejected, Tls

STRANGER = "127.0.0.2"
"""The address from which the doctor tries: no other client has it, whatever forwards ports."""
SESSIONS = 16
"""How many of its sessions are remembered."""


class Probes:
    """Knows the events of the doctor's sessions again."""

    def __init__(self) -> None:
        self._sessions: deque[str] = deque(maxlen=SESSIONS)

    def made(self, event: Event) -> bool:
        """Whether the doctor made this happen. Some refusals name no client: they go by their session's others."""
        if not isinstance(event, Rejected | Tls | Disconnected):
            return False
        queue_id = getattr(event, "queue_id", None)
        if event.client_address == STRANGER:
            if queue_id and queue_id not in self._sessions:
                self._sessions.append(queue_id)
            return True
        return event.client_address is None and queue_id is not None and queue_id in self._sessions
