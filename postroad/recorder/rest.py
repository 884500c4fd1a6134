"""``python -m postroad.recorder.rest``: the recorder while nothing happens, in a fraction of its memory.

The process waits for an event or a visitor, and is then the recorder again, which needs SQLAlchemy. Standard library
only.
"""

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from postroad.journal.writer import segments
from postroad.runtime.paths import EVENTS, FEED

AWAKE = 90.0
"""Seconds for which the recorder stays after an event or a visit: a scrape a minute does not find it at rest."""
LONGEST = 600.0
"""Seconds of rest after which it looks for what is too old."""
LISTENER = "POSTROAD_HTTP_LISTENER"
"""The environment's name for the listening socket that is handed on, so that no visitor finds the port closed."""


def journal() -> str:
    """The journal's end, which moves with each event."""
    there = segments(EVENTS)
    return f"{there[-1].name}:{there[-1].stat().st_size}" if there else ""


def become(module: str, *words: str, listener: socket.socket | None = None) -> NoReturn:
    """Replace this process by another program of ours (same process id), and pass on the listening socket, if any."""
    environment = {name: value for name, value in os.environ.items() if name != LISTENER}
    if listener is not None:
        listener.set_inheritable(True)
        environment[LISTENER] = str(listener.fileno())
    # until the new program has its handlers, a signal waits: it would end the process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.execve(sys.executable, [sys.executable, "-m", module, *words], environment)  # noqa: S606


def inherited() -> socket.socket | None:
    """The listening socket that this process was given, once."""
    given = os.environ.pop(LISTENER, None)
    if given is None:
        return None
    os.set_inheritable(int(given), False)
    return socket.socket(fileno=int(given))


def on_reload(act: Callable[[], NoReturn]) -> None:
    """Call this at SIGHUP, also if the signal came before this call."""
    signal.signal(signal.SIGHUP, lambda *_: act())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextlib.contextmanager
def no_reload() -> Iterator[None]:
    """Let SIGHUP wait until the block ends, so that a socket which is just being taken over is not lost."""
    came: list[int] = []
    act = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, act)
        if came:
            signal.raise_signal(signal.SIGHUP)


def main() -> NoReturn:
    """Wait, then become the recorder; the argument says how far it has read the journal. SIGTERM ends the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    listener = inherited()
    on_reload(lambda: become("postroad.recorder", listener=listener))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as feed, contextlib.suppress(OSError):
        feed.connect(str(FEED))
        # what comes from now on shows on the feed
        if journal() == sys.argv[1]:
            waited = [feed] if listener is None else [feed, listener]
            select.select(waited, [], [], LONGEST)
    become("postroad.recorder", listener=listener)


if __name__ == "__main__":
    main()
