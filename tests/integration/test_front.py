"""The front: what a client sees of it is what sendmail alone would have shown, and nothing it has answered is lost."""

import json
import os
import random
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import RELAYS, Relays, front, letter, send_in_turn, wait_until
from tests.internet.internet import Internet

SEED = 20261126
SESSIONS = int(os.environ.get("POSTROAD_FRONT_SESSIONS", "300"))
"""Generated sessions; 4,000 take some minutes."""
ALONE = 2526
"""The port at which sendmail itself listens, in the relay that the front is compared with."""


TLS_READY = b"220 2.0.0 Ready to start TLS\r\n"


# --- sessions, as they might come


@dataclass
class Step:
    """What a client sends at once, and how many answers it then waits for."""

    data: bytes
    answers: int


@dataclass
class Script:
    """A session: its steps, how it ends, and the subject of the messages in it."""

    subject: str
    steps: list[Step] = field(default_factory=list)
    end: str = "quit"


HELOS = [b"EHLO app.example", b"ehlo app.example", b"HELO app.example", b"EHLO [192.0.2.1]", b"EHLO x"]
BAD_HELOS = [b"EHLO", b"HELO", b"EHLO a b", b"HELO a@b", b"EHLO  app.example"]
MAILS = [
    *(b"MAIL FROM:<app@sender.example>", b"mail from:<app@sender.example>", b"MAIL FROM: <app@sender.example>"),
    *(b"MAIL FROM:<app@sender.example> SIZE=1000", b"MAIL FROM:<app@sender.example> BODY=8BITMIME", b"MAIL FROM:<>"),
    b"MAIL FROM:<app@sender.example> RET=HDRS ENVID=x",
]
BAD_MAILS = [
    *(b"MAIL", b"MAIL FROM", b"MAIL FROM:", b"MAIL FROM:<app@elsewhere.example>", b"MAIL FROM:<app@sender.example"),
    *(b"MAIL FROM:<app@sender.example> SIZE=99999999999", b"MAIL FROM:<app@sender.example> X=Y", b"MAIL TO:<a@b.c>"),
    b"MAIL FROM:<\xc3\xbc@sender.example>",
]
RCPTS = [*[b"RCPT TO:<user@rcpt.example>"] * 4, b"RCPT TO:<other@sender.example>"]
BAD_RCPTS = [
    *(
        b"RCPT",
        b"RCPT TO:",
        b"RCPT TO:<>",
        b"RCPT TO:<nobody>",
        b"RCPT TO:<x@mail.sender.example>",
        b"RCPT TO:<a@b@c.example>",
    ),
    *(b"RCPT TO:<user@rcpt.example> X=Y", b"RCPT FROM:<user@rcpt.example>", b"RCPT TO:<\xc3\xbc@rcpt.example>"),
]
OTHERS = [
    *(b"NOOP", b"RSET", b"noop", b"NOOP x", b"RSET x", b"VRFY user", b"EXPN list", b"HELP", b"HELP MAIL", b"ETRN x"),
    *(b"XYZZY", b"", b" NOOP", b"NOOP\t", b"AUTH PLAIN AHgAeA==", b"STARTTLS x", b"BDAT 5 LAST", b"TURN", b"DATA x"),
    *(b"STARTTLS", b"starttls"),  # offered to the clients of one family only
    *(b"VERB", b"QUITX", b"MAILX", b"N" * 1500, b"N" * 2500, b"NOOP \xff\xfe"),
]
BODIES = [
    *(
        b"Hello.\r\n",
        b"",
        b"..\r\n...\r\n",
        b"x" * 990 + b"\r\n",
        b"x" * 5000 + b"\r\n",
        b"a\r\n\r\n..b\r\n",
        b"\xc3\xbc\r\n",
    ),
    b"line of text\r\n" * 5000,
]
BAD_BODIES = [
    b"a\n.\nb\r\n",
    b"a\rb\r\n",
    b"a\r\n.\nMAIL FROM:<x@sender.example>\r\n",
    b"a\n.\r\nb\r\n",
    b"a\r.\r\nb\r\n",
]
ENDS = ["quit", "quit", "quit", "close", "half", "vanish"]


