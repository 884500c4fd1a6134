"""An event on its way to the sinks: its JSON is made once, however many want it."""

import json

from postroad.events.model import Event


class Told:
    """An event, and its text."""

    __slots__ = ("_text", "event")

    def __init__(self, event: Event) -> None:
        """Begin without the text."""
        self.event = event
        self._text = ""

    @property
    def text(self) -> str:
        """The event as one JSON object, in printable ASCII."""
        if not self._text:
            self._text = json.dumps(self.event.to_dict())
        return self._text
