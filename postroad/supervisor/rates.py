"""The thread that counts messages for ``limits.messages_per_minute``, failed logins, and sessions.

Only here are all of sendmail's processes seen. sendmail asks through a socket map, once for each MAIL and each
connection to 587 or 465, and the preloaded library at each AUTH: netstrings
(https://cr.yp.to/proto/netstrings.txt) of ``MAP KEY``, answered by netstrings of ``STATUS VALUE``. The key holds the
limit, so nothing changes here on reload.
Where nobody answers, the message, or the login, is refused for now.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from postroad import sockets
from postroad.runtime import bounds
from postroad.supervisor.guesses import Guesses
from postroad.supervisor.sessions import Sessions

MINUTE = 60.0
CREDENTIALS = struct.Struct("3i")
"""``struct ucred``: process, user, group."""
LONGEST = 1024
"""Octets of the longest question: an address or a user's name, and a number."""


class Rates:
    """Counts over a sliding minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}
        self._swept = clock()

    def answer(self, key: str) -> str:
        """``OK FEW`` to ``LIMIT WHO``, and count it; ``OK MORE`` where ``WHO`` has had that many within the minute."""
        limit, _, who = key.partition(" ")
        if not (limit.isascii() and limit.isdigit() and who):
            return "PERM not a limit and a name"
        now = self._clock()
        self._forget(now)
        times = self._seen.setdefault(who, deque())
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= int(limit):
            return "OK MORE"
        times.append(now)
        return "OK FEW"

    def _forget(self, now: float) -> None:
        if now - self._swept > MINUTE:
            self._swept = now
            self._seen = {who: times for who, times in self._seen.items() if times and times[-1] > now - MINUTE}


class RateThread:
    """Serves ``Rates`` and ``Guesses`` on a UNIX socket from ``start`` to the end of the process."""

    def __init__(self, path: Path, tell: Callable[[str, str], None] = lambda *_: None) -> None:
        self._rates, self._guesses, self._sessions = Rates(), Guesses(tell), Sessions(bounds.here().direct, tell=tell)
        self._selector = selectors.DefaultSelector()
        self._listener = sockets.listening(path, 1024)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._loop, name="rates", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _loop(self) -> None:
        asked: dict[socket.socket, bytes] = {}
        while True:
            for key, _ in self._selector.select():
                try:
                    if key.fileobj is self._listener:
                        connection, _ = self._listener.accept()
                        connection.setblocking(False)
                        self._selector.register(connection, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket):
                        self._serve(key.fileobj, asked)
                except BlockingIOError:
                    continue
                except Exception:  # noqa: BLE001 - a bug in here must not end the thread: mail would be refused for good
                    traceback.print_exc()

    def _answers(self, connection: socket.socket) -> dict[str, Callable[[str], str]]:
        """What answers the questions of the process at the other end: it is a session, or what a session asks for."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid, _, _ = CREDENTIALS.unpack(credentials)

        def guess(key: str) -> str:
            answer = self._guesses.answer(key)
            if answer == "OK FREE" and key.split(" ")[1:2] == ["right"]:
                self._sessions.login(pid)
            return answer

        session = partial(self._sessions.answer, pid)
        return {"rate": self._rates.answer, "guess": guess, "knock": self._sessions.knock, "session": session}

    def _serve(self, connection: socket.socket, asked: dict[socket.socket, bytes]) -> None:
        """Read what has come and answer each whole question; end with a client that ends or makes no sense."""
        try:
            data = connection.recv(4096)
            rest, answers = respond(asked.pop(connection, b"") + data, self._answers(connection))
            connection.sendall(answers)
        except (OSError, ValueError):
            data, rest = b"", b""
        if data:
            asked[connection] = rest
        else:
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()


def respond(data: bytes, maps: Mapping[str, Callable[[str], str]]) -> tuple[bytes, bytes]:
    """Answer the whole netstrings at the start of ``data``, by the map that each names.

    Returns:
        What is left of it, and the answers.

    Raises:
        ValueError: it is no netstring of ours.
    """
    answers = b""
    while b":" in data:
        length, _, after = data.partition(b":")
        size = int(length)
        if not 0 <= size <= LONGEST:
            raise ValueError(size)
        if len(after) <= size:
            break
        if after[size : size + 1] != b",":
            raise ValueError(after)
        question, data = after[:size].decode(errors="replace"), after[size + 1 :]
        name, _, key = question.partition(" ")
        answer = (maps[name](key) if name in maps else "PERM no such map").encode()
        answers += b"%d:%s," % (len(answer), answer)
    if len(data) > LONGEST + 8:
        raise ValueError(data)
    return data, answers
