"""Probes are answered whatever else is asked, and nobody finds the port closed while the recorder begins anew."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.http import metrics
from postroad.http import server as http
from postroad.recorder import port, rest
from postroad.recorder.loop import Recorder
from postroad.runtime import acceptance, health
from postroad.store import database
from tests.unit.handed import recorded

PROBE = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\n\r\n"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    (tmp_path / "health").write_text("ready 1\n0 0 done\n")
    (tmp_path / "queue").mkdir()
    (tmp_path / "acceptance").write_text("mail\tyes\n")
    monkeypatch.setattr(health, "HEALTH", tmp_path / "health")
    monkeypatch.setattr(acceptance, "ACCEPTANCE", tmp_path / "acceptance")
    monkeypatch.setattr(metrics, "QUEUE", tmp_path / "queue")
    made = database.connect(tmp_path / "events.db")
    database.upgrade(made)
    yield made
    for thread in threading.enumerate():
        if thread.name == "scrape":  # it reads what is removed now
            thread.join(10)
    made.dispose()


@pytest.fixture
def server(engine: Engine) -> Iterator[http.HttpServer]:
    made = http.serve("127.0.0.1", 0, engine)
    yield made
    made.retire(0).close()


def client(server: http.HttpServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=20)


def ask(server: http.HttpServer, request: bytes = PROBE) -> bytes:
    with client(server) as asking:
        asking.sendall(request)
        return b"".join(iter(lambda: asking.recv(65536), b""))


def test_probes_and_scrapes(server: http.HttpServer) -> None:
    assert ask(server).endswith(b'\r\n\r\n{"status": "ready", "reasons": []}\n')
    assert ask(server).startswith(b"HTTP/1.0 200")
    assert b"\npostroad_ready 1.0\n" in ask(server, SCRAPE)
    assert b"\r\n\r\n{" not in ask(server, PROBE.replace(b"GET", b"HEAD"))
    assert ask(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 404")
    assert ask(server, b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 501")
    assert b"200" not in ask(server, b"\0\xff\r\n\r\n")


def test_degraded_with_the_reason(server: http.HttpServer, tmp_path: Path) -> None:
    (tmp_path / "health").write_text("degraded 1\n1 1 done\nthe limit of processes (pids) is reached\n")
    found = ask(server)
    assert found.startswith(b"HTTP/1.0 503")
    assert json.loads(found.partition(b"\r\n\r\n")[2]) == {
        "status": "degraded",
        "reasons": ["the limit of processes (pids) is reached"],
    }


def test_a_request_in_pieces(server: http.HttpServer) -> None:
    with client(server) as asking:
        for octet in PROBE:
            asking.sendall(bytes([octet]))
        assert asking.recv(100).startswith(b"HTTP/1.0 200")


def test_slow_clients_do_not_keep_a_probe_from_its_answer(server: http.HttpServer) -> None:
    with ExitStack() as stack:
        for _ in range(3 * http.MOST):
            stack.enter_context(client(server)).sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            if _ % 20 == 0:
                assert ask(server).startswith(b"HTTP/1.0 200")
        for _ in range(20):
            assert ask(server).startswith(b"HTTP/1.0 200")


def test_one_that_drips_is_cut_off(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST", 0.3)
    server = http.serve("127.0.0.1", 0, engine)
    with client(server) as slow, pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        slow.settimeout(0.05)
        while True:  # the test's own limit ends it
            slow.sendall(b"x")
            try:
                if not slow.recv(1):
                    raise ConnectionResetError("reset")
            except TimeoutError:
                pass
    server.retire(0).close()


def test_scrapes_that_hang_are_few_and_keep_no_probe(server: http.HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    released, begun = threading.Event(), threading.Semaphore(0)

    def hang(_: object) -> bytes:
        begun.release()
        released.wait()
        return b""

    monkeypatch.setattr(http, "generate_latest", hang)
    with ExitStack() as stack:
        hanging = [stack.enter_context(client(server)) for _ in range(http.SCRAPES)]
        for each in hanging:
            each.sendall(SCRAPE)
        for _ in hanging:
            assert begun.acquire(timeout=20)
        assert ask(server, SCRAPE).startswith(b"HTTP/1.0 503")
        assert ask(server).startswith(b"HTTP/1.0 200")
        released.set()
        assert all(each.recv(100).startswith(b"HTTP/1.0 200") for each in hanging)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["long-header", "many-headers", "long-path"],
)
def test_what_makes_no_sense_is_refused(server: http.HttpServer, request_: bytes) -> None:
    with suppress(ConnectionError):  # it hangs up on the rest
        assert ask(server, request_)[9:12] in {b"414", b"431", b""}
    assert ask(server).startswith(b"HTTP/1.0 200")


class BecameError(Exception):
    pass


@pytest.fixture
def begin_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """The recorder as it becomes a new one, with other settings for HTTP; what comes back is the environment."""
    monkeypatch.setattr(database, "opened", lambda _: engine)
    monkeypatch.delenv(rest.LISTENER, raising=False)
    running: list[Recorder] = []

    def become(_: str, __: list[str], environment: dict[str, str]) -> None:
        monkeypatch.delenv(rest.LISTENER, raising=False)
        if rest.LISTENER in environment:
            # what is not handed on is closed
            monkeypatch.setenv(rest.LISTENER, str(os.dup(int(environment[rest.LISTENER]))))
        raise BecameError

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: None)

    def begin(listen: object) -> None:
        if running:
            before = running.pop()
            with pytest.raises(BecameError):
                before.begin_anew()
            if before._port._server:
                before._port._server._listener.close()
        running.append(Recorder(recorded(http=listen)))
        running[0]._port.serve()

    yield begin
    if running and running[0]._port._server:
        running[0]._port._server.retire(0).close()


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_new_recorder_listens_where_the_one_before_did(begin_anew: Callable[[object], None]) -> None:
    port = free()
    begin_anew(("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"GET")
        for _ in range(3):
            begin_anew(("127.0.0.1", port))
            with socket.create_connection(("127.0.0.1", port), timeout=20) as asking:
                asking.sendall(PROBE)
                assert asking.recv(100).startswith(b"HTTP/1.0 200")


def test_who_comes_in_between_waits(begin_anew: Callable[[object], None], monkeypatch: pytest.MonkeyPatch) -> None:
    port = free()
    begin_anew(("127.0.0.1", port))
    with ExitStack() as stack:
        come: list[socket.socket] = []
        whole = http.HttpServer.retire

        def retire(self: http.HttpServer, patience: float) -> socket.socket:
            listener = whole(self, patience)
            come.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)))
            come[0].sendall(PROBE)
            return listener

        monkeypatch.setattr(http.HttpServer, "retire", retire)
        begin_anew(("127.0.0.1", port))
        monkeypatch.setattr(http.HttpServer, "retire", whole)
        assert come[0].recv(100).startswith(b"HTTP/1.0 200")


def test_a_new_recorder_listens_elsewhere_or_not_at_all(begin_anew: Callable[[object], None]) -> None:
    port, other = free(), free()
    begin_anew(("127.0.0.1", port))
    begin_anew(("127.0.0.1", other))
    with socket.create_connection(("127.0.0.1", other), timeout=20) as asking:
        asking.sendall(PROBE)
        assert asking.recv(100).startswith(b"HTTP/1.0 200")
    begin_anew(None)
    for each in (port, other):
        with socket.socket() as asking:
            assert asking.connect_ex(("127.0.0.1", each)) != 0


def test_an_address_that_can_t_be_had_is_tried_again(
    begin_anew: Callable[[object], None], monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    said: list[str] = []
    monkeypatch.setattr(port, "tell", lambda _, text, **__: said.append(text))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        begin_anew(("127.0.0.1", number))
        assert said == [f"http.listen: 127.0.0.1:{number} can't be listened on: Address already in use"]
    one = port.Port(recorded(http=("127.0.0.1", number)), engine)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", number)):
        one.serve()
        one.serve()
    assert len(said) == 2
    now[0] += port.AGAIN
    one.serve()
    assert one._server
    one._server.retire(0).close()


def test_a_reload_while_the_port_is_taken_over_waits_until_it_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "opened", lambda _: engine)
    served, real = list[object](), http.serve

    def serve(*given: Any) -> http.HttpServer:
        signal.raise_signal(signal.SIGHUP)
        return real(*given)

    monkeypatch.setattr(http, "serve", serve)
    recorder = Recorder(recorded(http=("127.0.0.1", free())))
    before = signal.signal(signal.SIGHUP, lambda *_: served.append(recorder._port._server))
    try:
        recorder._port.serve()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert served == [recorder._port._server]
    assert recorder._port._server
    recorder._port._server.retire(0).close()
