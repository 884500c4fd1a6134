import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.events import model
from postroad.sinks.feed import MOST_CLIENTS, FeedSink
from postroad.sinks.told import Told

EVENT = model.Notice(time=1.5, message="a\nb")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events"


@pytest.fixture
def feed(path: Path) -> Iterator[FeedSink]:
    sink = FeedSink(path)
    yield sink
    sink.close()
    assert not path.exists()


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(str(path))
    return client


def test_each_client_gets_what_happens_from_its_connection_on(feed: FeedSink, path: Path) -> None:
    feed.handle([Told(EVENT)])
    with connect(path) as early:
        feed.handle([Told(EVENT)])
        with connect(path) as late:
            feed.handle([Told(model.Started(time=2, version="8.18.1"))])
            assert [json.loads(line)["event"] for line in early.recv(1 << 16).splitlines()] == ["notice", "started"]
            assert json.loads(late.recv(1 << 16)) == {
                "event": "started",
                "time": "1970-01-01T00:00:02.000Z",
                "version": "8.18.1",
            }


def test_a_client_for_whom_there_is_no_descriptor_waits(feed: FeedSink, path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(path) as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            feed.accept()
            feed.handle([Told(EVENT)])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        feed.handle([Told(model.Started(time=2, version="8.18.1"))])
        assert [json.loads(line)["event"] for line in client.recv(1 << 16).splitlines()] == ["started"]


def test_who_does_not_read_or_goes_away_holds_nobody_up(feed: FeedSink, path: Path) -> None:
    with connect(path) as idle, connect(path) as reader:
        connect(path).close()
        seen = 0
        for _ in range(3000):
            feed.handle([Told(model.Notice(time=0, message="x" * 1000))])
            data = reader.recv(1 << 20)
            while not data.endswith(b"\n"):
                data += reader.recv(1 << 20)
            seen += data.count(b"\n")
        assert seen == 3000
        while idle.recv(1 << 20):
            pass  # what fitted, and then the end


def test_the_oldest_of_too_many_clients_goes(feed: FeedSink, path: Path) -> None:
    clients = [connect(path) for _ in range(MOST_CLIENTS)]
    feed.accept()
    with connect(path) as last:
        feed.handle([Told(EVENT)])
        assert clients[0].recv(100) == b""
        assert last.recv(1000)
        assert clients[1].recv(1000)
    for client in clients:
        client.close()


def test_others_can_not_connect(feed: FeedSink, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_stale_socket_is_replaced(feed: FeedSink, path: Path) -> None:
    again = FeedSink(path)
    with connect(path) as client:
        again.handle([Told(EVENT)])
        assert client.recv(1000)
    again.close()
