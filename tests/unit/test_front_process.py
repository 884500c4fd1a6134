"""The front as a process: real clients, a sendmail of the test behind its inner doors, all on the front's own loop."""

import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postroad import system
from postroad.errors import CommandError
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.front import __main__ as process
from postroad.front import adapting, greeting, pool, session
from postroad.front import client as client_side
from postroad.front.client import ClientStage
from postroad.front.loop import Loop, Stream
from postroad.front.pool import AGE, IDLE, SLUGGISH
from postroad.front.session import SOCKADDR, header
from postroad.runtime import bounds, outcomes
from postroad.runtime import front as told
from postroad.runtime.bounds import Bounds
from postroad.runtime.front import AGAIN, BACKGROUND, INNER_DOORS, NOW, QUEUE, SPLIT, TELLING
from tests.unit.test_front_client import SETTINGS, to

HEADER = 16 + 2 * SOCKADDR
BOUNDS = Bounds(
    sessions=6, delivering=3, domain=2, own=2, busy=4, runs=3, clients=8, direct=2, background=2
)  # fmt: skip
GREETING = b"220 mail.example.com ESMTP; Thu, 1 Jan 2026 00:00:00 GMT\r\n"
MAIL = b"MAIL FROM:<app@example.com>\r\n"
ID = "5AAAAAAAAAAAAAAA"


