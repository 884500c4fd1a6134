"""The process that takes messages over, and one that hands them over, as processes: killed with -9 at random moments."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postroad.evacuation import __main__ as process
from postroad.evacuation import places
from postroad.evacuation.leaving import Leaving
from postroad.evacuation.server import Server, Taken
from postroad.evacuation.taking import Taking
from postroad.runtime import handover, peering
from postroad.sendmail import queue
from tests.seeds import SEED
from tests.unit.test_evacuation_folders import files
from tests.unit.test_evacuation_network import SECRET, World, pem, until
from tests.unit.test_sendmail_queue import ID, QF, put

__all__ = ["pem"]
RECEIVER = """
import sys
from pathlib import Path
from postroad.evacuation import __main__ as process
top = Path(sys.argv[1])
process.QUEUE, process.CURRENT, process.PUT_OFF = top / "there", top / "current", top / "put-off"
process.accepting = lambda: True
process.tell = lambda level, text, *_: print(level, text, flush=True)
raise SystemExit(process.main())
"""
SENDER = """
import sys, time
from pathlib import Path
from postroad.evacuation import places
from postroad.evacuation.client import open_session
from postroad.evacuation.run import Evacuation
top, port, secret = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
here, own = top / "here", places.identity(top / "here")
left = lambda message: print(message.message.queue_id, flush=True)
with places.alone(here):
    while True:
        try:
            with open_session("127.0.0.1", port, secret, own, "here") as session:
                result = Evacuation(here, session, left).run(lambda: False)
        except OSError:
            time.sleep(0.01)
        else:
            break
