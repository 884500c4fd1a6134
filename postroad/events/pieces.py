"""Puts lines together again that sendmail logged in pieces.

``sm_syslog()`` cuts what is longer than 1,024 bytes at a comma or a space: ``id[1]: ... ...``, ``id[2]: ...``, one
after the other by one process, while other processes write in between.
"""

import re
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple, Self

from postroad.events.lines import QUEUE_ID
from postroad.events.syslog import LogLine

UNFINISHED = 256
"""Processes that may be in the middle of a line."""

LONGEST = 1 << 16
"""Characters of a line in pieces; what is more comes as it is."""

_PIECE = re.compile(rf"({QUEUE_ID}|NOQUEUE|)\[(\d{{1,3}})\]: (.*)", re.DOTALL)


class _Piece(NamedTuple):
    line: LogLine
    prefix: str
    number: int
    text: str
    more: bool

    def follows(self, former: Self) -> bool:
        return self.prefix == former.prefix and self.number == former.number + 1


class Pieces:
    """Takes lines and gives back whole ones."""

    def __init__(self) -> None:
        """Begin without memory."""
        self._held: OrderedDict[int | None, list[_Piece]] = OrderedDict()

    def feed(self, line: LogLine) -> list[LogLine]:
        """The lines that are complete with this one; a whole one has the time of its last piece."""
        piece = _read(line)
        held = self._held.pop(line.pid, [])
        whole: list[LogLine] = []
        if held and (piece is None or not piece.follows(held[-1])):  # its end was lost, or looked like one more piece
            whole.append(_join(held))
            held = []
        if piece is None or (not held and piece.number != 1):
            return [*whole, line]
        held.append(piece)
        if not piece.more or sum(len(each.text) for each in held) > LONGEST:
            return [*whole, _join(held)]
        self._held[line.pid] = held
        if len(self._held) > UNFINISHED:
            whole.append(_join(self._held.popitem(last=False)[1]))
        return whole

    def flush(self) -> list[LogLine]:
        """What is held back, when no more lines come."""
        whole = [_join(held) for held in self._held.values()]
        self._held.clear()
        return whole


def _read(line: LogLine) -> _Piece | None:
    match = _PIECE.fullmatch(line.text)
    if match is None:
        return None
    more = match[3].endswith(" ...")
    return _Piece(line, match[1], int(match[2]), match[3][:-4] if more else match[3], more)


def _join(pieces: list[_Piece]) -> LogLine:
    prefix = f"{pieces[0].prefix}: " if pieces[0].prefix else ""
    return replace(pieces[-1].line, text=prefix + "".join(piece.text for piece in pieces))
