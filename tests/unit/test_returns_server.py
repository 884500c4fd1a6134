"""The listener, as a client sees it: what it takes, what it refuses, and that it holds out."""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from postroad import system
from postroad.errors import InstallError
from postroad.returns import gate as gates
from postroad.returns import server, spool, telling
from postroad.returns.gate import Gate
from postroad.returns.reader import Reader
from postroad.returns.server import Connection, Handler
from postroad.returns.spool import Spool
from postroad.runtime import return_address
from tests.unit.test_returns_reading import DSN, report
from tests.unit.whole import Whole

KEY, DOMAIN, QUEUE_ID = b"k" * 32, "bounces.x.example", "6AQ7sdUD000094"


def now() -> int:
    return return_address.day_of(time.time())


def address(queue_id: str = QUEUE_ID) -> str:
    return f"{return_address.local_part(KEY, DOMAIN, queue_id, now())}@{DOMAIN}"


@dataclass
class Running:
    """A listener in a thread."""

    port: int
    spool: Spool
    gate: Gate
    folder: Path
    loop: asyncio.AbstractEventLoop
    said: list[str] = field(default_factory=list)

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)

    def waiting(self) -> list[Path]:
        return sorted((self.folder / "spool").iterdir())


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    system.capture(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail.x.example", "-days", "2",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def running(tmp_path: Path, tls: ssl.SSLContext) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    gate = Gate(DOMAIN, KEY, time.time)
    kept = Spool(tmp_path)
    found = Running(0, kept, gate, tmp_path, loop)
    handler = Handler(gate, kept, lambda: None, lambda level, line: found.said.append(f"{level} {line}"))

    async def begin() -> asyncio.Server:
        return await loop.create_server(lambda: Connection(handler, "mail.x.example", tls), "127.0.0.1", 0)

    listening = loop.run_until_complete(begin())
    found.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield found

    async def end() -> None:
        listening.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
    thread.join(10)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_bounce_is_taken_and_kept(running: Running) -> None:
    with running.client() as client:
        client.sendmail("", [address().upper()], report("delivery-status", "delivery-status", DSN))
    found = running.spool.oldest()
    assert found is not None
    assert (found.sender, found.peer) == ("", "127.0.0.1")
    assert [running.gate.queue_id(each) for each in found.recipients] == [QUEUE_ID]
    assert b"Action: failed" in found.content


@pytest.mark.parametrize(
    "to", [f"abuse@{DOMAIN}", f"Postmaster@{DOMAIN.upper()}", "postmaster", f"dmarc@{DOMAIN}", f"tlsrpt@{DOMAIN}"]
)
def test_the_roles_are_there(running: Running, to: str) -> None:
    with running.client() as client:
        client.ehlo()
        assert client.mail("a@b.example")[0] == 250
        assert client.rcpt(to)[0] == 250


@pytest.mark.parametrize(
    ("to", "code"),
    [
        (f"info@{DOMAIN}", 550),
        (f"abuse+x@{DOMAIN}", 550),
        ("abuse@x.example", 550),
        ("someone@elsewhere.example", 550),
        (f"{return_address.local_part(b'x' * 32, DOMAIN, QUEUE_ID, now())}@{DOMAIN}", 550),
        (f"{return_address.local_part(KEY, DOMAIN, QUEUE_ID, now() - 60)}@{DOMAIN}", 550),
        (f"{return_address.local_part(KEY, DOMAIN, QUEUE_ID, now())}@x.example", 550),
        (f"{return_address.local_part(KEY, DOMAIN, QUEUE_ID, now())}%elsewhere.example@{DOMAIN}", 550),
        (f"@elsewhere.example:abuse@{DOMAIN}@x.example", 550),
    ],
)  # fmt: skip
def test_any_other_address_is_refused_at_rcpt(running: Running, to: str, code: int) -> None:
    with running.client() as client:
        client.ehlo()
        client.mail("a@b.example")
        found = client.rcpt(to)[0]
        assert found in {code, 501, 553}
        assert client.docmd("DATA")[0] == 503
    assert running.waiting() == []


def test_a_session_to_the_last_word(running: Running, whole: Whole) -> None:
    with running.client() as client:
        for command in (
            "MAIL FROM:<a@b.example>", "EHLO client.example", "NOOP", "VRFY root", "HELP", "EXPN x", "~\x7f\xe9", "RCPT TO:<x>",
            "DATA", "MAIL FROM:<~a@b.example> SIZE=1", f"RCPT TO:<abuse@{DOMAIN}> NOTIFY=NEVER", f"RCPT TO:<name@{DOMAIN}>",
            "RCPT TO:<abuse@elsewhere.example>", *[f"RCPT TO:<abuse@{DOMAIN}>"] * (server.MOST_RECIPIENTS + 1), "RSET", "DATA",
        ):  # fmt: skip
            client.sock.sendall(command.encode("latin-1") + b"\r\n")  # type: ignore[union-attr]
            code, text = client.getreply()
            whole.add(f"{command!r}: {code} {text.decode()}")
        assert client.sendmail("Ann@b.example", [f"Abuse@{DOMAIN}"], "Subject: x\r\n\r\nx\r\n") == {}
    found = running.spool.oldest()
    assert found is not None
    assert (found.sender, found.recipients) == ("Ann@b.example", (f"Abuse@{DOMAIN}",))


def test_commands_have_a_bound(running: Running) -> None:
    with running.client() as client:
        client.ehlo()
        codes = [client.docmd("NOOP")[0] for _ in range(server.MOST_COMMANDS + 1)]
    assert codes == [250] * server.MOST_COMMANDS + [421]


def test_whoever_tries_names_is_turned_away(running: Running) -> None:
    with running.client() as client:
        client.ehlo()
        client.mail("a@b.example")
        codes = [client.rcpt(f"name{i}@{DOMAIN}")[0] for i in range(server.MOST_REFUSED)]
        assert codes == [550] * (server.MOST_REFUSED - 1) + [421]
        until = time.monotonic() + 10
        with contextlib.suppress(smtplib.SMTPServerDisconnected):
            while time.monotonic() < until:
                client.noop()
            pytest.fail("the connection stays open")


def test_tls_is_offered_and_what_was_said_before_counts_no_more(running: Running) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with running.client() as client:
        client.starttls(context=context)
        client.sendmail("", [address()], b"Subject: x\r\n\r\nx\r\n")
    assert len(running.waiting()) == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"X\r\n" * 100_000, id="unknown commands"),
        pytest.param(b"NOOP\r\n" * 100_000, id="too many commands"),
        pytest.param(
            b"EHLO x\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<x@y.example>\r\n" * 9
            + b"RCPT TO:<abuse@bounces.x.example>\r\nDATA\r\n" + b"\r\n" * 600_000,
            id="a message after the connection's end",
        ),
    ],
)  # fmt: skip
def test_a_client_that_is_turned_away_within_tls_and_goes_on_is_no_fault(running: Running, said: bytes) -> None:
    """asyncio's TLS fails where a closed transport is closed again and then read from."""
    faults: list[Any] = []

    async def watch() -> None:
        running.loop.set_exception_handler(lambda _, context: faults.append(context))

    asyncio.run_coroutine_threadsafe(watch(), running.loop).result(10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with running.client() as client, contextlib.suppress(OSError):
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock.sendall(said)
        while client.sock.recv(65536):
            pass
    with running.client() as client:
        assert client.noop()[0] == 250
    assert (running.said, faults) == ([], [])


@pytest.mark.parametrize("more", [b"NOOP\r\n", b"x" * 100_000])
def test_what_follows_starttls_in_plain_text_ends_the_session(running: Running, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client, client.makefile("rb") as answers:
        assert answers.readline().startswith(b"220")
        client.sendall(b"STARTTLS\r\n" + more)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert answers.read() == b"554 5.5.1 nothing may follow STARTTLS but TLS\r\n"
    assert running.said == []


def test_a_message_that_is_too_large_is_refused(running: Running) -> None:
    with running.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(telling.LARGEST_MESSAGE)
        client.mail("")
        client.rcpt(address())
        assert client.data(b"x" * 900 + b"\r\n" + (b"y" * 900 + b"\r\n") * (telling.LARGEST_MESSAGE // 900))[0] == 552
    assert running.waiting() == []


@pytest.mark.parametrize(
    ("piece", "times", "code"),
    [(b"x" * 65_536, 200, "500"), (b"\r\n" * 32_768, 8, "250")],
    ids=["a line without end", "empty lines"],
)
def test_what_is_held_of_a_message_is_what_it_has(running: Running, piece: bytes, times: int, code: str) -> None:
    """What asyncio holds besides is a few chunks of 256 KiB."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client, client.makefile("rb") as heard:
        for line in (b"EHLO x", b"MAIL FROM:<>", f"RCPT TO:<{address()}>".encode(), b"DATA"):
            client.sendall(line + b"\r\n")
        while not heard.readline().startswith(b"354"):
            pass
        tracemalloc.start()
        try:
            for _ in range(times):
                client.sendall(piece)
            client.sendall(b"\r\n.\r\n")
            answer = heard.readline().decode()
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert answer.startswith(code), answer
    assert held < 4 * 2**20


def test_an_answer_repeats_no_control_characters(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client, client.makefile("rb") as heard:
        heard.readline()
        client.sendall(b"\x1b[31mX\0Y\r\n")
        assert heard.readline() == b'500 Error: command "?[31MX?Y" not recognized\r\n'


def test_connections_have_a_bound_and_it_is_given_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MOST_SESSIONS_EACH", 2)
    first, second = running.client(), running.client()
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        running.client()
    assert refused.value.smtp_code == 421
    first.quit()
    second.close()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            running.client().quit()
            break
        except smtplib.SMTPConnectError:
            continue
    else:
        pytest.fail("the places of clients that have gone are not free again")


def test_messages_have_a_bound(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MOST_MESSAGES_EACH", 2)
    monkeypatch.setattr(running.gate, "_clock", lambda: 1_795_000_000.0)
    to = f"abuse@{DOMAIN}"
    with running.client() as client:
        for _ in range(2):
            client.sendmail("a@b.example", [to], b"Subject: x\r\n\r\nx\r\n")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("a@b.example", [to], b"Subject: x\r\n\r\nx\r\n")
    assert refused.value.smtp_code == 451


def test_a_full_spool_says_so(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MOST_FILES", 1)
    with running.client() as client:
        client.sendmail("", [address()], b"Subject: x\r\n\r\nx\r\n")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("", [address()], b"Subject: x\r\n\r\nx\r\n")
    assert refused.value.smtp_code == 452
    assert len(running.waiting()) == 1


def test_what_cannot_be_written_is_not_answered_250(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise InstallError("the disk is full")

    monkeypatch.setattr(system, "write", fail)
    with running.client() as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail("", [address()], b"Subject: x\r\n\r\nx\r\n")
    assert refused.value.smtp_code == 451
    assert "the disk is full" in running.said[0]


def test_a_client_that_pours_octets_is_answered_or_dropped(running: Running) -> None:
    for octets in (b"\xff" * 100_000, b"\0\r\n" * 3000, b"MAIL FROM:<" + b"a" * 70_000 + b">\r\n", b"EHLO x\r\n" * 500):
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
            raw.settimeout(10)
            try:
                raw.sendall(octets)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass
            except ConnectionError:
                pass
    with running.client() as client:
        assert client.noop()[0] == 250


def test_one_message_gets_so_many_bounces_and_no_more() -> None:
    seconds = [time.time()]
    gate = Gate(DOMAIN, KEY, lambda: seconds[0])
    answers = [gate.refusal(address()) for _ in range(gates.MOST_ABOUT + 1)]
    assert set(answers[:-1]) == {""}
    assert answers[-1].startswith("452")
    assert gate.refusal(address("6AQ7sdUD000095")) == ""
    seconds[0] += 3600
    assert gate.refusal(address()) == ""


def test_ipv6_clients_count_by_their_network() -> None:
    gate = Gate(DOMAIN, KEY, time.time)
    assert all(gate.enter(f"2001:db8::{i:x}") for i in range(gates.MOST_SESSIONS_EACH))
    assert not gate.enter("2001:db8::ffff")
    assert gate.enter("2001:db8:0:1::1")
    assert gate.enter("::ffff:192.0.2.1")
    gate.leave("2001:db8::1")
    assert gate.enter("2001:db8::ffff")


def test_all_clients_have_a_bound_together() -> None:
    gate = Gate(DOMAIN, KEY, time.time)
    assert all(gate.enter(f"192.0.2.{i}") for i in range(gates.MOST_SESSIONS))
    assert not gate.enter("198.51.100.1")


class TestReader:
    """From the spool to the log."""

    def test_each_message_is_told_once_and_goes(self, tmp_path: Path) -> None:
        kept, gate = Spool(tmp_path), Gate(DOMAIN, KEY, time.time)
        said: list[str] = []
        answers = iter([False, True])

        def tell(level: str, line: str) -> bool:
            said.append(line)
            return next(answers)

        kept.put("", [address()], "192.0.2.1", report("delivery-status", "delivery-status", DSN), time.time())
        reader = Reader(kept, gate, tell, pause=0)
        assert reader.read_one()
        assert not reader.read_one()
        assert len(said) == 2, "a line that the log did not take is told again"
        assert said[0] == said[1]
        assert said[0].startswith("bounced {")
        assert list((tmp_path / "spool").iterdir()) == list((tmp_path / "unread").iterdir()) == []

    def test_what_is_unreadable_is_kept_within_bounds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool, "MOST_UNREAD", 2)
        monkeypatch.setattr(spool, "LONGEST_UNREAD", 200)
        kept, gate = Spool(tmp_path), Gate(DOMAIN, KEY, time.time)
        for i in range(4):
            kept.put("", [address()], "192.0.2.1", f"Subject: {i}\n\n{'x' * 500}".encode(), 1000.0 + i)
        reader = Reader(kept, gate, lambda *_: True)
        while reader.read_one():
            pass
        found = sorted((tmp_path / "unread").iterdir())
        assert [b"Subject: 2" in found[0].read_bytes(), b"Subject: 3" in found[1].read_bytes()] == [True, True]
        assert {each.stat().st_size for each in found} == {200}
        assert kept.waits() == 0

    def test_what_ended_the_process_is_not_read_again(self, tmp_path: Path) -> None:
        kept = Spool(tmp_path)
        kept.put("", [address()], "192.0.2.1", b"Subject: poison\n\n", 1000.0)
        kept.put("", [address()], "192.0.2.1", b"Subject: next\n\n", 1001.0)
        assert kept.oldest() is not None  # and the process ends
        again = Spool(tmp_path)
        found = again.oldest()
        assert found is not None
        assert found.content == b"Subject: next\n\n"
        assert len(list((tmp_path / "unread").iterdir())) == 1

    def test_a_file_that_is_none_of_ours_holds_nobody_up(self, tmp_path: Path) -> None:
        kept = Spool(tmp_path)
        (tmp_path / "spool" / "0").write_bytes(b"\xff")
        kept.put("", [address()], "192.0.2.1", b"x", 1000.0)
        found = kept.oldest()
        assert found is not None
        assert found.content == b"x"
