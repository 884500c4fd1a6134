"""``python -m postroad.recorder``: the recorder, which carries events from the journal into the database."""

import os
import signal
import sys

from postroad.recorder import rest
from postroad.recorder.loop import Recorder
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT


def let_mail_go_first() -> None:
    """Lower the priority to 10. It stays where the server was started with a lower one: only root could raise it."""
    os.nice(max(0, 10 - os.nice(0)))


def main() -> int:
    """Record; end at SIGTERM, begin anew with the settings in force at SIGHUP."""
    ends = (signal.SIGTERM, signal.SIGINT)
    for number in ends:
        signal.signal(number, lambda *_: os._exit(0))
    rest.on_reload(lambda: rest.become("postroad.recorder", listener=rest.inherited()))
    os.umask(0o077)
    let_mail_go_first()
    recorder = Recorder(recording.load(CURRENT))
    for number in ends:
        signal.signal(number, lambda *_: recorder.end())
    rest.on_reload(recorder.begin_anew)
    recorder.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
