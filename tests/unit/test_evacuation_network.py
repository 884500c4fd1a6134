"""A queue that leaves over the network: sockets and TLS of this process's own."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postroad.evacuation import places, server, taking, wire
from postroad.evacuation.client import RefusedPeerError, Session, open_session
from postroad.evacuation.run import Evacuation, Left, Result
from postroad.evacuation.server import Server, Settings, Taken
from postroad.evacuation.taking import RefusedError, Taking
from postroad.evacuation.wire import Wire
from postroad.sendmail import queue
from tests.unit.test_evacuation_folders import files
from tests.unit.test_sendmail_queue import ID, QF, put

SECRET = "a secret of forty characters, or so, as it should be"
OCTETS = QF.encode(errors="surrogateescape")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates, each with its key in the same file, as a self-signed one is kept."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("own", "other"):
        path = folder / f"{name}.pem"
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run(
            [*request, "-keyout", folder / "key", "-out", folder / "crt", "-subj", "/CN=mail.example.com"],
            check=True,
            capture_output=True,
        )
        path.write_text((folder / "key").read_text() + (folder / "crt").read_text())
    return folder


def settings(pem: Path, secret: str = SECRET, name: str = "own") -> Settings:
    path = pem / f"{name}.pem"
    digest = wire.digest(wire.first_certificate(path.read_text()))
    return Settings(secret, "there", wire.server_context(path, path), digest)


class World:
    """Two queues, and a server of the one that takes over."""

    def __init__(self, top: Path, pem: Path) -> None:
        self.here, self.there = top / "here", top / "there"
        for each in (self.here, self.there):
            each.mkdir()
        self.accepting = True
        self.taken: list[Taken] = []
        self.complaints: list[str] = []
        self.left: list[Left] = []
        self.taking = Taking(self.there)
        self.server = Server(
            settings(pem),
            self.taking,
            places.identity(self.there),
            lambda: self.accepting,
            self.taken.append,
            self.complaints.append,
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.server.serve, args=(self.listener,), daemon=True).start()

    def session(self, secret: str = SECRET, port: int = 0, own: str = "") -> Session:
        return open_session("127.0.0.1", port or self.port, secret, own or places.identity(self.here), "here")

    def run(self) -> Result:
        with self.session() as session:
            return Evacuation(self.here, session, self.left.append).run(lambda: False)

    def waiting(self, root: Path) -> list[str]:
        return sorted(path.name for path in queue.control_files(root) if path.name[:2] == "qf")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def world(tmp_path: Path, pem: Path) -> Iterator[World]:
    made = World(tmp_path, pem)
    yield made
    made.close()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def token(queue_id: str = ID) -> str:
    return places.token("a" * 32, queue_id)


def test_messages_go_as_they_are(world: World) -> None:
    body = os.urandom(3 << 20)
    put(world.here)
    (world.here / f"df{ID}").write_bytes(body)
    put(world.here, name="qf6AOALKBA000042", body="")
    assert world.run() == Result(left=2)
    assert not files(world.here)
    assert len(world.waiting(world.there)) == 2
    (big,) = [path for path in world.there.glob("df*") if path.stat().st_size]
    assert big.read_bytes() == body
    assert big.with_name(f"q{big.name[1:]}").read_bytes() == OCTETS
    assert {(each.relay, each.octets) for each in world.taken} == {("here", OCTETS)}
    assert {each.path.name[2:] for each in world.taken} == {each.queue_id for each in world.left}
    assert {each.relay for each in world.left} == {"there"}


def test_who_does_not_know_the_secret_gets_in_nothing(world: World) -> None:
    put(world.here)
    with pytest.raises(RefusedPeerError, match="refuses: it does not know the secret"):
        world.session(secret="another secret of forty characters, or so")
    assert world.waiting(world.here) == [f"qf{ID}"]
    assert not world.taken


def test_a_server_that_does_not_know_the_secret_gets_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says yes to whatever is proved to it."""
    put(world.here)
    real = wire.proof

    def guess(secret: str, side: str, *rest: Any) -> str:
        return (
            real("a guess", side, *rest)
            if side == "server" and threading.current_thread() is not main
            else real(secret, side, *rest)
        )

    main = threading.current_thread()
    monkeypatch.setattr(wire, "proof", guess)
    with pytest.raises(RefusedPeerError, match=r"does not know the secret of peers\.secret_file"):
        world.session()


def test_somebody_between_the_two_is_noticed_by_both(world: World, pem: Path) -> None:
    """It has a certificate of its own, and passes on what each says."""
    between = socket.create_server(("127.0.0.1", 0))
    context = wire.server_context(pem / "other.pem", pem / "other.pem")
    passed: list[bytes] = []

    def relay() -> None:
        plain, _ = between.accept()
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as client_side:
            upstream = wire.client_context().wrap_socket(socket.create_connection(("127.0.0.1", world.port)))
            with upstream, client_side.makefile("rb") as said, upstream.makefile("rb") as answered:
                while line := said.readline():
                    passed.append(line)
                    upstream.sendall(line)
                    client_side.sendall(answered.readline())

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    with between, pytest.raises(RefusedPeerError, match="does not know the secret"):
        world.session(port=between.getsockname()[1])
    thread.join(10)
    assert len(passed) == 2, "no more than the proof, which is worth nothing elsewhere"
    assert not world.server._current


