"""Events kept on the state volume until they are in the store: JSON lines in numbered segments.

Lines are written whole before more events are taken, so what was written is there after a ``kill -9``. What can't be
written is counted, and the next line that can be says how many were lost: the mail never waits for this file.
Standard library only: PID 1 writes it.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postroad.events.model import Raw
from postroad.sinks.probes import Probes
from postroad.sinks.told import Told
from postroad.text import counted

SEGMENT = 8 << 20
"""Bytes after which a new segment begins."""
MOST = 256 << 20
"""Bytes that may wait for the store, all segments together; what comes then is lost, and counted."""
END = "journal_end"
"""The last line of a segment that was ended in order; one without it was cut short."""
GAP = "gap"


def segments(folder: Path) -> list[Path]:
    """The segments in a folder, oldest first."""
    return sorted(folder.glob("journal-*.jsonl"))


class JournalSink:
    """Appends each event but raw lines and the doctor's own attempts to relay to the newest segment.

    The reader removes the segments that it has read.
    """

    def __init__(self, folder: Path, tell: Callable[[str, str], None]) -> None:
        """Write into this folder, which need not exist, from ``start`` on; ``tell`` gets what the log should say:
        a level and a message.
        """
        self._folder = folder
        self._tell = tell
        self._file = -1
        self._size = 0
        self._lost = 0
        self._since = 0.0
        self._again = 0.0
        self._probes = Probes()
        self.enabled = False

    def handle(self, told: Sequence[Told]) -> None:
        """Write events, at once. Never raises for a file that can't be written."""
        if not self.enabled:
            return
        kept = [each for each in told if not isinstance(each.event, Raw) and not self._probes.made(each.event)]
        if not kept:
            return
        now = time.monotonic()
        if self._lost and now < self._again:
            self._lost += len(kept)
            return
        lines = [each.text for each in kept]
        if self._lost:
            lines.insert(0, self._gap())
        try:
            self._open()
            self._append(lines)
        except OSError as error:
            if not self._lost:
                self._tell(
                    "error", f"events are lost, the journal in {self._folder} can't be written: {error.strerror}"
                )
            if len(lines) <= len(kept):  # what was lost before is told by a line, or nothing was
                self._lost, self._since = 0, kept[-len(lines)].event.time
            self._lost += min(len(lines), len(kept))
            self._again = now + 1
            return
        if self._lost:
            lost = counted(self._lost, "event was", "events were")
            self._tell("info", f"the journal in {self._folder} is written again; {lost} lost")
            self._lost = 0

    def close(self) -> None:
        """End the segment in order."""
        if self._file >= 0:
            try:
                self._append([json.dumps({"event": END})])
            except OSError:
                self._tell("error", "the journal's end can't be written")
            os.close(self._file)
            self._file = -1

    def _gap(self) -> str:
        return json.dumps({"event": GAP, "since": self._since, "lost": self._lost})

    def _open(self) -> None:
        if self._file >= 0 and self._size < SEGMENT:
            return
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = segments(self._folder)
        if sum(path.stat().st_size for path in there) > MOST:
            raise OSError(0, f"{MOST >> 20} MiB wait there for the event store")
        number = int(there[-1].stem.partition("-")[2]) + 1 if there else 1
        # the clock, so that no number comes twice where all segments were read and removed
        number = max(number, int(time.time() * 1000))
        path = self._folder / f"journal-{number:015}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0

    def _append(self, lines: list[str]) -> None:
        """Write lines.

        Raises:
            OSError: not all could be written; those that are whole stay in the file, as a reader may have taken them,
                and are taken out of the list.
        """
        data = "".join(f"{line}\n" for line in lines).encode()
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])  # after a short write, the next one tells why
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            del lines[: data.count(b"\n", 0, whole)]
            self._size += whole
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