class Generator:
    """Sessions from a seed, most of which ask for TLS where they are told to: the same ones each time."""

    def __init__(self, seed: int, *, tls: bool) -> None:
        self._random = random.Random(seed)
        self._tls = tls

    def script(self, number: int) -> Script:
        chance = self._random
        made = Script(f"front-{number}")
        if chance.random() < 0.95:
            if chance.random() < 0.1:
                self._say(made, chance.choice(BAD_HELOS))
            self._say(made, chance.choice(HELOS))
        if self._tls and chance.random() < 0.8:
            self._say(made, b"STARTTLS")
            if chance.random() < 0.9:
                self._say(made, chance.choice(HELOS))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            if chance.random() < 0.25:
                self._say(made, chance.choice(OTHERS))
            self._transaction(made)
        if chance.random() < 0.2:
            self._say(made, chance.choice(OTHERS))
        made.end = chance.choice(ENDS)
        return made

    def _say(self, made: Script, line: bytes) -> None:
        made.steps.append(Step(line + b"\r\n", 1))

    def _transaction(self, made: Script) -> None:
        chance = self._random
        if chance.random() < 0.1:
            self._say(made, chance.choice((b"RCPT TO:<user@rcpt.example>", b"DATA")))
        if chance.random() < 0.15:
            self._say(made, chance.choice(BAD_MAILS))
        lines = [chance.choice(MAILS)]
        if chance.random() < 0.1:
            lines.append(chance.choice(MAILS))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            bad = chance.random() < 0.15
            lines.append(chance.choice(BAD_RCPTS if bad else RCPTS))
        if chance.random() < 0.15:
            lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(OTHERS))
        if chance.random() < 0.1:
            lines.append(b"RSET")
        if chance.random() < 0.4:
            made.steps.append(Step(b"".join(line + b"\r\n" for line in (*lines, b"DATA")), len(lines) + 1))
        else:
            for line in (*lines, b"DATA"):
                self._say(made, line)
        made.steps.append(Step(self._message(made), 1))

    def _message(self, made: Script) -> bytes:
        chance = self._random
        text = b"" if chance.random() < 0.05 else b"From: app@sender.example\r\n"
        if chance.random() < 0.05:
            text += b"From: other@sender.example\r\n"
        text += (
            b"To: user@rcpt.example\r\nSubject: %b\r\nDate: Thu, 26 Nov 2026 00:00:00 +0000\r\n" % made.subject.encode()
        )
        text += b"Message-ID: <%b@sender.example>\r\n\r\n" % made.subject.encode()
        text += chance.choice(BAD_BODIES if chance.random() < 0.1 else BODIES)
        return text + b".\r\n"


def _connected(address: tuple[str, int]) -> socket.socket:
    """A connection. sendmail alone closes its door for a moment where it has many children, to those who wait there too."""
    until = time.monotonic() + 30
    while address[1] == ALONE and time.monotonic() < until:
        with suppress(ConnectionError):
            connection = socket.create_connection(address, timeout=60)
            if connection.recv(1, socket.MSG_PEEK):
                return connection
            connection.close()
        time.sleep(0.2)
    return socket.create_connection(address, timeout=60)


class Wire:
    """A client that says what a script says."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = _connected(address)
        self.file = self.socket.makefile("rb")

    def start_tls(self) -> None:
        """Go on in TLS; who the server is, other tests ask."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.file.close()
        self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        """Leave."""
        self.file.close()
        self.socket.close()

    def answer(self) -> bytes:
        """The next answer, all its lines; empty at the end."""
        text = b""
        with suppress(ConnectionError, ssl.SSLError):  # it may end with an alert
            while line := self.file.readline():
                text += line
                if line[3:4] != b"-":
                    break
        return text


