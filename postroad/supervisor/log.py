"""The thread that carries the daemons' lines from the log socket through the parser to the sinks.

It is alone in reading and writing, so a standard output that blocks holds up neither signals nor children; the
preloaded library drops and counts lines rather than hold up the mail.
"""

import contextlib
import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path

from postroad.events.ledger import SETTLE
from postroad.events.model import Event, Notice
from postroad.events.parse import Parser
from postroad.events.syslog import LogSocket
from postroad.journal.writer import JournalSink
from postroad.runtime.paths import EVENTS, OUTCOMES, REDACTION_KEY
from postroad.runtime.plan import Plan
from postroad.sinks import Dispatcher
from postroad.sinks.feed import FeedSink
from postroad.sinks.outcomes import OutcomesSink
from postroad.sinks.redact import Redactor
from postroad.sinks.stdout import StdoutSink
from postroad.supervisor.outgoing import Deliveries
from postroad.supervisor.output import Output

GATHER = 0.02
"""Seconds for which lines are left to gather, so that they are read, and what they say is written, at once."""
MANY = 100
"""Lines at once after which the next are read without waiting."""


class LogThread:
    """Binds its sockets (``path``: lines in, ``feed``: events out) when made, reads from ``start`` to ``stop``."""

    def __init__(self, path: Path, feed: Path) -> None:
        self._socket = LogSocket(path)
        self._parser = Parser()
        self._stdout = StdoutSink("json", sys.stdout)
        self._feed = FeedSink(feed)
        self._journal = JournalSink(EVENTS, self._tell)
        self.deliveries = Deliveries()
        self._outcomes = OutcomesSink(OUTCOMES)
        # the journal before the feed, whose readers then find it there
        self._dispatcher = Dispatcher([self._journal, self._feed, self._stdout, self.deliveries, self._outcomes])
        self._own: deque[Event] = deque()
        self._new: deque[Output] = deque()
        self._outputs: list[Output] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ending = False
        self._full = False  # so many lines came at once that more are likely to wait
        self._thread = threading.Thread(target=self._loop, name="log", daemon=True)

    def start(self, wanted: Plan) -> None:
        """Begin to read and write."""
        self.follow(wanted)
        self._thread.start()

    def follow(self, wanted: Plan) -> None:
        """Apply a plan's log settings, and read the output of its daemons."""
        self._stdout.format = wanted.log_format
        self._stdout.redactor = None if wanted.redact == "none" else Redactor(wanted.redact, self._key(wanted.redact))
        self._parser.message_size = wanted.message_size
        self._parser.redirect_to = wanted.redirect_to
        self._journal.enabled = wanted.journal
        self._outcomes.enabled = wanted.adaptive

    def _key(self, mode: str) -> bytes:
        if mode != "hash":
            return b""
        try:
            return REDACTION_KEY.read_bytes()
        except OSError as error:
            self._tell("error", f"log.redact: {REDACTION_KEY} can't be read: {error.strerror}; addresses leave nothing")
            return b""

    def emit(self, event: Event) -> None:
        """Queue an event of the supervisor's own, in order with the daemons' lines."""
        self._own.append(event)
        os.eventfd_write(self._wake, 1)

    def output(self, name: str) -> Output:
        """A pipe for what a daemon prints.

        Raises:
            OSError: there is no descriptor left.
        """
        made = Output(name)
        self._new.append(made)
        os.eventfd_write(self._wake, 1)
        return made

    def stop(self) -> None:
        """Write everything that has arrived, then stop."""
        self._ending = True
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        self._journal.close()
        self._feed.close()
        self._outcomes.close()
        self._socket.close()

    def _tell(self, level: str, message: str) -> None:
        self.emit(Notice(time=time.time(), program="postroad", pid=os.getpid(), level=level, message=message))

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        poll.register(self._feed.fileno(), select.POLLIN)
        poll.register(self._socket.fifo, select.POLLIN)
        while True:
            ending = self._ending  # read before the socket: what came until then is written
            try:
                while self._new:
                    self._outputs.append(self._new.popleft())
                    poll.register(self._outputs[-1], select.POLLIN)
                carried = self._carry(ending)
                for output in [output for output in self._outputs if output.ended]:
                    poll.unregister(output)
                    self._outputs.remove(output)
                    output.close()
            except Exception:  # noqa: BLE001 - a bug in here must not end the log
                traceback.print_exc()
                carried = False
            if ending and not carried:
                return
            if not ending:
                # not until a deadline: the clock may be set back meanwhile
                ready = poll.poll(SETTLE * 1000 if self._parser.deadline is not None else None)
                if ready and all(descriptor == self._socket.fifo for descriptor, _ in ready) and not self._full:
                    time.sleep(GATHER)  # more lines come with one: a message has five, its session's and the signer's

    def _carry(self, ending: bool) -> bool:
        """Write what has arrived and what is settled by now; return whether anything arrived."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._feed.accept()
        lines = self._socket.read_fifo()
        self._full = len(lines) > MANY
        lines += self._socket.read()
        found = [event for line in lines for event in self._parser.feed(line)]
        found += self._parser.expire(time.time())
        if ending and not lines:
            found += self._parser.flush()
        for output in self._outputs:
            found += [_printed(output.name, text) for text in output.read()]
        while self._own:
            found.append(self._own.popleft())
        if found:
            self._dispatcher.handle(found)
        return bool(lines) or any(output.arrived for output in self._outputs)


def _printed(name: str, text: str) -> Notice:
    return Notice(time=time.time(), program=name, pid=None, level="error", message=text)