class Session(Stream):
    """A session of sendmail's: it agrees to everything but for what ``replies`` say."""

    def __init__(self, sendmail: "Sendmail", connected: socket.socket, door: int) -> None:
        super().__init__(sendmail.loop, connected)
        self.sendmail, self.door = sendmail, door
        self.lines: list[bytes] = []
        self._buffer, self._begun, self._text = b"", False, False

    def received(self, data: bytes) -> None:
        self._buffer += data
        if not self._begun and len(self._buffer) >= HEADER:
            self._begun, self._buffer = True, self._buffer[HEADER:]
            self.write(self.sendmail.greeting)
            if self.sendmail.greeting.startswith(b"421"):
                self.finish()
        while self._begun and b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._line(line + b"\n")

    def _line(self, line: bytes) -> None:
        if self._text:
            if line == b".\r\n":
                self._text = False
                self._whole()
            return
        self.lines.append(line)
        verb = line[:4].upper().strip()
        self._text = verb == b"DATA"
        usual = {b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n", b"EHLO": b"250-hello\r\n250 SIZE\r\n"}
        self.write(self.sendmail.replies.get(verb, usual.get(verb, b"250 ok\r\n")))
        if verb == b"QUIT":
            self.finish()

    def _whole(self) -> None:
        self.sendmail.messages += 1
        if self.door in TELLING:
            self.write(f"\1{ID}\n".encode())
        if not self.sendmail.holds:
            self.answer()

    def answer(self) -> None:
        self.write(f"250 2.0.0 {ID} Message accepted for delivery\r\n".encode())

    def ended(self) -> None:
        self.close()

    def lost(self) -> None: ...


class Sendmail:
    """Listens at all inner doors."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop, self.folder = loop, folder
        self.greeting = GREETING
        self.replies: dict[bytes, bytes] = {}
        self.holds = False
        self.messages = 0
        self.sessions: list[Session] = []
        self._doors: dict[int, socket.socket] = {}

    def listen(self) -> None:
        for number in INNER_DOORS:
            made = self._doors[number] = socket.socket(socket.AF_UNIX)
            made.bind(str(self.folder / f"door-{number}"))
            made.listen()
            self.loop.watch(made.fileno(), select.EPOLLIN, self._accepting(number))

    def _accepting(self, number: int) -> Callable[[int], None]:
        return lambda _: self.sessions.append(Session(self, self._doors[number].accept()[0], number))

    def stop(self) -> None:
        for number, made in self._doors.items():
            self.loop.forget(made.fileno())
            made.close()
            (self.folder / f"door-{number}").unlink()
        for each in self.sessions:
            each.close()
        self._doors.clear()

    def at(self, *doors: int) -> list[Session]:
        return [each for each in self.sessions if each.door in doors and each.lines]


class Client:
    """A client of the front's."""

    def __init__(self, world: "World") -> None:
        self.world, self.heard, self.over = world, b"", False
        self.socket = socket.create_connection(world.listener.getsockname(), 5)
        self.socket.setblocking(False)

    def read(self) -> bytes:
        try:
            while data := self.socket.recv(1 << 16):
                self.heard += data
            self.over = True
        except BlockingIOError:
            pass
        except OSError:
            self.over = True
        return self.heard

    def says(self, *lines: bytes) -> "Client":
        """Each line, once the one before is answered."""
        for line in lines:
            before = self.read().count(b"\n")
            self.socket.sendall(line)
            self.world.until(partial(self._has_heard, before + 1))
        return self

    def _has_heard(self, lines: int) -> bool:
        return self.read().count(b"\n") >= lines

    def hears(self, text: bytes) -> "Client":
        self.world.until(lambda: text in self.read())
        return self

    def message(self, domain: str = "one.example") -> "Client":
        self.says(MAIL, to(f"a@{domain}"), b"DATA\r\n")
        return self.says(b"Subject: x\r\n\r\nx\r\n.\r\n")


def with_deliveries(most: int | None) -> Bounds:
    return replace(BOUNDS, delivering=most, runs=most) if most else BOUNDS


class World:
    """A front, its sendmail, its clients."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.settings = folder, replace(SETTINGS, sendmail="/sendmail", env={process.LIMIT: "300"})
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.accepts = True
        self.log: list[str] = []
        self.spawned: list[list[str]] = []
        self.clients: list[Client] = []
        self.queue = folder / "mqueue"
        self.queue.mkdir()
        for name, value in {
            "CURRENT": folder, "FRONT": folder / "front", "PUT_OFF": folder / "put-off", "QUEUE": self.queue,
            "accepting": lambda: self.accepts,
            "tell": lambda level, text: self.log.append(parse_datagram(format_datagram(level, text), 0).text), "tell_as_sendmail": self.log.append,
        }.items():  # fmt: skip
            monkeypatch.setattr(process, name, value)
        for name in ("OUTCOMES", "RECEIVERS", "SLOWED"):
            monkeypatch.setattr(adapting, name, folder / name.lower())
        monkeypatch.setattr(adapting, "tell", lambda level, text: self.log.append(text))
        monkeypatch.setattr(pool, "SUPPRESSED", folder / "suppressed")
        monkeypatch.setattr(session, "inner_door", lambda number: folder / f"door-{number}")
        monkeypatch.setattr(told, "load", lambda path: self.settings)
        monkeypatch.setattr(bounds, "here", with_deliveries)
        monkeypatch.setattr(system, "spawn", self._spawn)
        self.program = ["/bin/true"]

    def _spawn(self, argv: list[str], env: Any, **given: Any) -> int:
        self.spawned.append(argv)
        if not self.program:
            raise CommandError("it can't be started")
        actions = [(os.POSIX_SPAWN_DUP2, given["output"], 1)] if "output" in given else []
        return os.posix_spawn(self.program[0], self.program, {}, file_actions=actions)

    def begin(self, *, listens: bool = True, **settings: Any) -> "World":
        self.settings = replace(self.settings, **settings)
        self.front = process.Front(self.listener, 200)
        self.sendmail = Sendmail(self.front.loop, self.folder)
        if listens:
            self.sendmail.listen()
            self.until(lambda: self.front._listening)
        return self

    def until(self, condition: Callable[[], Any], within: float = 8) -> None:
        """Let the loop go on until it is so."""
        loop, end = self.front.loop, time.monotonic() + within

        def look() -> None:
            if condition() or time.monotonic() > end:
                loop.running = False
            else:
                loop.at(loop.now + 0.002, look)

        loop.running, loop.now = True, time.monotonic()
        loop.at(loop.now, look)
        loop.run()
        assert condition()

    def counts(self, **wanted: int) -> None:
        """Wait until the pool counts so many."""
        self.until(lambda: wanted.items() <= self.front._figures().items())

    def later(self, seconds: float) -> None:
        """What is looked at every second, as it is so much later."""
        self.front.loop.now = time.monotonic() + seconds
        self.front._every_second()
        self.front.loop._times.clear()

    def connect(self) -> Client:
        self.clients.append(Client(self))
        return self.clients[-1]

    def client(self) -> Client:
        """One that was greeted."""
        return self.connect().hears(b"220 ")

    def ask(self) -> dict[str, int]:
        """What the front tells who asks."""
        with socket.socket(socket.AF_UNIX) as asks:
            asks.connect(str(self.folder / "front"))
            asks.setblocking(False)
            said: list[bytes] = []

            def heard() -> bool:
                try:
                    said.append(asks.recv(1 << 12))
                except BlockingIOError:
                    return False
                return True

            self.until(heard)
        found: dict[str, int] = json.loads(said[0])
        return found

    def end(self) -> None:
        self.listener.close()
        for one in self.clients:
            one.socket.close()
        self.sendmail.stop()
        for each in [*self.front._clients, *self.front.pool._all]:
            each.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    opened: list[socket.socket] = []

    class Noted(socket.socket):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            opened.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    made = World(tmp_path, monkeypatch)
    yield made
    made.end()
    for each in opened:  # a process closes what it has by its end
        each.close()
    os.close(signal.set_wakeup_fd(-1))
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def test_a_message_and_the_next_by_the_same_session(world: World) -> None:
    world.begin()
    client = world.client().says(b"EHLO app\r\n").message()
    assert b"1 Jan 2026" not in client.heard, "it greets with the time of now"
    assert f"{ID} Message accepted".encode() in client.heard
    world.counts(idle=1, busy=0, delivering=0)
    client.message()
    assert len(world.sendmail.at(NOW)) == 1
    assert world.sendmail.messages == 2
    client.says(b"NOOP\r\n", b"RSET\r\n", b"QUIT\r\n")
    world.until(lambda: client.over or (client.read() and client.over))
    assert b"221 2.0.0" in client.heard
    assert world.ask()["clients"] == 0


def test_a_delivery_of_which_nothing_came_is_slow_sooner(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    ended: list[tuple[str, float, str]] = []
    took = world.front.pool.delivered
    world.front.pool.delivered = lambda *given: ended.append(given)
    world.client().says(b"EHLO app\r\n").message()
    world.until(lambda: ended)
    assert ended[0][2] == ID
    monkeypatch.setattr(process, "QUEUE", tmp_path)
    (tmp_path / f"qf{ID}").write_text("")  # it still waits
    for domain, seconds, queue_id in (
        ("waits.example", 8.0, ID), ("went.example", 8.0, "other"), ("went-late.example", 10.0, "other"), ("fast.example", 7.4, ID),
        ("unknown.example", 8.0, ""),
    ):  # fmt: skip
        took(domain, seconds, queue_id)
    quick = [
        name
        for name in ("waits", "went", "went-late", "fast", "unknown")
        if world.front._runs.is_quick(f"{name}.example")
    ]
    assert quick == ["went", "fast"]


def test_it_answers_before_the_delivery_ends(world: World) -> None:
    world.begin()
    world.sendmail.holds = True
    client = world.client().says(b"EHLO app\r\n").message()
    world.counts(delivering=1, busy=0)
    client.message("two.example")
    assert len(world.sendmail.at(NOW)) == 2
    for each in world.sendmail.at(NOW):
        each.answer()
    world.counts(delivering=0, idle=2)


def test_a_session_whose_delivery_failed_is_not_used_again(world: World) -> None:
    world.begin()
    world.sendmail.holds = True
    world.client().says(b"EHLO app\r\n").message()
    failed = world.sendmail.at(NOW)[0]
    failed.write(b"\1\n")
    failed.answer()
    world.until(lambda: b"QUIT\r\n" in failed.lines)
    world.client().says(b"EHLO app\r\n").message()
    assert len(world.sendmail.at(NOW)) == 2


def test_where_deliveries_have_their_share_mail_goes_into_the_queue(world: World) -> None:
    world.begin()
    world.sendmail.holds = True
    for number in range(BOUNDS.delivering):
        world.client().says(b"EHLO app\r\n").message(f"{number}.example")
    world.client().says(b"EHLO app\r\n").message("last.example")
    assert len(world.sendmail.at(NOW)) == BOUNDS.delivering
    assert len(world.sendmail.at(QUEUE)) == 1
    world.until(lambda: world.spawned)
    assert world.spawned[0][-2:] == ["-qf", f"-qI{ID}"]


def test_the_queue_has_half_of_the_room_that_deliveries_leave(world: World) -> None:
    world.begin()
    assert world.front.pool.spare == 1  # of three
    world.front.pool.lent = lambda: BOUNDS.delivering
    world.client().says(b"EHLO app\r\n").message()
    assert len(world.sendmail.at(QUEUE)) == 1, "as much is under way as may be"


def test_a_crowded_domain_leaves_room_for_others(world: World) -> None:
    world.begin()
    world.sendmail.holds = True
    for _ in range(BOUNDS.domain):
        world.client().says(b"EHLO app\r\n").message("slow.example")
    world.client().says(b"EHLO app\r\n").message("slow.example")
    assert len(world.sendmail.at(NOW)) == BOUNDS.domain + 1, "it began there, and was said again elsewhere"
    world.counts(delivering=BOUNDS.domain + 1)
    world.front.pool.is_quick = lambda domain: False
    assert world.front.pool.is_crowded("slow.example")
    assert not world.front.pool.is_crowded("other.example")
    world.front.pool.is_quick = lambda domain: domain == "slow.example"
    assert not world.front.pool.is_crowded("slow.example")


def test_what_is_split_is_told_part_by_part(world: World) -> None:
    world.begin(split=True)
    client = world.client().says(b"EHLO app\r\n", MAIL, to("a@one.example"), to("b@two.example"), b"DATA\r\n")
    client.says(b"x\r\n.\r\n")
    assert len(world.sendmail.at(SPLIT)) == 1


def test_starttls_and_odd_commands_have_a_session_of_their_own(world: World) -> None:
    world.begin()
    world.client().says(b"EHLO app\r\n", b"VRFY app\r\n")
    world.counts(own=1)
    assert world.sendmail.at(BACKGROUND)[-1].lines[-1] == b"VRFY app\r\n"
    world.client().says(b"EHLO app\r\n", b"HELP\r\n")
    world.counts(own=BOUNDS.own)
    third = world.client().says(b"EHLO app\r\n")
    third.socket.sendall(b"HELP\r\n")
    world.counts(waiting=1)
    world.later(SLUGGISH + 1)
    world.until(lambda: third.read().count(b"250 ok") == 1)


def test_a_transparent_front_only_passes_on(world: World) -> None:
    world.begin(transparent=True)
    client = world.connect().hears(GREETING).says(b"EHLO app\r\n")
    world.counts(own=1, sessions=1)
    client.socket.shutdown(socket.SHUT_WR)
    world.counts(own=0, clients=0)


def test_sendmail_that_is_not_there_yet(world: World) -> None:
    world.begin(listens=False)
    assert not world.front._listening
    world.sendmail.listen()
    world.until(lambda: world.front._listening)
    world.client().says(b"EHLO app\r\n").message()
    world.sendmail.stop()
    again = world.client()
    again.socket.sendall(b"EHLO other\r\n")
    world.counts(waiting=1)
    world.sendmail.listen()
    again.hears(b"250 SIZE")


def test_a_sendmail_that_takes_nobody(world: World) -> None:
    world.begin(listens=False)
    world.sendmail.greeting = b"421 4.3.2 no\r\n"
    world.sendmail.listen()
    world.until(lambda: world.front._listening)
    client = world.connect().hears(b"421 4.3.2 no")
    world.until(lambda: client.read() and client.over)


def test_refused_commands(world: World) -> None:
    world.begin()
    world.sendmail.replies[b"EHLO"] = b"501 5.0.0 no\r\n"
    client = world.client().says(b"EHLO app\r\n").hears(b"501 5.0.0 no")
    world.sendmail.replies.clear()
    world.sendmail.replies[b"MAIL"] = b"550 5.1.0 no\r\n"
    client.says(b"EHLO app\r\n", MAIL).hears(b"550 5.1.0 no")
    world.counts(busy=0, idle=0)
    world.sendmail.replies.clear()
    client.message()
    assert client.heard.count(b"Message accepted") == 1


def test_who_may_come_in(world: World) -> None:
    world.begin(connections_per_client=2, connections_per_minute=None)
    first = world.client()
    world.client()
    refused = world.connect().hears(b"421 4.7.0 too many connections at once from 127.0.0.1")
    world.until(lambda: refused.read() and refused.over)
    assert "ruleset=check_relay, arg1=[127.0.0.1]" in world.log[0]
    # one that has been silent makes room
    world.front.loop.now = time.monotonic()
    for each in world.front._clients:
        each.spoke = world.front.loop.now - process.GRACE - 1
    world.front._silent_at -= 1  # it looks once a second
    world.client()
    world.until(lambda: b"421 4.4.2" in first.read() or len(world.front._clients) == 2)


def test_those_who_can_not_come_in_do_not_have_all_others_looked_at_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin(connections_per_client=2, connections_per_minute=None)
    looks: list[client_side.Client] = []
    monkeypatch.setattr(process, "_is_silent", looks.append)
    for _ in range(2):
        world.client()
    world.front._silent_at = world.front.loop.now + 7  # this second takes until then
    world.front._silent = {}
    for _ in range(5):
        world.connect().hears(b"421 4.7.0 too many connections at once")
    assert not looks
    world.front._silent_at -= 8
    world.connect().hears(b"421 4.7.0 too many connections at once")
    assert len(looks) == 3, "two, and the one that has just come"


def test_clients_that_say_the_same_need_one_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "AT_ONCE", 1)
    world.begin()
    world.sendmail.replies[b"EHLO"] = b""

    def saying(line: bytes) -> list[Session]:
        return [each for each in world.sendmail.sessions if line in each.lines]

    first = world.client()
    first.socket.sendall(b"EHLO app\r\n")
    world.until(lambda: saying(b"EHLO app\r\n"))
    others, same = [[world.client() for _ in range(2)] for _ in range(2)]
    for number, each in enumerate((*others, *same), 1):
        each.socket.sendall(b"EHLO app\r\n" if each in same else b"EHLO other-%d\r\n" % number)
        world.counts(waiting=number)
    saying(b"EHLO app\r\n")[0].write(b"250-hello\r\n250 SIZE\r\n")
    for each in (first, *same):
        each.hears(b"250 SIZE")
    world.until(lambda: saying(b"EHLO other-1\r\n"))
    assert len(saying(b"EHLO app\r\n")) == 1
    # each of them has one turn for what it says next
    for number, each in enumerate(same, 2):
        each.socket.sendall(MAIL)
        world.counts(waiting=number)
    monkeypatch.setattr(pool, "AT_ONCE", 12)
    world.sendmail.replies.clear()
    saying(b"EHLO other-1\r\n")[0].write(b"250-hello\r\n250 SIZE\r\n")
    for each in same:
        each.hears(b"250 ok")
    world.counts(waiting=0, busy=2)
    assert len(saying(MAIL)) == 2


def test_a_minute_a_drain_and_a_crowd(world: World) -> None:
    world.begin(connections_per_client=None, connections_per_minute=2)
    for _ in range(2):
        world.client()
    world.connect().hears(
        b"421 4.7.0 too many connections in a minute from 127.0.0.1: limits.connections_per_minute is 2"
    )
    world.settings = replace(world.settings, connections_per_minute=None)
    world.front._reload()
    world.until(world.front._greeting.text)
    while len(world.front._clients) < BOUNDS.clients * 3 // 4:
        world.client()
    world.connect().hears(b"421 4.3.2 too many connections at once, all clients together")
    world.accepts = False
    world.connect().hears(process.DRAINED.encode())


def test_a_reload_may_change_how_much_is_under_way(world: World) -> None:
    world.begin(concurrency=40)
    assert world.front.pool.bounds.delivering == 40
    world.settings = replace(world.settings, concurrency=8)
    world.front._reload()
    assert world.front.pool.bounds.delivering == 8
    assert world.front._runs.most == 8


def test_no_descriptors_for_a_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin()

    class Full:
        def accept(self) -> Any:
            raise OSError(errno.EMFILE, "too many open files")

        def fileno(self) -> int:
            return world.listener.fileno()

        def setblocking(self, flag: bool) -> None: ...

    monkeypatch.setattr(world.front, "_listener", Full())
    world.front._accept(0)
    assert not world.front._listening
    world.until(lambda: world.front._listening)
    monkeypatch.setattr(world.front, "_listener", world.listener)
    world.client()


def test_silence_has_an_end(world: World) -> None:
    world.begin(idle=60.0)
    client = world.client().says(b"EHLO app\r\n")
    world.later(59)
    assert len(world.front._clients) == 1
    world.later(61)
    client.hears(b"421 4.4.2 mail.example.com timeout waiting for input from [127.0.0.1]")


def test_sessions_go_after_a_while(world: World) -> None:
    world.begin()
    client = world.client().says(b"EHLO app\r\n").message()
    world.counts(idle=1)
    world.later(IDLE - 5)
    world.counts(idle=1)
    world.later(IDLE + 1)
    world.counts(idle=0)
    world.counts(sessions=0)
    client.message()
    world.counts(idle=1)
    (one,) = world.front.pool._all
    one.born -= AGE + 1
    client.message()
    world.counts(idle=0, sessions=0)
    world.settings = replace(world.settings, reuses=False)
    world.front._reload()
    client.message()
    world.counts(idle=0, sessions=0)


def test_a_map_that_changed_ends_what_has_the_old_one_open(world: World) -> None:
    world.begin()
    client = world.client().says(b"EHLO app\r\n").message()
    world.counts(idle=1)
    (world.folder / "suppressed.db").write_text("")
    client.message()
    assert len(world.sendmail.at(NOW)) == 2


def test_an_idle_session_makes_room_for_another(world: World) -> None:
    world.begin()
    for number in range(BOUNDS.sessions + 2):
        world.client().says(f"EHLO app{number}\r\n".encode()).message()
    assert world.front._figures()["sessions"] <= BOUNDS.sessions


def test_a_stop_lets_a_transaction_end(world: World) -> None:
    world.begin()
    idle = world.client().says(b"EHLO app\r\n")
    busy = world.client().says(b"EHLO app\r\n", MAIL)
    os.kill(os.getpid(), signal.SIGTERM)
    world.until(lambda: idle.read() and idle.over)
    assert not busy.over
    busy.says(to("a@one.example"), b"DATA\r\n").says(b"x\r\n.\r\n")
    world.front._every_second()
    world.until(lambda: not world.front._clients)
    assert b"Message accepted" in busy.read()


def test_a_reload_reads_the_settings(world: World) -> None:
    world.begin()
    world.client().says(b"EHLO app\r\n").message()
    world.settings = replace(world.settings, hostname="other.example")
    os.kill(os.getpid(), signal.SIGHUP)
    world.until(lambda: world.front.settings.hostname == "other.example")
    world.counts(idle=0)


def test_what_a_listener_of_sendmail_s_puts_off(world: World) -> None:
    world.begin()
    (world.queue / f"qf{ID}").write_text(
        "V8\nT1\nK0\nN0\nP1\nS<app@example.com>\nrRFC822; a@one.example\nRPFD:<a@one.example>\n.\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as tells:
        tells.connect(str(world.folder / "put-off"))
        tells.send(f"{ID} 5BBBBBBBBBBBBBBB".encode())
        world.until(lambda: world.spawned)
    assert world.spawned[0][-1] == f"-qI{ID}"
    # the run leaves it as it was, as where another process still held it: it is run again
    world.until(lambda: len(world.spawned) > 1)
    (world.queue / f"qf{ID}").unlink()
    world.counts(runs=0, put_off=0)


def test_a_run_that_can_not_be_started(world: World) -> None:
    world.begin()
    world.program = []
    world.front._put_off(ID, ["one.example"])
    world.counts(runs=0, put_off=0)
    (world.queue / f"qf{ID}").write_text("x")
    world.front._look_for_due()
    assert "the queue can't be looked at" in world.log[-1]


def test_what_is_due_is_run(world: World) -> None:
    world.begin()
    world.front._look_for_due()
    assert world.spawned == [], "nothing waits"
    (world.queue / f"qf{ID}").write_text("x")
    world.program = ["/bin/echo", f"{ID} one.example\nTraceback: x"]
    world.front._look_for_due()
    world.until(lambda: len(world.spawned) > 1)
    assert world.spawned[0][1:3] == ["-m", "postroad.front.due"]
    assert world.spawned[1][-1] == f"-qI{ID}"
    assert world.log == ["front: the queue can't be looked at: Traceback: x"]
    world.counts(runs=0)


def test_an_error_of_ours_is_told_and_harms_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin()
    client = world.client()

    def broken(self: object) -> None:
        raise ZeroDivisionError("division")

    with monkeypatch.context() as patched:
        patched.setattr(client_side.Client, "_run", broken)
        client.socket.sendall(b"EHLO app\r\n")
        world.until(lambda: client.read() and client.over)
    assert world.log[0].startswith("front: ZeroDivisionError: division (test_front_process.py:")
    world.client().says(b"EHLO app\r\n").message()


def test_a_client_that_does_not_read_is_not_read(world: World) -> None:
    ours, theirs = socket.socketpair()
    loop = Loop()
    got: list[bytes] = []

    class Kept(Stream):
        def received(self, data: bytes) -> None:
            got.append(data)

        def ended(self) -> None: ...

        def lost(self) -> None: ...

    here, there = socket.socketpair()
    sink, source = Kept(loop, ours), Kept(loop, here)
    text = bytes(1 << 20)
    sink.write(text)
    assert sink.full
    sink.hold_back(source)
    assert not source._reading
    sink.finish()
    read = 0
    theirs.setblocking(False)
    while not sink.closed:
        with suppress(BlockingIOError):
            read += len(theirs.recv(1 << 20))
        sink._event(select.EPOLLOUT)
    read += len(theirs.recv(1 << 20))
    theirs.close()
    there.close()
    source.close()
    assert read == len(text)
    assert source._reading, "it is read again"
    world.begin(listens=False)


def test_the_header_says_who_the_client_is() -> None:
    made = header(("192.0.2.1", 1025), ("192.0.2.2", 25), inet6=False, tell=True)
    assert len(made) == HEADER
    assert made[:12] == b"postroad\x01\0\0\0"
    assert made[16:24] == b"\x02\0\x04\x01\xc0\0\x02\x01"
    six = header(("192.0.2.1", 1025), ("2001:db8::1", 25), inet6=True, tell=False)
    assert six[8:12] == bytes(4)
    assert socket.inet_ntop(socket.AF_INET6, six[24:40]) == "::ffff:192.0.2.1"
    assert socket.inet_ntop(socket.AF_INET6, six[24 + SOCKADDR : 40 + SOCKADDR]) == "2001:db8::1"


def test_the_time_in_a_greeting() -> None:
    assert greeting._date(0) == b"Thu, 1 Jan 1970 00:00:00 +0000"
    assert greeting._date(1_798_678_799) == b"Thu, 31 Dec 2026 00:59:59 +0000"


def test_stages_in_which_nobody_is_silent(world: World) -> None:
    world.begin()
    world.sendmail.replies[b"MAIL"] = b""
    client = world.client().says(b"EHLO app\r\n")
    client.socket.sendall(MAIL)
    world.counts(busy=1)
    (one,) = world.front._clients
    one.stage = ClientStage.WAITING
    assert one.silence() == 0
    one.cut()
    assert not one.closed


# --- receivers that ask for less


def outcome(world: World, *failures: tuple[str, str, str], took: tuple[str, str] | None = None) -> None:
    """What PID 1 tells of attempts: (MX host, domain, reply) of those that failed."""
    data = outcomes.write(
        [outcomes.Taken(*took, 1, 0.0)] if took else [],
        [outcomes.Failure("deferred", host, domain, None, reply, None, 0.0) for host, domain, reply in failures],
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(data, str(world.folder / "outcomes"))


BLOCKS = ("mx1.rcpt.example", "one.example", "421 4.7.0 temporarily blocked: go away")


def test_mail_for_a_receiver_that_blocks_waits_and_other_mail_does_not(world: World) -> None:
    world.begin()
    outcome(world, took=("mx2.rcpt.example", "two.example"))
    outcome(world, BLOCKS)
    world.until(lambda: world.log)
    kind, fields = world.log[0].split(" ", 1)
    said = json.loads(fields)
    assert (kind, said["receiver"], said["reason"], said["reply"]) == ("paused", "rcpt.example", "blocked", BLOCKS[2])
    assert said["until"] > "2026"
    assert (world.folder / "slowed").exists()
    world.client().says(b"EHLO app\r\n").message("two.example").hears(ID.encode())
    world.client().says(b"EHLO app\r\n").message("other.example").hears(ID.encode())
    doors = {to(f"a@{domain}.example"): door for domain, door in (("two", AGAIN), ("other", NOW))}
    assert {line: each.door for each in world.sendmail.sessions for line in each.lines if line in doors} == doors
    world.later(1)
    assert not world.spawned
    assert world.front._figures()["put_off"] == 1


def test_a_paused_receiver_is_tried_with_one_message_and_then_gets_a_little(world: World) -> None:
    world.begin()
    outcome(world, BLOCKS)
    world.until(lambda: world.log)
    for i in range(5):
        world.front._put_off(f"5AAAAAAAAAAAAAA{i}", ["one.example"])
    world.later(1)
    assert not world.spawned
    world.later(601)
    assert [sum(word.startswith("-qI") for word in argv) for argv in world.spawned] == [1]
    world.front._adapting.receivers._receivers["rcpt.example"]._paused -= 600  # as long ago as the test says
    outcome(world, took=("mx1.rcpt.example", "one.example"))
    world.until(lambda: len(world.log) > 1)
    assert world.log[1].startswith('resumed {"receiver": "rcpt.example", "lasted": ')


@pytest.mark.parametrize(
    ("second", "again"),
    [
        ("450 4.7.1 too many messages, slow down", True),
        ("452 4.2.2 mailbox full", False),
        ("450 4.2.0 greylisted, come back later", False),
    ],
)
def test_what_a_slowed_receiver_puts_off_waits_for_its_turn_and_not_for_retry(
    world: World, second: str, again: bool
) -> None:
    world.begin()
    outcome(world, ("mx1.rcpt.example", "one.example", "450 4.7.1 too many messages, slow down"))
    world.until(lambda: world.log)
    assert world.log[0].startswith("slowed ")
    (world.queue / f"qf{ID}").write_text("V8\nN1\nK1\nS<a@b.example>\nRPFD:<u@one.example>\n.\n")
    world.front._put_off(ID, ["one.example"])
    world.until(lambda: len(world.spawned) == 1 and not world.front._runs.running)
    outcome(world, ("mx1.rcpt.example", "one.example", second))
    outcome(world, took=("mx.heard.example", "heard.example"))
    world.until(lambda: world.front._adapting.receivers.name("heard.example"))
    now = world.front.loop.now
    (soon,) = [each for then, *_, each in world.front.loop._times if process.SOON - 2 < then - now <= process.SOON]
    soon()
    world.later(3)
    assert len(world.spawned) == 1 + again


def test_a_restart_remembers_it_and_a_reload_may_forget_it(world: World) -> None:
    world.begin()
    outcome(world, BLOCKS)
    world.until(lambda: world.log)
    world.front.loop.forget(world.front._adapting._socket.fileno())
    world.front._adapting._socket.close()
    again = adapting.Adapting(Loop(), world.front.pool, enabled=True)
    assert again.receivers.is_held("one.example")
    again.enable(False)
    assert not again.receivers.is_held("one.example")
    assert not (world.folder / "slowed").exists()
    assert json.loads((world.folder / "receivers").read_text()) == []
    again._socket.close()


def test_turned_off_it_treats_all_alike(world: World) -> None:
    world.begin(adaptive=False)
    outcome(world, BLOCKS)
    world.until(lambda: not world.front.pool.is_held("one.example"))
    world.later(1)
    assert not world.log
    assert not (world.folder / "slowed").exists()


def test_a_volume_that_takes_nothing_is_told_of_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin()
    monkeypatch.setattr(adapting, "RECEIVERS", world.folder / "front" / "receivers")
    outcome(world, BLOCKS)
    world.until(lambda: len(world.log) > 1)
    assert "after a restart, receivers have to ask for less again" in world.log[1]
    world.later(20)
    assert len(world.log) == 2


@pytest.mark.parametrize("data", [b"", b"[]", b"[[[]], []]", b"\xff", b"[[], [[1, 2]]]"])
def test_what_is_no_outcome_is_passed_over(world: World, data: bytes) -> None:
    world.begin()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(data, str(world.folder / "outcomes"))
    outcome(world, BLOCKS)
    world.until(lambda: world.log)
    assert world.log[0].startswith("paused ")
