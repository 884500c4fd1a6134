"""Clients that say nothing: they end, and they shut nobody out meanwhile."""

import contextlib
import re
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, wait_until
from tests.internet.internet import Internet

IDLE = 10
LATE = 40
"""Seconds within which a client that says nothing is gone: sendmail's processes look at the time now and then."""
USER = "app", "a password"
LISTENERS = {"smtp": 25, "submission": 587, "submissions": 465}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("secrets")
    made.chmod(0o755)
    (made / "app").write_text(USER[1])
    (made / "app").chmod(0o444)
    return made


@pytest.fixture(scope="module")
def start(relays: Relays, folder: Path) -> Callable[..., PostroadContainer]:
    def started(**config: object) -> PostroadContainer:
        return relays(
            publish=False,
            clients={"users": [{"name": USER[0], "password_file": "/run/secrets/app"}]},
            tls={"smtp_starttls": "always"},
            listeners=LISTENERS,
            mounts={str(folder): "/run/secrets"},
            **config,
        )

    return started


@pytest.fixture(scope="module")
def relay(start: Callable[..., PostroadContainer]) -> PostroadContainer:
    return start(limits={"idle": f"{IDLE}s"})


def context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def connect(relay: PostroadContainer, listener: str) -> smtplib.SMTP:
    """A session, within TLS where the listener has it from the start."""
    port = relay.port_of(listener)
    patience = 20  # of each answer
    if listener == "submissions":
        return smtplib.SMTP_SSL(relay.host, port, timeout=patience, context=context())
    return smtplib.SMTP(relay.host, port, timeout=patience)


def login(smtp: smtplib.SMTP) -> None:
    smtp.ehlo()
    if not isinstance(smtp, smtplib.SMTP_SSL):
        smtp.starttls(context=context())
    smtp.login(*USER)


def nothing(_: smtplib.SMTP) -> None:
    """Say nothing at all."""


def hello(smtp: smtplib.SMTP) -> None:
    smtp.ehlo()


def within_tls(smtp: smtplib.SMTP) -> None:
    smtp.ehlo()
    smtp.starttls(context=context())
    smtp.ehlo()


def help_first(smtp: smtplib.SMTP) -> None:
    """From here on the session is sendmail's."""
    smtp.ehlo()
    smtp.docmd("HELP")


def transaction(smtp: smtplib.SMTP) -> None:
    smtp.ehlo()
    assert smtp.mail("app@sender.example")[0] == 250


def in_the_text(smtp: smtplib.SMTP) -> None:
    transaction(smtp)
    smtp.rcpt("user@rcpt.example")
    assert smtp.docmd("DATA")[0] == 354


def sent(smtp: smtplib.SMTP) -> None:
    smtp.ehlo()
    smtp.send_message(letter())


SILENT = [
    *(("smtp", each) for each in (nothing, hello, within_tls, help_first, transaction, in_the_text, sent)),
    *(("submission", each) for each in (nothing, hello, within_tls, login)),
    *(("submissions", each) for each in (nothing, hello, login)),
]


@pytest.mark.parametrize(("listener", "say"), SILENT, ids=[f"{name}-{say.__name__}" for name, say in SILENT])
def test_a_client_that_falls_silent_is_sent_away(
    listener: str, say: Callable[[smtplib.SMTP], None], relay: PostroadContainer
) -> None:
    smtp = connect(relay, listener)
    with contextlib.closing(smtp):
        say(smtp)
        began = time.monotonic()
        assert smtp.sock
        smtp.sock.settimeout(LATE)
        said = b""
        with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
            while data := smtp.sock.recv(4096):
                said += data
        assert IDLE - 2 < time.monotonic() - began < LATE
        if listener == "smtp" and say not in {within_tls, help_first}:
            assert re.match(rb"421 4\.4\.2 \S+ timeout waiting for input", said), said
        else:
            assert not said  # sendmail itself closes without a word


def test_a_letter_now_and_then_is_not_a_word(relay: PostroadContainer) -> None:
    with socket.create_connection((relay.host, relay.port), timeout=1) as client:
        began, said = time.monotonic(), b""
        while time.monotonic() < began + LATE:
            try:
                data = client.recv(100)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    client.send(b"N")
                continue
            except ConnectionError:  # it was closed while a letter was under way
                break
            if not data:
                break
            said += data
        assert time.monotonic() < began + LATE, said


def test_who_says_something_in_time_stays(relay: PostroadContainer) -> None:
    with connect(relay, "smtp") as one, connect(relay, "submission") as other:
        one.ehlo()
        other.ehlo()
        for _ in range(3):
            time.sleep(IDLE * 0.6)  # what is tested is time that passes
            assert one.noop()[0] == other.noop()[0] == 250


# --- room


@contextlib.contextmanager
def silent(relay: PostroadContainer, listener: str, count: int) -> Iterator[None]:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((relay.host, relay.port_of(listener)), timeout=20))
        yield


@pytest.fixture(scope="module")
def usual(start: Callable[..., PostroadContainer]) -> PostroadContainer:
    """A relay at its defaults: idle sessions end after minutes."""
    return start()


def use(relay: PostroadContainer, listener: str) -> bool:
    """Whether a client gets in."""
    try:
        with connect(relay, listener) as smtp:
            if listener == "smtp":
                return smtp.send_message(letter()) == {}
            login(smtp)
            return smtp.send_message(letter()) == {}
    except (smtplib.SMTPException, OSError):
        return False


@pytest.mark.parametrize("listener", LISTENERS)
def test_fifty_silent_connections_do_not_shut_out_who_shares_their_address(
    listener: str, usual: PostroadContainer
) -> None:
    with connect(usual, listener) as before:
        if listener == "smtp":
            sent(before)
        else:
            login(before)
            before.send_message(letter())
        with silent(usual, listener, 49):
            wait_until(partial(use, usual, listener), 25)
            assert before.noop()[0] == 250  # who has sent mail stays


@pytest.fixture(scope="module")
def small(start: Callable[..., PostroadContainer]) -> PostroadContainer:
    """A relay with 100 processes and 128 MiB for all."""
    return start(kwargs={"mem_limit": "128m", "memswap_limit": "128m", "pids_limit": 100})


def test_silent_connections_that_have_a_session_of_their_own_stand_in_nobody_s_way(small: PostroadContainer) -> None:
    """Each of them has sendmail read on, and there are not that many sessions."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            smtp = stack.enter_context(contextlib.closing(connect(small, "smtp")))
            smtp.ehlo()
            assert smtp.sock
            smtp.sock.sendall(b"HELP\r\n")
        wait_until(partial(use, small, "smtp"), 15)


SILENT_ONES = """
import socket, sys, time
kept = []
for _ in range(int(sys.argv[2])):
    for port in sys.argv[3:]:
        try:
            kept.append(socket.create_connection((sys.argv[1], int(port)), timeout=20))
        except OSError:
            pass
time.sleep(300)
"""


def test_silent_neighbours_leave_room_for_others(small: PostroadContainer, internet: Internet) -> None:
    """Forty from each of three neighbours to each listener."""
    assert all(use(small, listener) for listener in LISTENERS)
    for neighbour in [internet.add_app() for _ in range(3)]:
        command = ["timeout", "150", "python3", "-c", SILENT_ONES, small.address, "40", "25", "587", "465"]
        subprocess.run(["docker", "exec", "--detach", neighbour.name, *command], check=True)
    for _ in range(3):
        for listener in LISTENERS:
            wait_until(partial(use, small, listener), 30)
