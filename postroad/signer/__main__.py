"""``python -m postroad.signer``: the milter that sendmail asks about each message, on a unix socket.

On another it asks for the signatures of the bounces that it makes, and for return addresses. One thread: a message
costs less than a millisecond, and nothing in here waits. SIGHUP reads the generation in force; sessions go on with it.
"""

import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from postroad import sockets
from postroad.events.syslog import Severity
from postroad.runtime.log import tell
from postroad.runtime.paths import BOUNCES, CURRENT, SIGNER
from postroad.signer.bounces import MapSession, clock
from postroad.signer.judge import Judge
from postroad.signer.protocol import Answer, Envelope, MilterSession

_READ = 1 << 18
_PATIENCE = 1.0


class Signer:
    """The listening socket and its sessions."""

    def __init__(self) -> None:
        """Listen.

        Raises:
            OSError: the socket can't be made.
        """
        self._patience = _PATIENCE
        self._judge = Judge.load(CURRENT, self.log)
        self._listeners: dict[int, tuple[socket.socket, Callable[[], MilterSession | MapSession]]] = {}
        self._sessions: dict[int, tuple[socket.socket, MilterSession | MapSession]] = {}
        self._epoll = select.epoll()
        maps = {b"bounce": self._sign_bounce, b"clock": clock, b"returns": self._return_address}
        self._listen(BOUNCES, lambda: MapSession(maps))
        self._listen(SIGNER, lambda: MilterSession(self._decide))  # the last: whoever waits for the signer looks here
        self._reload = False
        # a signal's number arrives here, so that it ends the wait
        self._wake, woken = socket.socketpair()
        self._wake.setblocking(False)
        woken.setblocking(False)
        self._woken = woken
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        self._epoll.register(self._wake, select.EPOLLIN)

    def _listen(self, path: Path, begin: Callable[[], MilterSession | MapSession]) -> None:
        listener = sockets.listening(path, 1024)
        self._listeners[listener.fileno()] = listener, begin
        self._epoll.register(listener, select.EPOLLIN)

    def log(self, level: Severity, text: str) -> None:
        """Tell the supervisor. Mail waits for a full log once; then lines are lost until one gets through."""
        told = tell(level, text, self._patience, program="signer")
        self._patience = _PATIENCE if told else 0.0

    def reload(self, _number: int, _frame: FrameType | None) -> None:
        """Have the settings read anew, between two packets."""
        self._reload = True

    def serve(self) -> None:
        """Answer sendmail, until the process is ended."""
        while True:
            ready = self._epoll.poll()
            if self._reload:
                self._reload = False
                try:
                    self._judge = Judge.load(CURRENT, self.log)
                except Exception as error:  # noqa: BLE001 - those that were in force stay
                    self.log("err", f"the new settings can't be read, the old ones stay in force: {error!r}")
            for number, _ in ready:
                if number in self._listeners:
                    self._accept(number)
                elif number == self._wake.fileno():
                    self._wake.recv(_READ)
                elif not self._converse(number):
                    self._end(number)

    def _sign_bounce(self, queue_id: str) -> bytes:
        return self._judge.bounce(queue_id)

    def _return_address(self, key: str) -> bytes:
        return self._judge.return_address(key)

    def _decide(self, envelope: Envelope) -> Answer:
        return self._judge(envelope)

    def _accept(self, number: int) -> None:
        listener, begin = self._listeners[number]
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._sessions[connection.fileno()] = connection, begin()
        self._epoll.register(connection, select.EPOLLIN)

    def _converse(self, number: int) -> bool:
        """Read what a session has, and answer; whether it goes on."""
        connection, session = self._sessions[number]
        try:
            data = connection.recv(_READ)
            answer = session.feed(data) if data else None
            if answer:
                sent = connection.send(answer)
                return sent == len(answer)  # an answer fits into the socket, unless sendmail reads none
        except BlockingIOError:
            return True
        except OSError:
            return False
        except Exception as error:  # noqa: BLE001 - one session's, and sendmail answers 451 to its message
            self.log("err", f"a session of sendmail's is ended: {error!r}")
            return False
        return answer is not None

    def _end(self, number: int) -> None:
        connection, _ = self._sessions.pop(number)
        self._epoll.unregister(number)
        connection.close()


def main() -> None:
    """Serve."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # sendmail answers 451 to what was under way
    try:
        signer = Signer()
    except Exception as error:  # noqa: BLE001 - said in a line, and the supervisor tries again
        tell("err", f"signer: can't start: {error!r}")
        os._exit(1)
    signal.signal(signal.SIGHUP, signer.reload)
    signer.serve()


if __name__ == "__main__":
    main()
