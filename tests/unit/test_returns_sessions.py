"""Sessions made at random, with messages made at random in them: what gets in, what is told of it, and what never goes out.

The oracle is the test's own: it knows which addresses it has issued, counts what was answered 250, and watches what the
process connects to or starts. ``POSTROAD_CASES=100000`` (``make returns-inputs``) makes so many sessions, in parts like the
messages of ``test_returns_flood``.
"""

import asyncio
import contextlib
import random
import re
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from postroad.events import own
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.returns.reader import Reader
from postroad.returns.spool import Waiting
from postroad.returns.telling import LARGEST_MESSAGE
from postroad.runtime import return_address
from tests.unit.test_returns_flood import CASES, KINDS, LARGEST_PART, PARTS, SAMPLES, mutated, source_of
from tests.unit.test_returns_server import DOMAIN, KEY, Running, running, tls  # noqa: F401 - fixtures

pytestmark = [pytest.mark.seeded, pytest.mark.timeout(180 + LARGEST_PART // 2)]
BEGIN = 1_795_000_000.0
"""The gate's clock at the first session; it moves on by two seconds a session, so that limits are met now and then."""
DAY = int(BEGIN // 86_400)
IDS = tuple(f"6AQ7sdUD{number:06}" for number in range(200))
ISSUED = {return_address.local_part(KEY, DOMAIN, each, DAY): each for each in IDS}
ROLES = frozenset(("abuse", "postmaster", "dmarc", "tlsrpt"))
FORGED = (
    *(return_address.local_part(b"x" * 32, DOMAIN, each, DAY) for each in IDS[:5]),
    *(return_address.local_part(KEY, "x.example", each, DAY) for each in IDS[:5]),
    *(return_address.local_part(KEY, DOMAIN, each, DAY - 41) for each in IDS[:5]),
    *(return_address.local_part(KEY, DOMAIN, each, DAY + 9) for each in IDS[:5]),
)
REPLY = re.compile(rb"[2-5][0-9]{2}[ -][\t -~]*")
TAKEN = b"250 2.0.0 taken"
WAYS_OUT = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "subprocess.Popen", "os.system",
            "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "smtplib.connect", "smtplib.send")  # fmt: skip


def is_ours(path: str) -> bool:
    """Whether mail for a path may be taken: a route (RFC 5321, 4.1.2), spaces (RFC 5322, 4.4) and quotes change nothing."""
    mailbox = path.rpartition(":")[2] if path.startswith("@") else path
    local, at, domain = mailbox.rpartition("@")
    if not at:
        return mailbox.lower() == "postmaster"
    return domain.lower().rstrip(".") == DOMAIN and local.strip().strip('"').lower() in {*ISSUED, *ROLES}


class WaysOut:
    """Notes each attempt of this process to connect to anything, or to start a program."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0
        """The listener's own, to which the test connects; 0: nothing is noted."""
        sys.addaudithook(self._note)  # it stays for as long as the process lives

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.port or event not in WAYS_OUT:
            return
        own_client = ("127.0.0.1", self.port)
        if own_client in {args[:2], args[1] if event == "socket.connect" else None}:
            return
        self.seen.append(f"{event} {args!r}")


@pytest.fixture(scope="module")
def hook() -> WaysOut:
    return WaysOut()


@pytest.fixture
def ways_out(hook: WaysOut, running: Running) -> Iterator[WaysOut]:  # noqa: F811
    hook.seen, hook.port = [], running.port
    yield hook
    hook.port = 0


def test_the_watch_sees_what_goes_out(ways_out: WaysOut) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"", ("127.0.0.1", 9))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 1), timeout=5):
        pass
    assert [each.split()[0] for each in ways_out.seen] == ["socket.sendto", "socket.getaddrinfo", "socket.connect"]


def recipient(source: random.Random) -> str:
    """A path, more often than not one that is none of ours."""
    local = source.choice((*source.sample(sorted(ISSUED), 3), *source.sample(FORGED, 2), *ROLES, "info", "victim", ""))
    domain = source.choice(
        (DOMAIN, DOMAIN, DOMAIN, f"{DOMAIN}.", DOMAIN.upper(), "x.example", "elsewhere.example", "[127.0.0.1]")
    )
    match source.randrange(16):
        case 0:
            at = source.randrange(len(local) + 1)
            local = local[:at] + source.choice('a2=+%!@ ."\\\xe9\0') + local[at + source.randrange(2) :]
        case 1:
            local = f"{local}%elsewhere.example"
        case 2:
            local = f'"{local}"'
        case 3:
            return f"@{domain},@b.example:{local}@{source.choice((DOMAIN, 'elsewhere.example'))}"
        case 4:
            return f"{local}@{domain}@elsewhere.example"
        case 5:
            return f"elsewhere.example!{local}@{domain}"
        case 6:
            return source.choice((local, "postmaster", "POSTMASTER", "", "@", f"@{DOMAIN}", "a" * 3000))
        case 7:
            local = "".join(source.choice((c.upper(), c.lower())) for c in local)
    return f"{local}@{domain}"


