"""The HTTP server over real sockets: how long clients may take, TLS, and a reload."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.runtime import handover, log, web
from postroad.store import database
from postroad.web import __main__ as process
from postroad.web import server
from tests.unit.api import ALL, SETTINGS
from tests.unit.test_uplink_session import make_certificate

ASKED = f"GET /v1/stats HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {ALL}\r\n"


@pytest.fixture
def generation(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(database, "existing", lambda: engine)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told(tmp_path, replace(SETTINGS, port=port))
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def told(generation: Path, settings: web.Settings) -> None:
    (generation / web.FILE).write_text(handover.dumps(settings))


@asynccontextmanager
async def serving(generation: Path) -> AsyncIterator[process.Process]:
    running = process.Process(generation)
    task = asyncio.create_task(running.run())
    port = web.load(generation).port
    async with asyncio.timeout(20):
        while not task.done() and not await answers(port):
            await asyncio.sleep(0.01)
        assert not task.done(), task.exception()
    try:
        yield running
    finally:
        running.end()
        async with asyncio.timeout(20):
            await task


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def ask(port: int, context: ssl.SSLContext | None = None, request: str = ASKED) -> bytes:
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(f"{request}Connection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


def test_it_answers_and_ends_at_sigterm(generation: Path) -> None:
    async def scene() -> None:
        port = web.load(generation).port
        async with serving(generation):
            answer = await ask(port)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"server:" not in answer.lower()
            os.kill(os.getpid(), signal.SIGTERM)

    asyncio.run(scene())


def test_a_reload_brings_new_keys_and_closes_no_port(generation: Path) -> None:
    async def scene() -> None:
        settings = web.load(generation)
        async with serving(generation):
            reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
            writer.write(f"{ASKED}\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            told(generation, replace(settings, keys=()))
            os.kill(os.getpid(), signal.SIGHUP)
            # from here on whoever comes waits in the backlog and is never refused
            async with asyncio.timeout(20):
                while not (await ask(settings.port)).startswith(b"HTTP/1.1 401"):
                    pass
            writer.close()

    asyncio.run(scene())


def test_who_comes_as_the_server_ends_is_answered(generation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        told_to_end = asyncio.Event()
        usual = server.PatientProtocol.shutdown

        def shutdown(self: server.PatientProtocol) -> None:
            usual(self)
            told_to_end.set()

        monkeypatch.setattr(server.PatientProtocol, "shutdown", shutdown)
        async with serving(generation):
            reader, writer = await asyncio.open_connection("127.0.0.1", web.load(generation).port)
            await ask(web.load(generation).port)  # by now the one before has been accepted, too
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                await told_to_end.wait()
            writer.write(f"{ASKED}\r\n".encode())
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scene())


def test_a_reload_may_move_the_port(generation: Path) -> None:
    async def scene() -> None:
        settings = web.load(generation)
        with socket.create_server(("127.0.0.1", 0)) as free:
            other = free.getsockname()[1]
        async with serving(generation):
            told(generation, replace(settings, port=other))
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(20):
                while not await answers(other):
                    await asyncio.sleep(0.01)
            assert (await ask(other)).startswith(b"HTTP/1.1 200")
            assert not await answers(settings.port)

    asyncio.run(scene())


def test_tls_has_the_relay_s_certificate_and_plain_http_is_no_answer(generation: Path) -> None:
    folder = generation / "tls"
    folder.mkdir()
    made = make_certificate(folder / "made.pem", "DNS:localhost")
    (folder / "certificate.pem").write_bytes(made.read_bytes())
    (folder / "key.pem").write_bytes(Path(f"{made}.key").read_bytes())
    told(generation, replace(web.load(generation), tls=True))

    async def scene() -> None:
        port = web.load(generation).port
        async with serving(generation):
            answer = await ask(port, ssl.create_default_context(cafile=str(made)))
            assert answer.startswith(b"HTTP/1.1 200")
            with suppress(ConnectionResetError):
                assert b"HTTP" not in await ask(port)

    asyncio.run(scene())


SLOW = ["", "GET /v1/stats HTTP/1.1\r\nHost: a", "POST /v1/stats HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"]


@pytest.mark.parametrize("begun", SLOW)
def test_a_client_that_sends_no_whole_request_is_let_go_however_busy(
    generation: Path, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.3)

    async def scene() -> None:
        async with serving(generation):
            reader, writer = await asyncio.open_connection("127.0.0.1", web.load(generation).port)
            writer.write(begun.encode())

            async def drip() -> None:
                while not writer.is_closing():
                    writer.write(b"x")
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drip())
            async with asyncio.timeout(20):
                with suppress(ConnectionResetError):
                    while await reader.read(1000):
                        pass
            dripping.cancel()
            writer.close()

    asyncio.run(scene())


def test_a_connection_is_kept_between_requests(generation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)

    async def scene() -> None:
        async with serving(generation):
            reader, writer = await asyncio.open_connection("127.0.0.1", web.load(generation).port)
            for _ in range(2):
                writer.write(f"{ASKED}\r\n".encode())
                async with asyncio.timeout(20):
                    head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                length = next(
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                # longer than a request may take to come: no event would tell that nothing happened
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.6):
                        assert await reader.read(1) == b"never"
            writer.close()

    asyncio.run(scene())


def test_who_has_waited_longest_makes_room(generation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST", 3)

    async def scene() -> None:
        port = web.load(generation).port
        async with serving(generation):
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            assert (await ask(port)).startswith(b"HTTP/1.1 200")
            async with asyncio.timeout(20):
                assert await idle[0][0].read() == b""
            for _, writer in idle:
                writer.close()

    asyncio.run(scene())


def test_no_answer_waits_for_a_delayed_ack(generation: Path) -> None:
    with server.listen(web.load(generation)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client


def test_headers_are_bounded(generation: Path) -> None:
    async def scene() -> None:
        async with serving(generation):
            request = ASKED + f"X-Long: {'x' * 2**20}\r\n"
            with suppress(ConnectionResetError):  # before the answer was read
                assert (await ask(web.load(generation).port, request=request)).startswith(b"HTTP/1.1 400")

    asyncio.run(scene())


def test_a_port_that_is_taken_is_said(generation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text, *__: said.append(text))
    monkeypatch.setattr(process, "CURRENT", generation)
    monkeypatch.setattr(os, "umask", lambda _: None)
    monkeypatch.setattr(system, "offer_to_oom_killer", lambda: None)
    with socket.create_server(("127.0.0.1", web.load(generation).port)):
        assert process.main() == 1
    assert said == ["web.listen: it can't be served: Address already in use"]
