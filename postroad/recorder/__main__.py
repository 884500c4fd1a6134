"""``python -m postroad.recorder``: the recorder, which carries events from the journal into the database."""

import os
import signal
import sys

from postroad.recorder import rest
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT

ENDS = (signal.SIGTERM, signal.SIGINT)


def let_mail_go_first() -> None:
    """Lower the priority to 10. It stays where the server was started with a lower one: only root could raise it."""
    os.nice(max(0, 10 - os.nice(0)))


def main() -> int:
    """Record; end at SIGTERM, begin anew with the settings in force at SIGHUP."""
    # a stop waits until there is a recorder, which carries what the journal has before it ends
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    from postroad.recorder.loop import Recorder  # noqa: PLC0415 - it takes seconds on a busy machine

    rest.on_reload(lambda: rest.become("postroad.recorder", listener=rest.inherited()))
    os.umask(0o077)
    let_mail_go_first()
    recorder = Recorder(recording.load(CURRENT))
    for number in ENDS:
        signal.signal(number, lambda *_: recorder.end())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    rest.on_reload(recorder.begin_anew)
    recorder.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
