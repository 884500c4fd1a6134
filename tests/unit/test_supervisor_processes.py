"""When a daemon that died, or could not be started, is started again."""

import time

import pytest

from postroad.errors import CommandError
from postroad.runtime.plan import Process
from postroad.supervisor.processes import FIRST_DELAY, STEADY, Child


def test_a_start_that_fails_is_tried_again_later_each_time() -> None:
    child = Child(Process("recorder", ("/nowhere",), {}, socket="", ports=(), reload="SIGHUP", essential=False))
    child.started = time.monotonic() - 2 * STEADY  # it ran well for long, and died once
    child.died()
    waits = []
    for _ in range(4):
        with pytest.raises(CommandError, match="could not be started"):
            child.start()
        child.died()
        waits.append(round(child.due - time.monotonic(), 1))
    assert waits == [FIRST_DELAY * 2**number for number in range(1, 5)]
