"""One receiver at loopback: what of its behaviour counts, and that it can't hold a thread for ever."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from postroad.webhooks import post
from postroad.webhooks.post import Receiver
from tests.unit.handed import HOOK

EVENT = {"event": "ping"}
MADE: list[Receiver] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ports: list[int] = []  # noqa: RUF012 - of the clients, one a connection
    release = threading.Event()
    drips = threading.Semaphore(0)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.ports.append(self.client_address[1])
        path, _, argument = self.path[1:].partition("/")
        size = int(argument) if path == "size" else 0
        self.send_response(int(argument) if path == "status" else 503 if path == "later" else 200)
        if path == "later":
            self.send_header("Retry-After", argument.replace("_", " "))
        self.send_header("Content-Length", "9999" if path in {"drip", "cut"} else str(max(size, len(b"<b>\x1b[31m"))))
        self.end_headers()
        if path == "drip":
            while not self.release.wait(0.05):
                self.wfile.write(b"x")
                self.drips.release()
        self.wfile.write(b"x" * size or b"<b>\x1b[31m")
        if path in {"hangup", "cut"}:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that goes away is what some of this is for."""


@pytest.fixture
def server() -> Iterator[int]:
    made = Server(("127.0.0.1", 0), Handler)
    Handler.ports.clear()
    Handler.release.clear()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made.server_address[1]
    Handler.release.set()
    made.shutdown()
    thread.join()
    made.server_close()


def receiver(port: int, path: str = "", **keys: Any) -> Receiver:
    hook = replace(HOOK, url=f"http://localhost:{port}/{path}", secrets=("a2V5",), allow_private=True)
    made = Receiver(replace(hook, **keys), "mail.example.com")
    MADE.append(made)
    return made


def ask(made: Receiver) -> post.ReceiverAnswer:
    return made.post("id", 0.0, EVENT)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("", 200, ""),
        ("status/201", 201, ""),
        ("status/299", 299, ""),
        ("status/302", 302, "answered 302: redirects are not followed"),
        ("status/404", 404, "answered 404: <b> [31m"),
        ("status/500", 500, "answered 500: <b> [31m"),
    ],
)
def test_an_answer_is_judged(server: int, path: str, status: int, error: str) -> None:
    assert ask(receiver(server, path)) == post.ReceiverAnswer(status, error)


def test_a_connection_is_kept_and_made_anew_where_it_was_closed(server: int) -> None:
    made = receiver(server)
    assert [ask(made).taken for _ in range(3)] == [True] * 3
    assert len(set(Handler.ports)) == 1
    hangs_up = receiver(server, "hangup")
    assert [ask(hangs_up).taken for _ in range(3)] == [True] * 3
    assert len(set(Handler.ports)) == 4


def test_an_answer_that_is_cut_short_is_none(server: int) -> None:
    answer = ask(receiver(server, "cut"))
    assert (answer.taken, answer.status) == (False, None)
    assert "no answer" in answer.error


def test_a_large_answer_is_not_read(server: int) -> None:
    made = receiver(server, "size/50000000")
    begun = time.monotonic()
    assert [ask(made).taken for _ in range(2)] == [True] * 2
    assert len(set(Handler.ports)) == 2
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("120", 120, 120),
        ("Fri,_31_Dec_2100_23:59:59_GMT", 10**9, 10**10),
        ("Mon,_01_Jan_2001_00:00:00_GMT", 0, 0),
        ("soon", -1, -1),
        ("-5", -1, -1),
        ("9" * 400, 999_999_999, 999_999_999),
    ],
)
def test_retry_after(text: str, least: float, most: float, server: int) -> None:
    answer = ask(receiver(server, f"later/{text}"))
    assert answer.status == 503
    assert least <= (-1 if answer.retry_after is None else answer.retry_after) <= most


def test_one_that_drips_is_ended(server: int) -> None:
    made = receiver(server, "drip")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, made)
        assert Handler.drips.acquire(timeout=10)
        assert Handler.drips.acquire(timeout=10), "it goes on as long as something comes"
        assert not future.done()
        made.abort()
        try:
            assert not future.result(timeout=10).taken
        finally:
            Handler.release.set()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert ask(receiver(free.getsockname()[1])).error == "no answer: Connection refused"
    assert "no answer: " in ask(receiver(1, url="http://no-such-name.invalid/")).error


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"allow_private": False, "url": "https://localhost/"}, "is at 127.0.0.1, no public address"),
        ({"allow_private": False, "url": "https://[::ffff:127.0.0.1]/"}, "is at ::ffff:7f00:1, no public address"),
        ({"url": "http://169.254.169.254/"}, "is at 169.254.169.254, no public address"),
        ({"url": "http://8.8.8.8/"}, "is at 8.8.8.8, a public address, and http:// is for private ones"),
        ({"allow_private": False, "url": "https://2130706433/"}, "is at 127.0.0.1, no public address"),
        ({"allow_private": False, "url": "https://0x7f.1/"}, "is at 127.0.0.1, no public address"),
    ],
)
def test_where_nothing_is_posted_to(keys: dict[str, Any], error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert error in ask(receiver(1, **keys)).error


def test_a_name_that_changes_its_mind_leads_nowhere_else(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No resolver here lies on demand, so the answers are pretended."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    went: list[Any] = []

    def lookup(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), server))]

    def connect(address: Any, **_: object) -> socket.socket:
        went.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket, "create_connection", connect)
    made = receiver(server, url=f"https://rebind.example:{server}/", allow_private=False)
    assert ask(made).error == "no answer: Connection refused"
    assert "no public address" in ask(made).error
    assert went == [("93.184.216.34", server)]
