"""``python -m postroad.shaper``: releases the mail of routes with limits, as the limits allow.

sendmail only queues that mail, in a folder for each route that its own queue runs leave alone. This process reads what
is there, and starts a run of sendmail's for a message, or a few that share a connection, when the limits leave room.
Standard library only.
"""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

from postroad.errors import plainly
from postroad.runtime.log import Tell
from postroad.runtime.paths import SHAPER_LOCK
from postroad.shaper.complaints import Complaints
from postroad.shaper.loop import LOOK, Shaper


def lock(path: Path, say: Tell) -> int:
    """Wait for every run of an earlier shaper to end, then hold the lock; our own runs inherit it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(
                "notice",
                "deliveries of an earlier shaper go on: mail of routes with limits waits until they have ended",
            )
            time.sleep(LOOK)
        else:
            return descriptor


def main() -> NoReturn:
    """Run until a signal ends the process; runs that it has started go on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    os.umask(0o077)
    shaper = Shaper(Complaints("shaper"))
    shaper.requests.listen()
    # what a former process has started goes on to its end, and stays released until then
    shaper.runs.lock = lock(SHAPER_LOCK, shaper.say)
    shaper.runs.write()
    shaper.counts.recall()
    shaper.load()
    shaper.parts.listen()

    def reload() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        try:
            shaper.load()
        except (OSError, ValueError) as error:
            shaper.say("err", f"the routes can't be read ({plainly(error)}): the previous ones stay in force")

    shaper.watch(woken, reload)
    while True:
        shaper.step()


if __name__ == "__main__":
    main()
