"""Token servers are asked over TLS, past no proxy that is configured and through no other."""

import http.server
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroad.uplink.oauth import TokenError, ask, poster


class Token(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"access_token": "t"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Connect(socketserver.StreamRequestHandler):
    """An HTTP proxy for one exchange."""

    asked: list[str]

    def handle(self) -> None:
        head = self.rfile.readline().decode()
        while self.rfile.readline().strip():
            pass
        self.asked.append(head.split()[1])
        with socket.create_connection(("127.0.0.1", int(head.split()[1].rpartition(":")[2]))) as out:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self.pipe, args=(self.connection, out))
            back.start()
            self.pipe(out, self.connection)
            back.join()

    def pipe(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path]  # type: ignore[list-item]
    subprocess.run(make, check=True, capture_output=True)
    return path


def test_through_a_proxy_and_past_those_of_the_environment(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    inside, outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    inside.load_cert_chain(certificate)
    token = http.server.HTTPServer(("127.0.0.1", 0), Token)
    token.socket = inside.wrap_socket(token.socket, server_side=True)
    Connect.asked = []
    with serving(token) as port, serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connect)) as proxy:
        url = f"https://localhost:{port}/token"
        assert ask(poster(outside), url, {"a": "b"})["access_token"] == "t"
        assert not Connect.asked
        assert ask(poster(outside, f"http://127.0.0.1:{proxy}"), url, {"a": "b"})["access_token"] == "t"
        assert Connect.asked == [f"localhost:{port}"]
        with pytest.raises(TokenError, match="localhost gives no token: it can't be reached: through the proxy"):
            ask(poster(outside, "socks5://127.0.0.1:9"), url, {})