def test_an_old_tls_is_refused(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", world.port)) as plain, pytest.raises(OSError, match=r"."):
        context.wrap_socket(plain)


@pytest.mark.parametrize("said", [b"EHLO me\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5000])
def test_who_speaks_something_else_is_sent_away(said: bytes, world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.port)) as plain:
        plain.settimeout(10)
        plain.sendall(said)
        with contextlib.suppress(ConnectionError):
            while plain.recv(1000):
                pass
    assert world.run() == Result()


@pytest.mark.parametrize(
    "lines",
    [
        [b"x" * (1 << 17)],
        [b"[]\n"],
        [b"[" * 60000 + b"\n"],
        [b"{\n"],
        [b'{"postroad": 2, "nonce": "x"}\n'],
        [b'{"postroad": 1}\n'],
        [b'{"postroad": 1, "nonce": 7}\n'],
        [b'{"postroad": 1, "nonce": "x"}\n', b'{"proof": null}\n'],
        [b'{"postroad": 1, "nonce": "x"}\n', b'{"proof": "\\u00fc"}\n'],
        [b'{"postroad": 1, "nonce": "x"}\n', b'{"offer": "x"}\n'],
    ],
)
def test_a_stranger_in_tls_is_sent_away(lines: list[bytes], world: World) -> None:
    raw = socket.create_connection(("127.0.0.1", world.port))
    with wire.client_context().wrap_socket(raw) as connection:
        connection.settimeout(10)
        with contextlib.suppress(OSError):
            for line in lines:
                connection.sendall(line)
            while connection.recv(1000):
                pass
    assert not world.server._current
    assert not files(world.there)
    assert world.run() == Result()


@pytest.mark.parametrize("in_tls", [False, True])
def test_a_stranger_that_drips_is_cut_off(in_tls: bool, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STRANGE", 0.3)
    plain = socket.create_connection(("127.0.0.1", world.port))
    if in_tls:
        plain = wire.client_context().wrap_socket(plain)
    header = iter(b"\x16\x03\x01\x20\x00" + b"\x01\x00\x1f\xfc" + b"\x03" * 8000)  # a record that takes its time
    deadline = time.monotonic() + 5

    def drip() -> None:
        while time.monotonic() < deadline:
            plain.sendall(b"x" if in_tls else bytes([next(header)]))
            time.sleep(0.02)

    with plain, pytest.raises(OSError, match=r"."):
        drip()
    until(lambda: not world.server._clients)


def test_one_address_does_not_take_all_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OF_ONE", 2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.port)))
        until(lambda: world.server._clients.total() == 2)
        third = stack.enter_context(socket.create_connection(("127.0.0.1", world.port)))
        third.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert third.recv(1) == b""
    until(lambda: not world.server._clients)
    assert world.run() == Result()


def test_where_threads_run_out_the_next_one_is_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is at its limit for a moment: a client is sent away, and no more than that."""
    monkeypatch.setattr(server, "SCARCE", 0.01)
    real = threading.Thread.start
    refused: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match=r"."):
        world.session()
    assert world.run() == Result()
    until(lambda: not world.server._clients)


@pytest.mark.parametrize("queue_id", ["../../etc", "", "A" * 32, "a" * 33])
def test_an_id_that_is_none(queue_id: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are named by it, on both sides."""
    world.server._queue = queue_id
    with pytest.raises(OSError, match="has no id"):
        world.session()
    until(lambda: not world.server._current)  # it had heard of us, and sees only now that we have left
    world.server._queue = places.identity(world.there)
    with pytest.raises(OSError, match=r"."), world.session(own=queue_id or " ") as session:
        session.ask(token())
    assert not world.server._current


def test_ourselves_is_no_other_relay(world: World) -> None:
    with pytest.raises(RefusedPeerError, match="this relay itself"):
        world.session(own=places.identity(world.there))
    with pytest.raises(RefusedPeerError, match="another relay"):
        open_session("127.0.0.1", world.port, SECRET, "a" * 32, "here", wanted="b" * 32)


def test_of_several_addresses_the_first_other_relay_is_taken(
    world: World, tmp_path: Path, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of all relays leads to one that is gone, to ourselves, and to another one."""
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", pem)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (gone, world.port, other.port)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    own, wanted = places.identity(world.there), places.identity(other.there)
    with open_session("postroad", 2526, SECRET, own, "here") as session:
        assert (session.relay, session.host) == (wanted, "postroad 2526")
    with open_session("postroad", 2526, SECRET, "a" * 32, "here", wanted=wanted) as session:
        assert session.relay == wanted
    other.close()


def test_nobody_is_there(world: World) -> None:
    world.close()
    with pytest.raises(OSError, match=rf"127\.0\.0\.1 .* port {world.port}\) can't be reached"):
        world.session()


def test_a_relay_that_drains_takes_nothing_new_but_says_what_it_has(world: World) -> None:
    with world.session(own="a" * 32) as session:
        (world.here / "body").write_text("x")
        name = session.offer(token(), "", OCTETS, world.here / "body")
        world.accepting = False
        assert session.offer(token(), "", OCTETS, world.here / "body") == name
        with pytest.raises(RefusedError, match="takes no messages"):
            session.offer(token("6AOALKBA000042"), "", OCTETS, world.here / "body")
        assert session.ask(token()) == name
        assert session.ask(token("6AOALKBA000042")) is None
        session.done(token())
        assert session.ask(token()) is None
    assert len(world.taken) == 1


def test_messages_of_another_queue_are_not_offered(world: World) -> None:
    (world.here / "body").write_text("x")
    with world.session(own="b" * 32) as session, pytest.raises(OSError, match="ended"):
        session.offer(token(), "", OCTETS, world.here / "body")
    assert not files(world.there)


def test_an_older_session_takes_no_part_any_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had sent arrives late: the newer one was told that the message is not there."""
    (world.here / "body").write_bytes(b"x" * 1000)
    held, go = threading.Event(), threading.Event()
    write = taking._write_body

    def held_up(path: Path, body: Any, size: int) -> None:
        write(path, body, size)
        held.set()
        assert go.wait(10)

    monkeypatch.setattr(taking, "_write_body", held_up)
    older = world.session(own="a" * 32)

    def offer() -> None:
        with contextlib.suppress(OSError):
            older.offer(token(), "", OCTETS, world.here / "body")

    thread = threading.Thread(target=offer, daemon=True)
    thread.start()
    assert held.wait(10)
    with world.session(own="a" * 32) as newer:
        assert newer.ask(token()) is None
        go.set()
        until(lambda: not world.taking._busy)
        assert newer.ask(token()) is None
    assert not files(world.there)
    thread.join(10)
    older.close()


def test_what_can_not_be_written_is_told_here_and_not_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world.here)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("postroad.evacuation.taking._write_body", full)
        with pytest.raises(OSError, match="ended"):
            world.run()
    assert world.complaints == [f"message {ID} of here can't be taken: No space left on device"]
    assert world.run() == Result(left=1)


def test_an_entry_goes_on_to_the_next_relay(world: World) -> None:
    with world.session(own="a" * 32) as session:
        session.inherit(places.token("c" * 32, ID), "6AOALKBA9000000001")
        assert session.ask(places.token("c" * 32, ID)) == "6AOALKBA9000000001"
        for bad in ("../x", ID):
            with pytest.raises(RefusedError):
                session.inherit(bad, "6AOALKBA9000000001")


def test_new_settings_count_for_new_connections(world: World, pem: Path) -> None:
    world.server.settings = settings(pem, "another secret of forty characters, or so", "other")
    with pytest.raises(RefusedPeerError):
        world.session()
    world.session(secret="another secret of forty characters, or so").close()


# --- cut at any step


class Cutter:
    """Breaks a connection at the n-th thing that one of its sides says or hears."""

    def __init__(self, at: int, patched: pytest.MonkeyPatch) -> None:
        self.left = at
        for name in ("say", "hear", "send_file"):
            patched.setattr(Wire, name, self._cutting(getattr(Wire, name)))

    def _cutting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(link: Wire, *args: Any, **fields: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                socket.socket.shutdown(link.connection, socket.SHUT_RDWR)
                raise ConnectionError("cut")
            return real(link, *args, **fields)

        return act


def test_cut_at_any_step_each_message_is_there_once(tmp_path: Path, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks at each thing that one side says or hears, in turn; then the evacuation goes on."""
    cuts = 0
    for at in range(100):
        top = tmp_path / str(at)
        top.mkdir()
        world = World(top, pem)
        for number in range(2):
            put(world.here, name=f"qf6AOALKBA00004{number}", body=f"body {number}\n")
        with monkeypatch.context() as patched, contextlib.suppress(OSError):
            cutter = Cutter(at, patched)
            world.run()
        was_cut = cutter.left < 0
        cuts += was_cut
        delivered = _deliver(world)
        result = world.run()
        assert not result.doubtful
        assert not result.stayed
        delivered += _deliver(world)
        assert sorted(delivered) == ["body 0\n", "body 1\n"], f"cut at {at}"
        assert not files(world.here)
        assert not files(world.there)
        world.close()
        if not was_cut:
            break
    assert cuts > 15


def _deliver(world: World) -> list[str]:
    """What sendmail would deliver from both queues now, and delete."""
    found = []
    for root in (world.here, world.there):
        for name in world.waiting(root):
            found.append((root / f"d{name[1:]}").read_text())
            (root / name).unlink()
            (root / f"d{name[1:]}").unlink()
    return found
