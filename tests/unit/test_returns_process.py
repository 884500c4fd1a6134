"""``returns`` as a process: its socket is its standard input, a signal reloads it, and what it took outlives it."""

import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postroad.runtime import handover, return_address, returning
from tests.unit.test_returns_reading import DSN, report

KEY, ID = b"k" * 32, "6AQ7sdUD000094"
START = """
import sys
from pathlib import Path
from postroad.returns import __main__ as process
from postroad.runtime import log
folder = Path(sys.argv[1])
process.CURRENT, process.RETURNS, log.LOG_SOCKET = folder, folder / "returns", folder / "log"
process.main()
"""


@dataclass
class Running:
    """The process, and the log's datagram socket."""

    folder: Path
    listener: socket.socket
    log: socket.socket
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", START, str(self.folder)]
        self.process = subprocess.Popen(command, stdin=self.listener.fileno(), cwd=Path(__file__).parents[2])

    def settings(self, domain: str) -> None:
        text = handover.dumps(returning.Settings("mail.x.example", domain, ()))
        (self.folder / returning.FILE).write_text(text)

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.listener.getsockname()[1], timeout=60)

    def stop(self, number: signal.Signals) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(20)

    def lines(self, word: str) -> list[str]:
        """The lines of the log from now to the first with this word."""
        found: list[str] = []
        while not found or word not in found[-1]:
            found.append(self.log.recv(4096).decode())
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / returning.KEY).write_bytes(KEY)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=50) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log,
    ):
        log.bind(str(tmp_path / "log"))
        log.settimeout(60)
        found = Running(tmp_path, listener, log)
        found.settings("bounces.x.example")
        yield found
        if found.process and found.process.poll() is None:
            found.stop(signal.SIGKILL)


def address(domain: str) -> str:
    return f"{return_address.local_part(KEY, domain, ID, return_address.day_of(time.time()))}@{domain}"


def test_from_the_net_to_the_log(running: Running) -> None:
    running.start()
    with running.client() as client:
        assert not client.has_extn("starttls"), "there is no certificate here"
        client.sendmail("", [address("bounces.x.example")], report("delivery-status", "delivery-status", DSN))
    lines = running.lines("bounced {")
    assert "STARTTLS is not offered" in lines[0]
    assert f'"queue_id": "{ID}"' in lines[-1]
    assert running.stop(signal.SIGTERM) == 0


def test_clients_wait_for_the_next_process_and_what_was_taken_is_read(running: Running) -> None:
    (running.folder / "returns").mkdir()
    running.start()
    with running.client() as client:
        client.noop()
    running.log.close()  # nobody reads the log: what comes stays in the spool
    (running.folder / "log").unlink()
    with running.client() as client:
        client.sendmail("", [address("bounces.x.example")], report("delivery-status", "delivery-status", DSN))
    settled, until = 0, time.monotonic() + 30
    while settled < 20 and time.monotonic() < until:  # one that is killed while it reads a message sets that aside
        time.sleep(0.05)
        there = list((running.folder / "returns" / "spool").iterdir())
        settled = settled + 1 if there and all(path.suffix != ".reading" for path in there) else 0
    running.stop(signal.SIGKILL)
    running.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    running.log.bind(str(running.folder / "log"))
    running.log.settimeout(60)
    waiting = socket.create_connection(running.listener.getsockname(), timeout=60)
    running.start()
    assert waiting.recv(3) == b"220"
    waiting.close()
    assert f'"queue_id": "{ID}"' in running.lines("bounced {")[-1]
    running.log.close()


def takes(running: Running, to: str) -> bool:
    with running.client() as client:
        client.ehlo()
        client.mail("")
        return client.rcpt(to)[0] == 250


def test_a_reload_takes_another_domain(running: Running) -> None:
    running.start()
    assert not takes(running, "abuse@bounces.y.example")
    running.settings("bounces.y.example")
    assert running.process
    running.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 20
    while not takes(running, "abuse@bounces.y.example"):
        assert time.monotonic() < until
    (running.folder / returning.FILE).write_text("{}")
    running.process.send_signal(signal.SIGHUP)
    running.lines("the old ones stay in force")
    assert takes(running, address("bounces.y.example"))


def test_without_settings_it_says_why_it_ends(running: Running) -> None:
    (running.folder / returning.FILE).unlink()
    running.start()
    assert running.process
    assert running.process.wait(20) == 1
    assert "can't go on" in running.lines("can't go on")[-1]
