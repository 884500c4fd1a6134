"""The uplink's sessions against servers that follow a script, over real sockets and real TLS."""

import asyncio
import base64
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from postroad.runtime.uplink import Server
from postroad.uplink import opening, session
from postroad.uplink.accounts import Account
from postroad.uplink.opening import Opened, accesses, contexts
from postroad.uplink.session import Session, Way

EHLO = "250-localhost\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250-DSN\r\n250-STARTTLS\r\n250-AUTH=PLAIN\r\n250 AUTH PLAIN LOGIN"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem", "DNS:localhost")


def make_certificate(path: Path, name: str) -> Path:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", f"subjectAltName={name}"]
    subprocess.run([*make, *subject, "-keyout", f"{path}.key", "-out", path], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.key").read_bytes())
    return path


class Peer:
    """A server's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.reader, self.writer, self.context = reader, writer, context
        self.heard: list[str] = []

    async def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def hear(self) -> str:
        self.heard.append((await self.reader.readline()).decode("latin-1").rstrip())
        return self.heard[-1]

    async def answer(self, text: str) -> str:
        heard = await self.hear()
        await self.say(text)
        return heard

    async def starttls(self) -> None:
        await self.answer("220 go ahead")
        await self.writer.start_tls(self.context)


Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    script: Script, certificate: Path, *, implicit: bool = False
) -> AsyncIterator[tuple[int, list[Peer]]]:
    peers: list[Peer] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _note(tasks)
        peer = Peer(reader, writer, context)
        peers.append(peer)
        try:
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await script(peer)
            writer.close()
            async with asyncio.timeout(5):
                await writer.wait_closed()
        except (OSError, TimeoutError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if implicit else None)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        await _end(server, tasks)


def _note(tasks: "list[asyncio.Task[None]]") -> None:
    task = asyncio.current_task()
    assert task
    tasks.append(task)


async def _end(server: asyncio.Server, tasks: "list[asyncio.Task[None]]") -> None:
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # transports that were aborted close in the next turn


def a_server(port: int, **changed: str) -> Server:
    fields: dict[str, Any] = {
        "tls": "verify",
        "username": "app",
        "password": "secret",
        "certificate": "",
        "host": "localhost",
    }
    return Server(id="0a1b2c", key="delivery.smarthost", port=port, **fields | changed)


class Client:
    """sendmail's end of a session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.log: list[str] = []
        self.opened: list[Opened] = []

    async def ask(self, text: str = "") -> str:
        if text:
            self.writer.write(text.encode() + b"\r\n")
        lines: list[str] = []
        async with asyncio.timeout(10):
            while not lines or lines[-1][3:4] == "-":
                lines.append((await self.reader.readline()).decode().rstrip("\r\n"))
        return "\n".join(lines)


@contextlib.asynccontextmanager
async def a_session(way: Way) -> AsyncIterator[Client]:
    """A session of sendmail's with a server, by way of the uplink."""
    tasks: list[asyncio.Task[None]] = []
    clients: list[Client] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _note(tasks)
        try:
            await Session(
                "relay.example",
                reader,
                writer,
                lambda level, text: clients[0].log.append(f"{level} {text}"),
                lambda _, opened: clients[0].opened.append(opened),
            ).serve(way)
            writer.close()
        except BaseException:
            writer.transport.abort()
            raise

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        made = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        clients.append(Client(*made))
        yield clients[0]
        made[1].transport.abort()
    finally:
        await _end(server, tasks)


def run(
    script: Script,
    certificate: Path,
    talk: Callable[[Client, list[Peer]], Awaitable[None]],
    *,
    implicit: bool = False,
    account: Account | None = None,
    changed: Mapping[str, str] | None = None,
) -> None:
    async def all_of_it() -> None:
        async with serving(script, certificate, implicit=implicit) as (port, peers):
            server = a_server(port, **(changed or {}))
            way = Way(server, accesses(str(certificate))(server, ""), account or Account())
            async with a_session(way) as client:
                await talk(client, peers)

    asyncio.run(all_of_it())


async def good(peer: Peer, auth: str = "235 2.7.0 welcome") -> None:
    await peer.say("220-localhost ESMTP\r\n220 at your service")
    await peer.answer(EHLO)
    await peer.starttls()
    await peer.answer(EHLO)
    await peer.answer(auth)


def refusal(script: Script, certificate: Path, **changed: str) -> str:
    said: list[str] = []

    async def talk(client: Client, _: list[Peer]) -> None:
        said.append(await client.ask())
        assert await client.reader.read() == b""

    run(script, certificate, talk, changed=changed)
    return said[0]


def test_sendmail_sees_the_server_without_what_the_uplink_has_done(certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await good(peer)
        await peer.answer("250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 go on")
        while await peer.hear() != ".":
            pass
        await peer.say("250-2.0.0 taken\r\n250 2.0.0 as 42")
        await peer.answer("221 bye")

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == "220 localhost ESMTP"
        assert await client.ask("EHLO inner") == "250-localhost\n250-SIZE 1000\n250-PIPELINING\n250 DSN"
        assert await client.ask("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA") == "250 2.1.0 sender ok"
        assert await client.ask() == "250 2.1.5 recipient ok"
        assert await client.ask() == "354 go on"
        client.writer.write(b"Subject: \xff\x00x\r\n\r\n")
        assert await client.ask("..text\r\n.") == "250-2.0.0 taken\n250 2.0.0 as 42"
        assert await client.ask("QUIT") == "221 bye"
        assert await client.reader.read() == b""
        heard = peers[0].heard
        assert heard[:3] == ["EHLO relay.example", "STARTTLS", "EHLO relay.example"]
        assert base64.b64decode(heard[3].removeprefix("AUTH PLAIN ")) == b"\0app\0secret"
        assert heard[4] == "MAIL FROM:<a@b>"
        assert "..text" in heard
        assert client.opened[0].tls
        assert client.opened[0].tls[0] == "TLSv1.3"
        assert not client.log

    run(script, certificate, talk)


def test_tls_from_the_first_octet(certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 localhost ESMTP")
        await peer.answer(EHLO)
        await peer.answer("235 ok")
        await peer.hear()

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == "220 localhost ESMTP"
        assert [line.partition(" ")[0] for line in peers[0].heard] == ["EHLO", "AUTH"]

    run(script, certificate, talk, implicit=True, changed={"tls": "implicit"})


def test_without_tls(certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 localhost")
        await peer.answer("502 what?")
        await peer.answer("250 localhost")
        await peer.answer("250 ok")

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == "220 localhost"
        assert await client.ask("EHLO inner") == "250 localhost"
        assert await client.ask("MAIL FROM:<>") == "250 ok"
        assert peers[0].heard == ["EHLO relay.example", "HELO relay.example", "MAIL FROM:<>"]
        assert client.opened[0].tls is None

    run(script, certificate, talk, changed={"tls": "none", "username": ""})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("535 5.7.8 bad password", "421 4.7.0 localhost refuses the credentials of app: 535 5.7.8 bad password"),
        ("454 4.7.0 not now", "421 4.4.0 localhost does not take AUTH now: 454 4.7.0 not now"),
        ("421 4.3.2 closing", "421 4.4.0 localhost does not take AUTH now: 421 4.3.2 closing"),
        ("334 ???", "421 4.7.0 localhost breaks the rules of AUTH: a challenge is not base64"),
        ("hello", "421 4.4.0 localhost does not speak SMTP: no SMTP reply: hello"),
    ],
)
def test_a_server_that_does_not_take_us_makes_mail_wait(answer: str, reason: str, certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await good(peer, answer)
        while await peer.hear():
            await peer.say(answer)

    assert refusal(script, certificate) == reason


def test_another_mechanism_is_tried_where_the_first_can_not_work(certificate: Path) -> None:
    async def script(peer: Peer, offer: str, *answers: str) -> None:
        await peer.say("220 localhost")
        await peer.answer(EHLO)
        await peer.starttls()
        await peer.answer(f"250-localhost\r\n250 AUTH {offer}")
        for answer in answers:
            await peer.answer(answer)
        await peer.hear()

    def auths(offer: str, *answers: str) -> list[str]:
        heard: list[str] = []

        async def talk(client: Client, peers: list[Peer]) -> None:
            heard.append(await client.ask())
            heard.extend(line.split()[1] for line in peers[0].heard if line.startswith("AUTH"))

        run(lambda peer: script(peer, offer, *answers), certificate, talk)
        return heard

    challenge = "334 " + base64.b64encode(b"<1@x>").decode()
    assert auths("CRAM-MD5 PLAIN", challenge, "535 no", "235 ok") == ["220 localhost", "CRAM-MD5", "PLAIN"]
    assert auths("PLAIN LOGIN", "504 no", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok") == [
        "220 localhost",
        "PLAIN",
        "LOGIN",
    ]
    assert auths("PLAIN LOGIN", "535 no")[1:] == ["PLAIN"]
    # the first refusal is what is told, whatever the second one is
    assert auths("CRAM-MD5 PLAIN", challenge, "535 no") == [
        "421 4.7.0 localhost refuses the credentials of app: 535 no",
        "CRAM-MD5",
        "PLAIN",
    ]
    assert auths("GSSAPI")[0].startswith(
        "421 4.7.0 localhost takes no credentials of ours: it offers GSSAPI, and none of"
    )


def test_a_server_that_ends_makes_mail_wait(certificate: Path) -> None:
    async def at_once(peer: Peer) -> None:
        del peer

    async def busy(peer: Peer) -> None:
        await peer.say("554-5.7.1 not you\r\n554 go away")

    async def after_ehlo(peer: Peer) -> None:
        await peer.say("220 localhost")
        await peer.hear()

    assert "broke off the greeting" in refusal(at_once, certificate)
    assert "localhost does not greet: 554 5.7.1 not you go away" in refusal(busy, certificate)
    assert "broke off EHLO" in refusal(after_ehlo, certificate)


def test_a_port_where_nobody_is(certificate: Path) -> None:
    async def all_of_it() -> None:
        server = a_server(1)
        way = Way(server, accesses(str(certificate))(server, ""), Account())
        async with a_session(way) as client:
            said = await client.ask()
            assert said.startswith("421 4.4.1 localhost can't be reached on port 1: ")
            assert "refused" in said

    asyncio.run(all_of_it())


def test_a_server_that_drips_does_not_hold_the_mail(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "WITHIN", 0.5)

    async def script(peer: Peer) -> None:
        while True:
            await peer.say("220-localhost wait")
            await asyncio.sleep(0.05)

    assert "did not get through the greeting within 0.5 s" in refusal(script, certificate)


def test_what_comes_before_tls_does_not_count_after_it(certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 localhost")
        await peer.answer(EHLO)
        await peer.answer("220 go ahead\r\n250-localhost\r\n250 AUTH PLAIN")
        await peer.hear()

    assert "says more than it was asked" in refusal(script, certificate)


@pytest.fixture(scope="module")
def other_name(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("other") / "server.pem", "DNS:other.example")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_for_another_name_is_told_apart(other_name: Path, host: str) -> None:
    said = refusal(good, other_name, host=host)
    assert "fails at TLS: its certificate is for another name: " in said


def test_credentials_need_a_certificate_for_the_name(certificate: Path) -> None:
    heard: list[list[str]] = []

    async def script(peer: Peer) -> None:
        heard.append(peer.heard)
        await good(peer)

    async def talk(client: Client, _: list[Peer]) -> None:
        assert "fails at TLS: its certificate is expired or not signed" in await client.ask()

    async def all_of_it() -> None:
        async with serving(script, certificate) as (port, _):
            server = a_server(port)
            async with a_session(Way(server, accesses("")(server, ""), Account())) as client:
                await talk(client, [])

    asyncio.run(all_of_it())
    assert heard == [["EHLO relay.example", "STARTTLS"]]


@pytest.mark.parametrize("tls", ["implicit", "verify", "require"])
def test_tls_is_1_2_at_least_and_only_require_takes_any_certificate(tls: str) -> None:
    context = contexts("")(a_server(587, tls=tls), "")
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname == (tls != "require")
    assert (context.verify_mode is ssl.CERT_REQUIRED) == (tls != "require")


def test_a_wrong_password_is_not_tried_again_at_once(certificate: Path) -> None:
    account = Account()

    async def script(peer: Peer) -> None:
        await good(peer, "535 5.7.8 no")

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert (await client.ask()).endswith("535 5.7.8 no")
        assert client.log == [
            "err smarthost localhost refuses the credentials of app: 535 5.7.8 no; its mail waits: see delivery.smarthost"
        ]
        assert len(peers) == 1

    async def again(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == "421 4.7.0 localhost refuses the credentials of app: 535 5.7.8 no"
        assert not client.log
        assert not peers

    run(script, certificate, talk, account=account)
    run(script, certificate, again, account=account)
    account.until = 0

    async def right(peer: Peer) -> None:
        await good(peer)
        await peer.hear()

    async def works(client: Client, _: list[Peer]) -> None:
        assert await client.ask() == "220 localhost ESMTP"
        assert client.log == ["notice smarthost localhost takes mail of delivery.smarthost again"]

    run(right, certificate, works, account=account)


def test_a_quota_that_auth_speaks_of_pauses_the_account(certificate: Path) -> None:
    """SendGrid's answer to AUTH."""
    account = Account()
    why = "has no more quota for this account: 451 Authentication failed: Maximum credits exceeded"

    async def script(peer: Peer) -> None:
        await good(peer, "451 Authentication failed: Maximum credits exceeded")

    async def talk(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == f"421 4.7.0 localhost {why}"
        assert client.log == [f"err smarthost localhost {why}; its mail waits: see delivery.smarthost"]

    async def again(client: Client, peers: list[Peer]) -> None:
        assert await client.ask() == f"421 4.7.0 localhost {why}"
        assert not peers

    run(script, certificate, talk, account=account)
    assert account.until > time.monotonic() + 600
    run(script, certificate, again, account=account)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "530 5.7.0 Authentication required",
            "454 4.7.0 localhost refuses the credentials: 530 5.7.0 Authentication required",
        ),
        (
            "550-5.4.5 Daily user sending limit exceeded.\r\n550 5.4.5 more",
            "452 4.7.0 localhost has no more quota for this account: 550 5.4.5 Daily user sending limit exceeded. 5.4.5 more",
        ),
        ("550 5.1.1 no such user", "550 5.1.1 no such user"),
        ("550-5.7.1 spam\r\n550 5.7.1 go away", "550-5.7.1 spam\n550 5.7.1 go away"),
    ],
)
def test_a_reply_that_speaks_of_the_account_makes_mail_wait(said: str, told: str, certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await good(peer)
        await peer.answer(said)
        await peer.hear()

    async def talk(client: Client, _: list[Peer]) -> None:
        await client.ask()
        await client.ask("EHLO inner")
        assert await client.ask("MAIL FROM:<a@b>") == told
        assert bool(client.log) == (told != said.replace("\r\n", "\n"))

    run(script, certificate, talk)


def test_octets_pass_both_ways_and_a_server_that_breaks_off_ends_the_session(certificate: Path) -> None:
    async def script(peer: Peer) -> None:
        await good(peer)
        size = 0
        while size < 3_000_000:
            size += len(await peer.reader.read(1 << 16))
        await peer.say(f"250 {size} octets")

    async def talk(client: Client, _: list[Peer]) -> None:
        await client.ask()
        await client.ask("EHLO inner")
        client.writer.write(b"x" * 3_000_000)
        assert await client.ask() == "250 3000000 octets"
        assert await client.ask() == "421 4.4.2 localhost broke off the session"

    run(script, certificate, talk)


def test_a_server_that_goes_is_told_of_at_the_next_command(certificate: Path) -> None:
    async def resets(peer: Peer) -> None:
        await good(peer)

    async def ends(peer: Peer) -> None:
        await good(peer)
        await peer.say("421 4.4.2 idle for too long")

    async def talk(client: Client, last: str) -> None:
        await client.ask()
        await client.ask("EHLO inner")
        assert await client.ask() == last
        client.writer.write(b"MAIL FROM:<>\r\nQUIT\r\n")  # nothing breaks
        await client.writer.drain()
        async with asyncio.timeout(10):
            assert await client.reader.read() == b""  # nor is an answer waited for that never comes

    run(resets, certificate, lambda client, _: talk(client, "421 4.4.2 localhost broke off the session"))
    run(ends, certificate, lambda client, _: talk(client, "421 4.4.2 idle for too long"))


def test_few_guesses_are_made_before_the_first_is_known_to_be_wrong(certificate: Path) -> None:
    guesses: list[Peer] = []

    async def script(peer: Peer) -> None:
        await peer.say("220 localhost")
        await peer.answer(EHLO)
        await peer.starttls()
        await peer.answer(EHLO)
        if await peer.hear():
            guesses.append(peer)
        await asyncio.sleep(0.2)  # a server that is slow: the others could guess meanwhile
        await peer.say("535 5.7.8 no")

    async def all_of_it() -> list[str]:
        async with serving(script, certificate) as (port, _):
            server = a_server(port)
            way = Way.make(server, accesses(str(certificate))(server, ""))

            async def one() -> str:
                async with a_session(way) as client:
                    return await client.ask()

            return await asyncio.gather(*(one() for _ in range(30)))

    said = asyncio.run(all_of_it())
    assert set(said) == {"421 4.7.0 localhost refuses the credentials of app: 535 5.7.8 no"}
    assert len(guesses) <= 2 * opening.LOGINS


def test_silence_ends_the_session(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SILENT", 0.2)

    async def script(peer: Peer) -> None:
        await good(peer)
        assert await peer.reader.read() == b""

    async def talk(client: Client, _: list[Peer]) -> None:
        await client.ask()
        await client.ask("EHLO inner")
        assert await client.reader.read() == b""

    run(script, certificate, talk)
