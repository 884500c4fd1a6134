"""An event for the sinks, whose JSON is made once for all of them."""

import json

from postroad.events.model import Event


class Told:
    """An event and its JSON."""

    __slots__ = ("_text", "event")

    def __init__(self, event: Event) -> None:
        """Hold an event; its JSON is made on first use."""
        self.event = event
        self._text = ""

    @property
    def text(self) -> str:
        """The event as one JSON object, in printable ASCII."""
        if not self._text:
            self._text = json.dumps(self.event.to_dict())
        return self._text
