"""The thread that reads what the spool holds, and tells the log."""

import threading
import time
from collections.abc import Callable

from postroad.errors import PostroadError, plainly
from postroad.events.syslog import Severity
from postroad.returns import telling
from postroad.returns.gate import Gate
from postroad.returns.spool import Spool, Waiting

PAUSE = 1.0
"""Seconds after which a log that did not take a line is asked again."""
FAULT = 30.0
"""Likewise a spool that can't be read."""

Tell = Callable[[Severity, str], bool]
"""Takes a level and a line; False: the log did not take it."""


Forward = Callable[[Waiting], bool]
"""Takes what a person wrote, to hand it on; False: it does not."""


def nobody(_: Waiting) -> bool:
    """Nothing is handed on."""
    return False


class Reader(threading.Thread):
    """Reads message after message; ``wake`` when one has arrived."""

    def __init__(self, spool: Spool, gate: Gate, tell: Tell, pause: float = PAUSE, forward: Forward = nobody) -> None:
        """Prepare; ``start`` begins."""
        super().__init__(name="reader", daemon=True)
        self._spool, self._gate, self._tell, self._pause = spool, gate, tell, pause
        self._forward = forward
        self._arrived = threading.Event()
        self._arrived.set()  # an earlier process may have left some

    def wake(self) -> None:
        """There is a message."""
        self._arrived.set()

    def run(self) -> None:
        """Read for as long as the process lives."""
        while True:
            self._arrived.wait()
            self._arrived.clear()
            try:
                while self.read_one():
                    pass
            except (OSError, PostroadError) as error:
                self._tell("err", f"what came back can't be read from the state volume: {plainly(error)}")
                time.sleep(FAULT)
                self._arrived.set()

    def read_one(self) -> bool:
        """Read the oldest message; False where there is none.

        Raises:
            OSError, InstallError: the spool can't be read or written.
        """
        waiting = self._spool.oldest()
        if waiting is None:
            return False
        told = telling.told(waiting.recipients, waiting.content, self._gate.queue_id)
        lines, keep = told.lines, told.keep
        if told.forwarded and self._forward(waiting):
            lines, keep = [told.forwarded], False
        path = self._spool.readable(waiting.path)  # the log may not take it for long
        for line in lines:
            while not self._tell("info", line):
                time.sleep(self._pause)
        self._spool.done(path, keep=keep)
        return True