def letter(source: random.Random) -> bytes:
    """A message, as DATA has it before dots are doubled."""
    content = mutated(source) if source.random() < 0.6 else source.choice(SAMPLES)
    if source.random() < 0.3:
        content = content.replace(b"bxyz@bounces.x.example", f"{source.choice(sorted(ISSUED))}@{DOMAIN}".encode())
    if source.random() < 0.2:  # lines that begin with dots
        content = content.replace(b"\n", source.choice((b"\n.", b"\n..", b"\n.\n")), source.randrange(1, 4))
    if source.random() < 1 / 5000:
        content += b"x" * 900 + (b"\r\n" + b"y" * 900) * (LARGEST_MESSAGE // 900)
    return content if source.random() < 0.2 else re.sub(rb"\r?\n|\r", b"\r\n", content)


@dataclass
class Session:
    """What a client has said and heard."""

    client: socket.socket
    heard: bytearray = field(default_factory=bytearray)
    sent: list[bytes] = field(default_factory=list)
    """The messages that were answered 250, where dots were doubled as they should be."""
    taken: list[str] = field(default_factory=list)
    """Paths that RCPT answered 250."""

    def say(self, octets: bytes) -> int:
        """Send a line and return the code of its answer; 0: the connection has ended."""
        self.client.sendall(octets + b"\r\n")
        return self.hear()

    def hear(self) -> int:
        begin = len(self.heard)
        while not re.search(rb"(?:\A|\n)[0-9]{3}(?: [^\n]*)?\n\Z", self.heard[begin:]):
            if not (more := self.client.recv(65536)):
                return 0
            self.heard += more
        return int(
            self.heard[self.heard.rindex(b"\n", 0, -1) + 1 :][:3] if self.heard.count(b"\n") > 1 else self.heard[:3]
        )

    def end(self) -> None:
        """Send no more, and hear all that still comes."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(
                self.client, socket.SHUT_WR
            )  # that of ssl.SSLSocket would read what comes undecrypted
            while more := self.client.recv(65536):
                self.heard += more


def step_by_step(source: random.Random, session: Session) -> None:
    """A client that waits for each answer, and mostly says what may be said."""
    if not session.heard:
        session.hear()
    session.say(source.choice((b"EHLO x", b"HELO [1.2.3.4]", b"EHLO \xff", b"NOOP")))
    for _ in range(source.randrange(1, 3)):
        session.say(
            source.choice(
                (b"MAIL FROM:<>", b"MAIL FROM:<a@b.example>", b"MAIL FROM:<> BODY=8BITMIME", b"MAIL FROM:<\xe9@x>")
            )
        )
        for _ in range(source.randrange(1, 4)):
            path = (
                recipient(source)
                if source.random() < 0.4
                else f"{source.choice((*ROLES, *source.sample(sorted(ISSUED), 4)))}@{DOMAIN}"
            )
            code = session.say(b"RCPT TO:<" + path.encode("latin-1", "replace") + b">")
            if code == 250:
                session.taken.append(path)
            elif not code:
                return
        if session.say(source.choice((*[b"DATA"] * 9, b"RSET", b"BDAT 10 LAST", b"VRFY abuse"))) == 354:
            content = letter(source)
            doubles = source.random() < 0.8
            end = b"" if content.endswith(b"\r\n") else b"\r\n"
            session.client.sendall((re.sub(rb"(\A|(?<=\r\n))\.", b"..", content) if doubles else content) + end)
            if session.say(b".") == 250 and doubles:
                session.sent.append(content + end)


def plainly(source: random.Random, session: Session, number: int) -> None:
    """A client that brings one message as it should, so that each part has all kinds."""
    content = re.sub(rb"\r?\n", b"\r\n", SAMPLES[number % len(SAMPLES)])
    path = f"{'dmarc' if number % len(SAMPLES) >= 5 else source.choice(sorted(ISSUED))}@{DOMAIN}"
    session.hear()
    session.say(b"EHLO x")
    session.say(b"MAIL FROM:<>")
    if session.say(f"RCPT TO:<{path}>".encode()) == 250:
        session.taken.append(path)
        session.say(b"DATA")
        content += b"" if content.endswith(b"\r\n") else b"\r\n"
        session.client.sendall(re.sub(rb"(\A|(?<=\r\n))\.", b"..", content))
        if session.say(b".") == 250:
            session.sent.append(content)


def at_once(source: random.Random, session: Session) -> None:
    """A client that waits for nothing, with messages, commands and octets in any order."""
    said = bytearray()
    for _ in range(source.randrange(1, 25)):
        match source.randrange(6):
            case 0:
                said += letter(source)[: source.randrange(1, 4000)]
            case 1:
                said += source.randbytes(source.randrange(1, 200))
            case 2:
                said += b"RCPT TO:<" + recipient(source).encode("latin-1", "replace") + b">"
            case _:
                said += source.choice(COMMANDS)
        said += source.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b"\n.\n", b"\r\n.\n", b"\0\r\n"))
    session.client.sendall(said)


COMMANDS = (
    *(b"EHLO x", b"HELO x", b"LHLO x", b"MAIL FROM:<>", b"MAIL FROM:<a@b.example> SIZE=99999999999", b"RSET", b"DATA"),
    *(b"DATA", b".", b"", b"NOOP", b"VRFY x", b"EXPN all", b"HELP", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"BDAT 10"),
    *(b"STARTTLS x", b"STARTTLS", b"QUIT", b"X" * 3000, b"x" * 20_000, b"ETRN elsewhere.example", b"TURN", b"XCLIENT ADDR=127.0.0.1"),
    *(b"GET / HTTP/1.1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 25", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"RCPT TO:", b"MAIL"),
    *(f"RCPT TO:<abuse@{DOMAIN}>".encode(), b"RCPT TO:<victim@elsewhere.example>", b"MAIL FROM:<a@b.example> X=Y"),
)  # fmt: skip


def talked(source: random.Random, port: int, tls_client: ssl.SSLContext | None, number: int) -> Session:
    """The session of this number, to its end; within TLS, if there is a context for that."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        session = Session(plain)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if tls_client:
                session.hear()
                session.say(b"EHLO x")
                session.say(b"STARTTLS")
                session.client = tls_client.wrap_socket(plain)
                session.heard += b"220 within TLS\r\n"
            if number % 25 == 1:
                plainly(source, session, number // 25)
            else:
                source.choice((step_by_step, step_by_step, at_once))(source, session)
        session.end()
        if session.client is not plain:
            session.client.close()
    return session


def read(running: Running, waiting: Waiting, counts: Counter[str]) -> None:  # noqa: F811
    """Let a message be read as ``returns`` does, and see that what is told is of messages that its addresses name."""
    assert waiting.recipients
    assert all(map(is_ours, waiting.recipients)), waiting.recipients
    lines: list[str] = []

    def tell(level: str, line: str) -> bool:
        lines.append(f"{level} {line}")
        return True

    assert Reader(running.spool, running.gate, tell).read_one()
    assert lines, waiting.content
    meant = {ISSUED.get(each.lower().partition("@")[0]) for each in waiting.recipients}
    for line in lines:
        event = _event(line)
        counts[event.kind] += 1
        queue_id = getattr(event, "queue_id", None)
        assert queue_id is None or queue_id in (IDS if event.kind == "complained" else meant), line


@pytest.mark.parametrize(("part", "cases"), PARTS)
def test_sessions_made_at_random(running: Running, ways_out: WaysOut, part: int, cases: int) -> None:  # noqa: F811
    """Nothing but mail for addresses that there are gets in, each end is told, nothing goes out, and nothing breaks."""
    source, now = source_of(part), BEGIN
    running.gate._clock = lambda: now
    faults: list[Any] = []
    asyncio.run_coroutine_threadsafe(_watch(faults), running.loop).result(30)
    tls_client = ssl.create_default_context()
    tls_client.check_hostname, tls_client.verify_mode = False, ssl.CERT_NONE
    counts: Counter[str] = Counter()
    for number in range(cases):
        now = BEGIN + 2.0 * number
        session = talked(source, running.port, None if number % 50 else tls_client, number)
        said = bytes(session.heard)
        assert all(REPLY.fullmatch(line) for line in said.split(b"\r\n")[:-1]), (number, said)
        assert all(map(is_ours, session.taken)), (number, session.taken)
        taken = said.count(TAKEN)
        assert len(running.waiting()) == taken, (number, said)
        counts += Counter(taken=taken, refused=said.count(b"relaying denied"))
        compared = len(session.sent) == taken  # otherwise it is not known which of them a message is
        while (waiting := running.spool.oldest()) is not None:
            if compared:
                assert waiting.content == session.sent.pop(0), number
                counts["compared"] += 1
            read(running, waiting, counts)
        assert (ways_out.seen, running.said, faults) == ([], [], []), (number, said)
    assert not running.waiting()
    assert min(counts[each] for each in ("taken", "refused", "compared", *KINDS)) > cases // 500, counts
    with running.client() as client:
        assert client.noop()[0] == 250
    if CASES > LARGEST_PART:
        sys.stderr.write(f"part {part}: {cases} sessions, {dict(counts)}\n")


async def _watch(faults: list[Any]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))


def _event(line: str) -> Any:
    level, _, text = line.partition(" ")
    assert level == "info", line
    event = own.read(parse_datagram(format_datagram("info", text), 0.0))
    assert event.kind in KINDS, line
    return event
