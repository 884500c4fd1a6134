"""How the front stops: nobody comes in, who is in gets a moment, and the second signal ends it."""

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from postroad.front.__main__ import QUIET, Front
from postroad.front.client import ClientStage
from postroad.front.loop import Loop


class Connected:
    """A client, silent for so many seconds."""

    def __init__(self, front: Any, stage: ClientStage, silent: float) -> None:
        self.stage, self.silent = stage, silent
        self._front = front
        front._clients.add(self)

    def silence(self) -> float:
        return self.silent

    def finish(self) -> None:
        self._front._clients.discard(self)


@pytest.fixture
def front() -> Iterator[Any]:
    made: Any = Front.__new__(Front)
    made.loop = Loop()
    made.flushed = []
    made.pool = SimpleNamespace(flush=lambda: made.flushed.append(True))
    made._listener = socket.create_server(("127.0.0.1", 0))
    made._listener.setblocking(False)
    made._listening, made._stopping, made._patience = False, False, QUIET
    made._clients = set()
    made._welcome = lambda connected, *_: (connected.close(), made.welcomed.append(True))
    made.welcomed = []
    made._most_clients = 10
    yield made
    made._listener.close()


def port(front: Any) -> int:
    return int(front._listener.getsockname()[1])


def test_connections_are_refused_at_once_and_those_before_it_are_served(front: Any) -> None:
    front._listen()
    with socket.create_connection(("127.0.0.1", port(front))):
        where = port(front)
        copy = front._listener.dup()  # the supervisor has one
        Connected(front, ClientStage.END, 0.0)
        front._stop()
        assert front.welcomed == [True]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", where))
        copy.close()
    assert front.loop.running


def test_without_clients_it_ends_at_once(front: Any) -> None:
    front._stop()
    assert not front.loop.running


def test_who_is_between_transactions_gets_a_moment_and_the_second_signal_ends_it(front: Any) -> None:
    fresh, silent = (Connected(front, ClientStage.IDLE, seconds) for seconds in (0.0, QUIET))
    busy = Connected(front, ClientStage.END, 99.0)
    front._stop()
    assert front._clients == {fresh, busy}
    assert not front.flushed
    assert silent not in front._clients
    front._stop()
    assert front._clients == {busy}
    assert front.flushed
    assert front.loop.running
    busy.stage = ClientStage.IDLE
    thread = threading.Thread(target=front.loop.run)  # it looks again by itself
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
