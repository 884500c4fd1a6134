"""The instance metadata service, version 2, from a server that behaves like it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from postroad.dns.instance import Instance, ask

DOCUMENT = {"instanceId": "i-0123456789abcdef0", "region": "ap-northeast-2", "privateIp": "10.0.3.7"}


class Imds(BaseHTTPRequestHandler):
    """Answers only to who has fetched a token."""

    public: str | None = "203.0.113.10"
    document: str = json.dumps(DOCUMENT)
    delay: float = 0

    def do_PUT(self) -> None:
        time.sleep(self.delay)  # a service that is slow
        right = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
        self.reply(200 if right else 400, "token-1")

    def do_GET(self) -> None:
        texts = {
            "/latest/meta-data/public-ipv4": self.public,
            "/latest/dynamic/instance-identity/document": self.document,
        }
        if self.headers["X-aws-ec2-metadata-token"] != "token-1":
            self.reply(401, "")
        elif (text := texts.get(self.path)) is None:
            self.reply(404, "<html>no such thing</html>")
        else:
            self.reply(200, text)

    def reply(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that has given up is no error."""


@pytest.fixture
def imds() -> Iterator[tuple[type[Imds], int]]:
    class Handler(Imds):
        pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, server.server_port
    server.shutdown()
    server.server_close()


def test_an_instance_with_an_address_of_its_own(imds: tuple[type[Imds], int]) -> None:
    found = ask("127.0.0.1", imds[1])
    assert found == Instance("i-0123456789abcdef0", "ap-northeast-2", "10.0.3.7", "203.0.113.10")


def test_behind_a_nat_gateway(imds: tuple[type[Imds], int]) -> None:
    imds[0].public = None
    found = ask("127.0.0.1", imds[1])
    assert (found.region, found.public_ipv4) == ("ap-northeast-2", "")


@pytest.mark.parametrize("document", ["", "[]", "nonsense", '{"region": 1, "instanceId": "i-\\u001b[31m"}'])
def test_something_else_that_answers_there(imds: tuple[type[Imds], int], document: str) -> None:
    imds[0].document = document
    imds[0].public = "<b>"
    assert ask("127.0.0.1", imds[1]) == Instance()


def test_no_service() -> None:
    assert ask("127.0.0.1", 9) == Instance()


def test_a_service_that_hangs_is_given_up(imds: tuple[type[Imds], int]) -> None:
    imds[0].delay = 3
    began = time.monotonic()
    assert ask("127.0.0.1", imds[1]) == Instance()
    assert time.monotonic() - began < 2


def test_no_proxy_is_asked(imds: tuple[type[Imds], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask("127.0.0.1", imds[1]).region == "ap-northeast-2"
