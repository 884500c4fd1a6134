"""Writes events to standard output for people and log collectors, always one line per event."""

import json
from collections.abc import Sequence
from typing import TextIO

from postroad.sinks.redact import Fields, Redactor
from postroad.sinks.told import Told


class StdoutSink:
    """Writes each event as a line of JSON or text and flushes it; a ``redactor`` hides addresses."""

    def __init__(self, format: str, stream: TextIO) -> None:  # noqa: A002 - the configuration's name for it
        """Write to ``stream``; ``format`` is ``json`` or ``text`` and may be changed at any time."""
        self.format = format
        self.redactor: Redactor | None = None
        self._stream = stream

    def handle(self, told: Sequence[Told]) -> None:
        """Write the events immediately.

        Raises:
            OSError: the stream can't be written.
        """
        self._stream.write("".join(f"{self._line(each)}\n" for each in told))
        self._stream.flush()

    def _line(self, told: Told) -> str:
        if not self.redactor and self.format == "json":
            return told.text
        fields = told.event.to_dict()
        if self.redactor:
            fields = self.redactor.fields(fields)
        return json.dumps(fields) if self.format == "json" else _as_text(fields)


def _as_text(fields: Fields) -> str:
    """The event as ``time kind field=value ...``; a value with special characters is quoted."""
    words = [str(fields.pop("time")), str(fields.pop("event"))]
    return " ".join([*words, *(f"{name}={_word(value)}" for name, value in fields.items())])


def _word(value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text and text.isprintable() and not set(text) & set(' "\\='):
        return text
    # not json.dumps, which would write ü as \u00fc
    escaped = "".join(_escape(char) for char in text)
    return f'"{escaped}"'


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():  # false for direction marks and line separators
        return char
    return char.encode("unicode_escape").decode()
