"""``python -m postroad.evacuation``: takes messages from other relays. Its standard input is the listening socket.

SIGHUP reads the generation in force.
"""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from postroad.errors import PostroadError, plainly
from postroad.evacuation import control, doubts, places, wire
from postroad.evacuation.leaving import GONE, KIND, Leaving
from postroad.evacuation.run import Left, event
from postroad.evacuation.server import Server, Settings, Taken
from postroad.evacuation.taking import Taking
from postroad.events import own
from postroad.events.model import TakenOver
from postroad.events.syslog import Severity
from postroad.runtime import peering
from postroad.runtime.acceptance import accepting
from postroad.runtime.log import tell
from postroad.runtime.paths import CURRENT, PUT_OFF, QUEUE
from postroad.sendmail import queue
from postroad.sendmail.queue import QueuedMessage
from postroad.text import printable

DOUBTS = 30.0
"""Seconds between two looks at whether messages are set aside."""
ENDS = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 1.0
"""Seconds for which a log that does not read is waited for."""


class Receiving:
    """The settings, and what is done with a message that was taken."""

    def __init__(self) -> None:
        """Read the settings.

        Raises:
            OSError, ValueError: they can't be read.
        """
        self.retry = 0.0
        self.settings = self._read()

    def _read(self) -> Settings:
        generation = CURRENT.resolve()
        told = peering.load(generation / peering.FILE)
        certificate, key = generation / "tls" / "certificate.pem", generation / "tls" / "key.pem"
        digest = wire.digest(wire.first_certificate(certificate.read_text()))
        if not told.secret:
            raise ValueError("there is no secret, and so no relay to take messages from")
        self.retry = told.retry
        return Settings(told.secret, socket.gethostname(), wire.server_context(certificate, key), digest)

    def reload(self, server: Server) -> None:
        """Read them anew; those that were in force stay where that fails."""
        try:
            self.settings = server.settings = self._read()
        except (OSError, ValueError) as error:
            say("err", f"the new settings can't be read, the old ones stay in force: {plainly(error)}")

    def settle_doubts(self, own_id: str) -> None:
        """Again and again, ask about the messages of an evacuation that was cut short: they don't wait for a person."""
        while True:
            with suppress(OSError, PostroadError):
                self.settle_once(own_id)
            time.sleep(DOUBTS)

    def settle_once(self, own_id: str) -> int:
        """Do so once, unless an evacuation is under way; return how many are unclear.

        Raises:
            BusyError: one is.
            InstallError, OSError: files can't be moved.
        """
        if not any(any(Leaving(QUEUE).messages(kind)) for kind in (KIND, GONE)):
            return 0
        with places.alone(QUEUE):
            return doubts.settle(QUEUE, self.settings.secret, own_id, self.settings.name, _tell_left)

    def taken(self, taken: Taken) -> None:
        """Tell the log whose message it is, and the front that it waits."""
        message = queue.parse(taken.octets, taken.path)
        tell("info", line(taken, message), PATIENCE)
        due = message.next_try(self.retry, time.time())
        if taken.path.parent == QUEUE and (not message.attempts or (due or 0.0) <= time.time()):
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as front:
                front.setblocking(False)
                front.sendto(f"{message.queue_id}\n".encode(), str(PUT_OFF))


def _tell_left(left: Left) -> None:
    tell("info", event(left), PATIENCE)


def line(taken: Taken, message: QueuedMessage) -> str:
    """The event of a message that was taken."""
    fields = {
        "queue_id": message.queue_id,
        "message_id": control.read(taken.octets).message_id,
        "sender": message.sender,
        "from_relay": taken.relay[:255],
        "from_queue_id": taken.token.partition(".")[2],
        "recipients": len(message.recipients),
        "attempts": message.attempts,
    }
    return own.handed_over(TakenOver, fields)


def say(level: Severity, text: str) -> None:
    """A line to the log."""
    tell(level, f"peers: {printable(text)}", PATIENCE)


def main() -> int:
    """Serve until told to stop: what is not taken by then, its relay still has."""
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_BLOCK, (*ENDS, signal.SIGHUP))  # also in the threads
    try:
        receiving = Receiving()
        with places.alone(QUEUE, places.TAKEN):
            taking = Taking(QUEUE)
            taking.settle()
            own_id = places.identity(QUEUE)
            server = Server(
                receiving.settings, taking, own_id, accepting, receiving.taken, lambda text: say("err", text)
            )
            listener = socket.socket(fileno=os.dup(sys.stdin.fileno()))
            threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
            threading.Thread(target=receiving.settle_doubts, args=(own_id,), daemon=True).start()
            # not pause(): a signal that came just before it would be waited for in vain
            while signal.sigwait((*ENDS, signal.SIGHUP)) not in ENDS:
                receiving.reload(server)
            os._exit(0)  # the threads end with it, wherever they are
    except (OSError, ValueError, PostroadError) as error:
        say("err", f"can't start: {plainly(error)}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
