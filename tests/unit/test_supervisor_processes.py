"""When a daemon is started again, and at which socket."""

import dataclasses
import os
import socket
import time
from collections.abc import Iterator

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


@pytest.fixture
def front() -> Iterator[Child]:
    """A daemon that is given a listening socket; it lives for a moment only."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = Process("front", ("/bin/true",), {}, socket="", ports=(port,), reload="SIGHUP", listens=("inet", port))
    child = Child(process)
    yield child
    child.close()


def _start(child: Child) -> socket.socket:
    child.start()
    os.waitpid(child.pid, 0)
    assert child.listener
    return child.listener


def test_a_daemon_that_died_has_its_socket_again(front: Child) -> None:
    first = _start(front)
    front.died()
    assert _start(front) is first


def test_a_daemon_that_was_told_to_stop_gets_a_new_socket(front: Child) -> None:
    first = _start(front)
    first.shutdown(socket.SHUT_RDWR)  # as the front does, for all who have it
    second = _start(front)
    assert second is not first
    socket.create_connection(second.getsockname(), 5).close()


def test_networks_with_ipv6_anew_have_a_socket_for_it(front: Child) -> None:
    assert _start(front).family == socket.AF_INET
    front.process = dataclasses.replace(front.process, listens=("inet6", front.process.ports[0]))
    listener = _start(front)
    assert listener.family == socket.AF_INET6
    socket.create_connection(("::1", front.process.ports[0]), 5).close()