raise SystemExit(bool(result.stayed or result.busy or result.doubtful))
"""


class Both:
    """A queue that leaves and one that takes over, each with its process."""

    def __init__(self, top: Path, pem: Path) -> None:
        self.top, self.here, self.there = top, top / "here", top / "there"
        for each in (self.here, self.there, top / "gen-1" / "tls"):
            each.mkdir(parents=True)
        for name in ("certificate.pem", "key.pem"):
            (top / "gen-1" / "tls" / name).write_bytes((pem / "own.pem").read_bytes())
        self.configure(SECRET)
        (top / "current").symlink_to("gen-1")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.log = (top / "log").open("w+")
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def configure(self, secret: str | None) -> None:
        (self.top / "gen-1" / peering.FILE).write_text(handover.dumps(peering.Settings(secret, 300.0)))

    def start(self, name: str) -> None:
        port = str(self.listener.getsockname()[1])
        words = [RECEIVER, str(self.top)] if name == "receiver" else [SENDER, str(self.top), port, SECRET]
        stdin = self.listener.fileno() if name == "receiver" else None
        self.running[name] = subprocess.Popen([sys.executable, "-c", *words], stdin=stdin, stdout=self.log)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running.pop(name).wait()

    def logged(self) -> str:
        return (self.top / "log").read_text()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)
        self.listener.close()
        self.log.close()


@pytest.fixture
def both(tmp_path: Path, pem: Path) -> Iterator[Both]:
    made = Both(tmp_path, pem)
    yield made
    made.close()


def deliver(root: Path, most: int = 10**6) -> list[str]:
    """What sendmail delivers from a queue, under its lock, and deletes; ``most`` messages."""
    found: list[str] = []
    for path in list(queue.control_files(root)):
        if path.name[:2] != "qf" or len(found) >= most:
            continue
        with queue.lock(path) as held:
            if held:
                body = path.with_name(f"df{path.name[2:]}")
                found.append(body.read_text())
                path.unlink()
                body.unlink()
    return found


def test_killed_at_random_each_message_is_there_once(both: Both) -> None:
    """One of them is killed, or both; then sendmail delivers what it sees, on both sides, and they are started again."""
    dice = random.Random(SEED)
    wanted = [f"body {number}\n" for number in range(400)]
    for number, body in enumerate(wanted):
        put(both.here, name=f"qf6AOALKBA{100000 + number}", body=body)
    delivered: list[str] = []
    both.start("receiver")
    both.start("sender")
    kills = 0

    def over() -> bool:
        return both.running["sender"].poll() is not None

    def moved(number: int) -> bool:
        return over() or len(list(both.there.glob("qf*"))) >= number

    while not over():
        goal = len(list(both.there.glob("qf*"))) + dice.randrange(1, 60)
        until(partial(moved, goal))
        if over():
            break
        for name in dice.choice([["receiver"], ["sender"], ["receiver", "sender"]]):
            both.kill(name)
            kills += 1
        delivered += deliver(both.there) + deliver(both.here, 5)
        for name in ("receiver", "sender"):
            if name not in both.running:
                both.start(name)
    assert both.running["sender"].wait(30) == 0
    assert kills > 3
    delivered += deliver(both.there)
    assert sorted(delivered) == sorted(wanted)
    assert not files(both.here)
    until(lambda: not files(both.there))


def test_what_it_says_and_whom_it_tells(both: Both) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as front:
        front.bind(str(both.top / "put-off"))
        front.settimeout(10)
        put(both.here, QF.replace("N1", "N0"))
        later = QF.replace("K1795515700", f"K{int(time.time())}")
        put(both.here, later, name="qf6AOALKBA000042")  # it was tried just now: it is due later
        both.start("receiver")
        both.start("sender")
        assert both.running["sender"].wait(30) == 0
        told = front.recv(100).decode().strip()
        front.setblocking(False)
        with pytest.raises(BlockingIOError):
            front.recv(100)
    (never_tried,) = [path for path in both.there.glob("qf*") if b"\nN0\n" in path.read_bytes()]
    assert told == never_tried.name[2:]
    lines = [line.removeprefix("info taken_over ") for line in both.logged().splitlines() if "taken_over" in line]
    said = {each["from_queue_id"]: each for each in map(json.loads, lines)}
    assert said[ID] == {
        "queue_id": told,
        "message_id": "<1@sender.example>",
        "sender": "app@sender.example",
        "from_relay": "here",
        "from_queue_id": ID,
        "recipients": 3,
        "attempts": 0,
    }
    assert said["6AOALKBA000042"]["attempts"] == 1
    both.configure("another secret of forty characters, or so")
    both.running["receiver"].send_signal(signal.SIGHUP)
    both.running["receiver"].terminate()
    assert both.running["receiver"].wait(10) == 0


def test_what_it_keeps_in_memory_is_light() -> None:
    code = "import sys, postroad.evacuation.__main__; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "jinja2", "click", "yaml", "asyncio", "sqlalchemy", "rich"} & set(loaded)


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_it_does_not_serve(secret: str | None, both: Both) -> None:
    both.configure(secret)
    both.start("receiver")
    assert both.running["receiver"].wait(10) == 1
    assert "can't start" in both.logged()


def test_one_of_them_on_a_volume(both: Both) -> None:
    with places.alone(both.there, places.TAKEN):
        both.start("receiver")
        assert both.running["receiver"].wait(10) == 1
    assert "already" in both.logged()


# --- in this process


Receiving = tuple[process.Receiving, list[str]]


@pytest.fixture
def receiving(both: Both, monkeypatch: pytest.MonkeyPatch) -> Receiving:
    said: list[str] = []
    for name, value in (("QUEUE", both.there), ("CURRENT", both.top / "current"), ("PUT_OFF", both.top / "none")):
        monkeypatch.setattr(process, name, value)

    def tell(level: str, text: str, *_: Any) -> bool:
        said.append(f"{level} {text}")
        return True

    monkeypatch.setattr(process, "tell", tell)
    return process.Receiving(), said


def test_a_front_that_is_not_there_keeps_nothing_up(receiving: Receiving, both: Both) -> None:
    octets = QF.replace("N1", "N0").encode(errors="surrogateescape")
    receiving[0].taken(Taken(places.token("a" * 32, ID), both.there / "qf6AOALKBA9000000001", octets, "postroad-2"))
    (line,) = receiving[1]
    assert '"from_relay": "postroad-2"' in line


def test_settings_that_can_not_be_read_leave_those_in_force(receiving: Receiving, both: Both) -> None:
    made, said = receiving
    server = Server(made.settings, Taking(both.there), "a" * 32, lambda: True, made.taken, said.append)
    both.configure("another secret of forty characters, or so")
    made.reload(server)
    assert server.settings.secret == made.settings.secret == "another secret of forty characters, or so"
    both.configure(None)
    made.reload(server)
    assert server.settings.secret == "another secret of forty characters, or so"
    assert "the old ones stay in force" in said[-1]


def test_what_an_evacuation_left_undone_is_settled(receiving: Receiving, both: Both, tmp_path: Path, pem: Path) -> None:
    """The relay runs on: what the other one has is deleted, what it has not is in the queue again."""
    made, said = receiving
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", pem)
    own = places.identity(both.there)
    assert made.settle_once(own) == 0
    for queue_id in (ID, "6AOALKBA000042"):
        path, leaving = put(both.there, name=f"qf{queue_id}"), Leaving(both.there)
        leaving.set_aside(path, both.there / f"df{queue_id}", places.identity(other.there), f"127.0.0.1 {other.port}")
    other.taking.inherit(places.token(own, ID), "6AOALKBA9000000001")
    with places.alone(both.there), pytest.raises(places.BusyError):
        made.settle_once(own)
    assert made.settle_once(own) == 0
    assert [path.name for path in both.there.glob("qf*")] == ["qf6AOALKBA000042"]
    (line,) = said
    assert line.startswith("info evacuated ")
    other.close()