def play(script: Script, address: tuple[str, int]) -> list[bytes]:
    """What a client is told that keeps to a script; a step that needs 354 is left out where there is none."""
    with closing(Wire(address)) as wire:
        told = [wire.answer()]
        for step in script.steps:
            if step.data.endswith(b"\r\n.\r\n") != told[-1].startswith(b"354"):
                continue  # no message where none is awaited, and nothing else where one is
            with suppress(ConnectionError):
                if script.end == "vanish" and step is script.steps[-1]:
                    wire.socket.sendall(step.data[: len(step.data) // 2])
                    return told
                wire.socket.sendall(step.data)
            if not _hear(step, wire, told):
                return told
        if script.end == "quit":
            wire.socket.sendall(b"QUIT\r\n")
            told.append(wire.answer())
        elif script.end == "half":
            with suppress(OSError):
                socket.socket.shutdown(wire.socket, socket.SHUT_WR)  # that of TLS would read what follows as it comes
        if script.end not in {"close", "vanish"}:
            told.append(wire.answer())
    return told


def _hear(step: Step, wire: Wire, told: list[bytes]) -> bool:
    """Add the answers to a step; False where the session can't go on."""
    for _ in range(step.answers):
        told.append(wire.answer())
        if told[-1] == TLS_READY and step.data == b"STARTTLS\r\n":
            wire.start_tls()
        elif not told[-1] or told[-1] == TLS_READY:  # whose other commands went without TLS
            return False
        # what was sent for text is no command
        if told[-1].startswith(b"354"):
            break
    return True


_QUEUE_ID = re.compile(rb"\b[0-9A-Za-z]{8}[0-9]{6}\b")
_TIME = re.compile(rb"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \S+")


def plain(told: list[bytes]) -> list[bytes]:
    """Without what differs each time, and without a hint that the library gives where nothing else is said at once."""
    hint = b": clients.users names nobody"
    return [_TIME.sub(b"TIME", _QUEUE_ID.sub(b"ID", text)).replace(hint, b"") for text in told]


@dataclass(frozen=True)
class Pair:
    """Two relays, behind the front and sendmail alone, and where a client finds each."""

    relays: dict[str, PostroadContainer]
    addresses: dict[str, tuple[str, int]]


FAMILIES = {"inet": SESSIONS, "inet6": SESSIONS // 3, "mapped": SESSIONS // 3, "tls": SESSIONS // 3}
"""Clients: IPv4 where there is no other, IPv6, IPv4 where there is IPv6 as well, those that ask for TLS where it is
offered; and how many sessions of each."""


@pytest.fixture(scope="module", params=FAMILIES)
def pair(image: str, internet: Internet, request: pytest.FixtureRequest) -> Iterator[Pair]:
    limits = {"connections_per_client": None}
    six, tls = request.param in {"inet6", "mapped"}, {"smtp_starttls": "always" if request.param == "tls" else "never"}
    door = f"O DaemonPortOptions=Name=smtp, Family={'inet6' if six else 'inet'}, Port={ALONE}, Listen=1024, M=EA"
    with ExitStack() as stack:
        where = stack.enter_context(Internet(ipv6=True)) if six else internet
        relays = Relays(image, where)
        stack.enter_context(relays.stack)
        request.node.stash[RELAYS] = relays.started
        started = {
            "front": relays(publish=False, limits=limits, tls=tls),
            "alone": relays(publish=False, limits=limits, tls=tls, sendmail={"local_config": door}),
        }
        addresses = {}
        for name, relay in started.items():
            relay.get_wrapped_container().reload()
            (network,) = relay.get_wrapped_container().attrs["NetworkSettings"]["Networks"].values()
            address = network["GlobalIPv6Address" if request.param == "inet6" else "IPAddress"]
            addresses[name] = (address, 25 if name == "front" else ALONE)
        yield Pair(started, addresses)


def sent(relay: PostroadContainer) -> dict[str, list[tuple[Any, ...]]]:
    """What was accepted, by Message-ID: sender, size and recipients of each."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for event in relay.events():
        if event["event"] == "accepted" and str(event.get("message_id", "")).startswith("<front-"):
            what = (event["sender"], event["size"], event["recipients"], event.get("protocol"), event["client_address"])
            found.setdefault(event["message_id"], []).append(what)
    return {name: sorted(each) for name, each in found.items()}


@pytest.mark.timeout(180 + SESSIONS // 4)
def test_clients_see_what_sendmail_alone_would_show(pair: Pair, request: pytest.FixtureRequest) -> None:
    """Generated sessions, the same ones to both: same answers, same mail."""
    family = request.node.callspec.params["pair"]
    generator, sessions = Generator(SEED, tls=family == "tls"), FAMILIES[family]
    scripts = [generator.script(number) for number in range(sessions)]

    def both(script: Script) -> dict[str, list[bytes]]:
        return {name: plain(play(script, address)) for name, address in pair.addresses.items()}

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(both, scripts))
    for script, each in zip(scripts, told, strict=True):
        assert each["front"] == each["alone"], (script, each)
    accepted = [text for each in told for text in each["front"] if b"Message accepted" in text]
    assert len(accepted) > sessions // 3
    for relay in pair.relays.values():
        wait_until(lambda: sum(map(len, sent(relay).values())) >= len(accepted), 60)  # noqa: B023 - called here
    assert sent(pair.relays["front"]) == sent(pair.relays["alone"])


# --- nothing that was answered is lost


def inside(relay: PostroadContainer, name: str) -> list[int]:
    """The process ids of a kind: ``daemon``, ``front``, ``sessions`` or ``signer``."""
    listed = relay.shell(
        "for each in /proc/[0-9]*; do"
        ' echo "${each#/proc/} $(cut -d" " -f4 $each/stat) $(tr "\\0" " " <$each/cmdline)"; done 2>/dev/null'
    )[1]
    rows = [(int(pid), int(parent), title) for pid, parent, title in re.findall(r"(?m)^(\d+) (\d+) (.*)$", listed)]
    daemon = [pid for pid, parent, title in rows if "sendmail" in title and parent == 1 and "accepting" in title]
    return {
        "daemon": daemon,
        "sessions": [pid for pid, parent, _ in rows if parent in daemon],
        "front": [pid for pid, _, title in rows if "postroad.front" in title],
        "signer": [pid for pid, _, title in rows if "postroad.signer" in title],
    }[name]


@pytest.mark.parametrize("victim", ["front", "daemon", "sessions", "signer"])
def test_what_was_answered_is_there_whoever_is_killed(victim: str, start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(delivery={"queue": {"retry": "1h"}}, listeners={"submission": None, "submissions": None})
    answered: dict[str, str] = {}
    ended = threading.Event()

    def work(recipient: str) -> None:
        while not ended.is_set():
            with suppress(OSError, smtplib.SMTPException), smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
                while not ended.is_set():
                    message = letter(To=recipient)
                    smtp.send_message(message)
                    answered[str(message["Message-ID"])] = recipient

    recipients = (f"{victim}@rcpt.example", f"tempfail-{victim}@rcpt.example")
    threads = [threading.Thread(target=work, args=[recipients[i % 2]]) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(answered)
            wait_until(lambda: len(answered) > before + 10, timeout=60)  # noqa: B023 - called here
            pids = wait_until(lambda: inside(relay, victim))
            relay.shell(f"kill -9 {' '.join(map(str, pids))}")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    delivered = {message_id for message_id, to in answered.items() if to == recipients[0]}
    queued = set(answered) - delivered
    assert delivered
    assert queued
    # not to its end: Postfix answers who meets many refusals more and more slowly
    relay.shell("postroad queue flush --all >/dev/null 2>&1 &")
    for message_id in delivered:
        internet.wait_for_message(message_id, 60)
    # files come and go meanwhile, and Docker may put grep's complaint about one into the middle of a line
    names = relay.shell("grep -ho '<[^ ]*@sender.example>' /var/spool/mqueue/* 2>/dev/null")[1].split()
    assert queued <= set(names)
    if victim in {"front", "signer"}:  # what ends in the middle of a delivery can't know how far it came
        arrived = [str(each.message["Message-ID"]) for each in internet.messages(recipients[0])]
        assert [each for each in delivered if arrived.count(each) != 1] == []


def test_a_restart_of_the_front_refuses_no_connection(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    refused: list[OSError] = []
    greeted = 0
    ended = threading.Event()

    def knock() -> None:
        nonlocal greeted
        while not ended.is_set():
            try:
                sock = socket.create_connection((relay.address, 25), timeout=20)
            except OSError as error:
                refused.append(error)
                return
            # one that was accepted and then killed with the front has been let in
            with sock, suppress(ConnectionResetError):
                greeted += sock.recv(100).startswith(b"220")

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        for _ in range(3):
            before = greeted
            wait_until(lambda: greeted > before + 20)  # noqa: B023 - called here
            (pid,) = wait_until(lambda: inside(relay, "front"))
            relay.shell(f"kill -9 {pid}")
            wait_until(lambda: inside(relay, "front") not in ([], [pid]))  # noqa: B023 - likewise
    finally:
        ended.set()
        thread.join()
    assert refused == []


def test_an_answer_does_not_wait_for_the_receiver(start_relay: Relays, internet: Internet) -> None:
    mx = internet.add_watch("mx.slow.example", behaviour="holds")
    internet.publish("slow.example", "MX", "10 mx.slow.example.")
    relay = start_relay(publish=False)
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for _ in range(5):
            began = time.monotonic()
            smtp.send_message(letter(To="user@slow.example"))
            assert time.monotonic() - began < 2
        figures = front(relay)
    assert figures["delivering"] == 5
    seen = wait_until(lambda: each if len(each := attempts(relay)) == 5 else [])
    assert {(each["host"], each["port"], each["command"]) for each in seen} == {("mx.slow.example", 25, "DATA status")}
    assert all(each["queue_id"] and each["sent"] and abs(time.time() - each["since"]) < 30 for each in seen)
    mx.run("touch", "/run/watch/go")
    wait_until(lambda: not attempts(relay))


def test_the_next_message_tries_a_receiver_again_that_failed(start_relay: Relays, internet: Internet) -> None:
    """The same client's, at once: what sendmail remembers of a receiver ends with the session that failed."""
    mx = internet.add_watch("mx.late.example")
    internet.publish("late.example", "MX", "10 mx.late.example.")
    internet.publish("mx.late.example", "A", internet.dns.address)  # where nothing listens
    relay = start_relay(publish=False, delivery={"queue": {"retry": "1h"}})
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for expected in ("deferred", "delivered"):
            message = letter(To="user@late.example")
            smtp.send_message(message)
            relay.wait_for(str(message["Message-ID"]), expected)
            internet.publish("mx.late.example", "A", mx.address)


def test_a_receiver_that_does_not_answer_quit_holds_up_no_other_s_mail(start_relay: Relays, internet: Internet) -> None:
    """A session keeps two connections; for a third it ends one, in the middle of another receiver's message."""
    mx = internet.add_watch("mx.stay.example", behaviour="stays")
    names = [f"stay{number}.example" for number in range(8)]
    for name in names:
        internet.add_zone(name)
        internet.publish_host(f"mx.{name}", mx.address)
        internet.publish(name, "MX", f"10 mx.{name}.")
    relay = start_relay(publish=False)
    began = time.monotonic()
    send_in_turn(relay, [(f"user@{name}", "delivered") for name in names])
    # thirty seconds each would be three minutes
    assert time.monotonic() - began < 120


def attempts(relay: PostroadContainer) -> list[dict[str, Any]]:
    """The attempts that are under way."""
    ask = (
        "import json; from dataclasses import asdict; from postroad.runtime.attempts import under_way;"
        " print(json.dumps([asdict(each) for each in under_way()]))"
    )
    code, text = relay.shell(f'PYTHONPATH=/opt/postroad python3 -c "{ask}"')
    assert code == 0, text
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_received_names_the_client(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    with smtplib.SMTP(relay.host, relay.port, "app.example", timeout=20) as smtp:
        message = letter()
        smtp.send_message(message)
    client = relay.wait_for(str(message["Message-ID"]), "accepted")["client_address"]
    fields = internet.wait_for_message(str(message["Message-ID"])).message.get_all("Received", [])
    assert any(f"from app.example ([{client}])" in str(each) for each in fields)


def test_nobody_else_reaches_the_inner_doors(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    modes = relay.shell("stat -c '%a %F' /run/postroad/door-[0-9]")[1]
    assert modes.splitlines() == ["600 socket"] * 5
    # without the header, or with another one, there is no session, and the daemon goes on
    for begin in ("b''", "b'EHLO x\\r\\n'", "b'x' * 272"):
        knock = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('/run/postroad/door-2');"
            f" s.sendall({begin}); print(s.recv(99))"
        )
        assert relay.shell(f'python3 -c "{knock}"')[1].strip() in {"b''", ""} or "reset" in relay.shell("true")[1]
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        assert smtp.ehlo()[0] == 250


# --- slow receivers


def test_an_attempt_ends_however_slowly_the_receiver_goes_on(start_relay: Relays, internet: Internet) -> None:
    internet.add_watch("mx.drips.example", behaviour="drips")
    internet.publish("drips.example", "MX", "10 mx.drips.example.")
    relay = start_relay(publish=False, delivery={"attempt_timeout": "3s"})
    message = letter(To="user@drips.example")
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.send_message(message)
    event = relay.wait_for(str(message["Message-ID"]), "deferred", 30)
    assert "timed out" in event["status"]
    wait_until(lambda: front(relay)["delivering"] == 0)


MANY = 1000


@pytest.mark.parametrize(
    ("config", "domain"),
    [
        pytest.param({}, "hangs.example", id="kept"),
        pytest.param({}, "{}.hangs.example", id="domains", marks=pytest.mark.long),
        pytest.param(
            {"sendmail": {"local_config": "# rules of my own"}}, "hangs.example", id="own", marks=pytest.mark.long
        ),
    ],
)
def test_mail_for_which_there_is_no_room_leaves_when_there_is(
    config: dict[str, Any], domain: str, start_relay: Relays, internet: Internet
) -> None:
    """Many messages to a receiver that drips, under the least that is promised: others' mail goes on."""
    mx = internet.add_watch("mx.hangs.example", behaviour="drips")
    for name in ("hangs.example", "*.hangs.example"):
        internet.publish(name, "MX", "10 mx.hangs.example.")
    least = {"mem_limit": "128m", "memswap_limit": "128m", "pids_limit": 100}
    relay = start_relay(kwargs=least, delivery={"attempt_timeout": "1h", "queue": {"retry": "1h"}}, **config)
    with smtplib.SMTP(relay.host, relay.port, timeout=60) as smtp:
        message = letter()
        smtp.send_message(message)
        internet.wait_for_message(str(message["Message-ID"]))  # this receiver has lately taken mail
        for number in range(MANY):
            smtp.send_message(letter(To=f"user@{domain.format(number)}"))
            if number % 200 == 100:
                message = letter()
                smtp.send_message(message)
                internet.wait_for_message(str(message["Message-ID"]), 20)
    figures = front(relay)
    assert figures["delivering"] < 50
    assert figures["put_off"] > MANY / 2
    assert 0 < len(attempts(relay)) < 50
    assert int(relay.shell("ls -d /proc/[0-9]* | wc -l")[1]) < 100
    assert int(relay.shell("ls /var/spool/mqueue | grep -c ^qf")[1]) == MANY
    # as soon as there are answers, what waits leaves, without being due: here these are refusals, and there are bounces
    mx.stop()
    for name in ("hangs.example", "*.hangs.example"):
        internet.publish(name, "MX", "10 mx.rcpt.example.")
    wait_until(lambda: int(relay.shell("ls /var/spool/mqueue | grep -c ^qf")[1] or MANY) < MANY / 2, 180)
    relay.get_wrapped_container().reload()
    assert relay.get_wrapped_container().attrs["State"]["OOMKilled"] is False


def test_what_is_tried_again_does_not_wait_for_slow_receivers(start_relay: Relays, internet: Internet) -> None:
    """Fifteen receivers that drip, and a message that is put off each time: it is tried as often as it is due."""
    internet.add_watch("mx.crawls.example", behaviour="drips")
    internet.publish("*.crawls.example", "MX", "10 mx.crawls.example.")
    relay = start_relay(publish=False, delivery={"attempt_timeout": "1h", "queue": {"retry": "4s"}})
    message = letter(To="tempfail@rcpt.example")
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for number in range(15):
            smtp.send_message(letter(To=f"user@{number}.crawls.example"))
        smtp.send_message(message)
    wait_until(lambda: len(attempts(relay)) >= 15, 30)

    def tries() -> int:
        events = [each for each in relay.events() if each["event"] == "deferred"]
        return sum(each["message_id"] == str(message["Message-ID"]) for each in events)

    wait_until(lambda: tries() >= 4, 60)


def test_recipients_elsewhere_do_not_wait_for_a_receiver_that_is_mute(start_relay: Relays, internet: Internet) -> None:
    """One message for several domains, and the MX of two of them says nothing after STARTTLS."""
    internet.add_watch("mx.mute.example", behaviour="mute")
    for domain in ("a.mute.example", "z.mute.example"):
        internet.publish(domain, "MX", "10 mx.mute.example.")
    relay = start_relay(publish=False, delivery={"attempt_timeout": "15s", "queue": {"retry": "1h"}})
    to = ["user@a.mute.example", "first@rcpt.example", "second@rcpt.example", "user@z.mute.example"]
    message = letter(To=", ".join(to))
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        assert smtp.send_message(message, to_addrs=to) == {}
        wait_until(lambda: {*to[1:3]} <= recipients(internet, message), 10)
        assert len(attempts(relay)) == 2  # the mute ones, which have not ended
        # the mute ones get it without TLS in the end; each has its own event, and the message is one
        wait_until(lambda: len(outcomes(relay, message, "delivered")) == 4, 60)
        assert len(outcomes(relay, message, "accepted")) == 1
        # more recipients than are worth a message each
        many = [f"user{number}@{('rcpt', 'sender')[number % 2]}.example" for number in range(50)]
        message = letter(To=many[0])
        assert smtp.send_message(message, to_addrs=many) == {}
    wait_until(lambda: {*many} <= recipients(internet, message), 20)
    assert len({event["queue_id"] for event in outcomes(relay, message, "delivered")}) == 1


def recipients(internet: Internet, message: EmailMessage) -> set[str]:
    """For whom it has arrived."""
    return {each.recipient for each in internet.messages() if each.message["Message-ID"] == message["Message-ID"]}


def outcomes(relay: PostroadContainer, message: EmailMessage, event: str) -> list[dict[str, Any]]:
    """Its events of a kind."""
    wanted = str(message["Message-ID"])
    return [each for each in relay.events() if each["event"] == event and each.get("message_id") == wanted]


def test_a_message_that_the_front_says_again_is_counted_once(start_relay: Relays) -> None:
    relay = start_relay(publish=False, limits={"messages_per_minute": 3})
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        for _ in range(3):
            assert smtp.send_message(letter(), to_addrs=["user@rcpt.example", "other@sender.example"]) == {}
        with pytest.raises(smtplib.SMTPSenderRefused):
            smtp.send_message(letter())
