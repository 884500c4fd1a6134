"""The front's process. Its standard input is the listening socket, which PID 1 keeps open over its restarts."""

import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from functools import partial

from postroad import sockets, system
from postroad.errors import CommandError
from postroad.front import addresses
from postroad.front.adapting import Adapting
from postroad.front.client import Client, ClientStage
from postroad.front.due import LATE
from postroad.front.greeting import Greeting
from postroad.front.limits import ConnectionCounts
from postroad.front.loop import Loop, process_ended
from postroad.front.pool import Pool
from postroad.front.runs import LONG, SLOW, Run, Runs
from postroad.runtime import bounds
from postroad.runtime import front as told
from postroad.runtime.acceptance import accepting
from postroad.runtime.log import tell, tell_as_sendmail
from postroad.runtime.paths import CURRENT, FRONT, PUT_OFF, QUEUE
from postroad.runtime.refusals import DRAINING
from postroad.sendmail import queue

GRACE = 10.0
"""Seconds that a client may say nothing where others wait for its place, and it has sent no mail yet."""
MARGIN = 30.0
"""Likewise for a client whose session is its own, of which nothing is read here; and seconds that it may be silent
above ``limits.idle``: sendmail, which says so in words, is the first to notice."""
AT_ONCE = 64
"""Connections that are accepted in a row."""
SOON = 30.0
"""Seconds after which messages that a receiver has put off while it gets less wait for their turn again."""
HELD = 0.2
"""Seconds after which a run is started again for messages that were held by the process that wrote them."""
LIMIT = "POSTROAD_ATTEMPT_TIMEOUT"
"""What tells a run how long an attempt may take, in seconds (preload/attempts.c)."""
PROBE = round(SLOW)
"""Seconds for an attempt with a receiver of which nothing is known, where mail for others waits, too."""
SHORTEST = 14
"""Characters of sendmail's queue ids, and more."""
OTHERS = 32
"""Descriptors for runs of the queue, and for all that is neither a client nor a session."""
SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
QUIET = 1.0
"""Seconds of silence after which a stop ends a client between transactions, as with sendmail's own sessions."""
LOOK = 0.05
"""Seconds between two looks at whether all are gone."""
DRAINED = f"421 4.3.2 {DRAINING}"


class Front:
    """Clients on one side, sendmail's sessions on the other."""

    def __init__(self, listener: socket.socket, descriptors: int) -> None:
        """Read the settings, and begin to learn what sendmail greets with.

        Args:
            listener: the listening socket.
            descriptors: how many this process may have.

        Raises:
            OSError: the settings can't be read, or the socket that tells of the front can't be made.
        """
        self.loop = Loop()
        self.loop.failed = _report
        self.settings = told.load(CURRENT / told.FILE)
        self.pool = Pool(self.loop, self.settings, bounds.here(self.settings.concurrency))
        self._listener = listener
        # whoever is in must be able to send: sessions, runs of the queue and all else have descriptors left
        self._most_clients = max(descriptors // 2, descriptors - self.pool.bounds.sessions - 2 * OTHERS)
        self._listening = False
        self._stopping = False
        self._patience = QUIET
        self._looking = False
        self._counts = ConnectionCounts()
        self._clients: set[Client] = set()
        self._silent: dict[str, list[Client]] = {}
        """Those that may have to make room, by address and all together (""), the longest silent one last."""
        self._silent_at = self.loop.now - 1
        self._adapting = Adapting(self.loop, self.pool, enabled=self.settings.adaptive)
        limits = self._adapting.receivers
        self._runs = Runs(self.pool.bounds.runs, self._start_run, lambda: self.pool.spare, limits)
        self._adapting.waits_for = self._runs.waits_for
        self.pool.sent = self._counts.sent
        self.pool.is_held = limits.is_held
        self.pool.room = self._fill
        self.pool.delivered, self.pool.delivering_for = self._delivered, self._runs.so_far
        self.pool.is_quick = self._runs.is_quick
        self.pool.lent = lambda: self._runs.borrowed
        self._greeting = Greeting(self.loop, self.pool, self._listen)
        self._signals()
        self._tell_who_asks()
        self._hear_what_is_put_off()
        self._greeting.ask()
        self.loop.at(self.loop.now + 1, self._every_second)
        self.loop.at(self.loop.now + 1, partial(self._look_for_due, "untried"))

    # --- clients

    def _listen(self) -> None:
        if not self._listening and not self._stopping:
            self._listening = True
            self._listener.setblocking(False)
            self.loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        for _number in range(AT_ONCE):
            if len(self._clients) >= self._most_clients and not self._make_room():
                self._pause()
                return
            try:
                connected, name = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SCARCE:
                    self._pause()
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                local = addresses.peer(connected.getsockname())
            except OSError:
                connected.close()
                continue
            self._welcome(connected, addresses.peer(name), local)

    def _pause(self) -> None:
        """Let connections wait in the kernel for a moment: there are no descriptors for them, or no memory."""
        if not self._listening:
            return
        self._listening = False
        self.loop.forget(self._listener.fileno())
        self.loop.at(self.loop.now + 0.2, self._listen)

    def _welcome(self, connected: socket.socket, peer: tuple[str, int], local: tuple[str, int]) -> None:
        addr = peer[0]
        client = Client(self.loop, connected, self.pool, peer, local, gone=self._gone, put_off=self._put_off)
        self._clients.add(client)
        refusal = self._refusal(addr, *self._counts.begin(addr, self.loop.now))
        greeting = self._greeting.text()
        if refusal:
            self._tell_of(addr, refusal)
            client.turn_away(refusal.encode() + b"\r\n")
        elif self.settings.transparent or greeting is None:
            client.hand_over()
        else:
            client.greet(greeting)

    def _refusal(self, addr: str, now: int, lately: int) -> str:
        """Why the client can't come in, in the words of sendmail's own listeners; empty: it can."""
        most, most_lately = self.settings.connections_per_client, self.settings.connections_per_minute
        shown = addresses.as_sendmail(addr)
        if not accepting():
            return DRAINED
        if most is not None and now > most and not self._make_room(addr):
            return f"421 4.7.0 too many connections at once from {shown}: limits.connections_per_client is {most}"
        capacity = min(self.pool.bounds.clients, self._most_clients)
        if len(self._clients) > capacity * 3 // 4:
            share = capacity if self._counts.has_sent(addr) else capacity * 3 // 4
            if len(self._clients) > share and not self._make_room():
                return "421 4.3.2 too many connections at once, all clients together: try again later"
        if most_lately is not None and lately > most_lately:
            key = "limits.connections_per_minute"
            return f"421 4.7.0 too many connections in a minute from {shown}: {key} is {most_lately}"
        return ""

    def _make_room(self, addr: str = "") -> bool:
        """End the connection, of this address or any, that has been silent for longest and has sent no mail."""
        if self.loop.now >= self._silent_at + 1:  # to look at thousands for each that comes would take all the time
            self._silent_at = self.loop.now
            self._silent = {}
            for client in sorted(filter(_is_silent, self._clients), key=Client.silence):
                for whose in ("", client.addr):
                    self._silent.setdefault(whose, []).append(client)
        silent = self._silent.get(addr, [])
        while silent:
            longest = silent.pop()
            if not longest.closed and _is_silent(longest):
                longest.cut("closing connection: it has sent no mail, and others wait for its place")
                longest.close()
                return True
        return False

    def _tell_of(self, addr: str, refusal: str) -> None:
        shown = addresses.as_sendmail(addr)
        tell_as_sendmail(f"ruleset=check_relay, arg1=[{shown}], arg2={shown}, relay=[{shown}], reject={refusal}")

    def _gone(self, client: Client) -> None:
        self._clients.discard(client)
        self._counts.end(client.addr)

    def _every_second(self) -> None:
        self.loop.at(self.loop.now + 1, self._every_second)
        self.pool.sweep()
        self._counts.forget(self.loop.now)
        for client in tuple(self._clients):
            margin = MARGIN if client.stage is ClientStage.OWN else 0.0
            if client.silence() > self.settings.idle + margin:
                client.cut()
        self._adapting.tick()
        self._runs.fill(self.loop.now)

    # --- what there was no room for

    def _put_off(self, queue_id: str, domains: list[str]) -> None:
        if not domains:
            message = queue.read(QUEUE / f"qf{queue_id}")
            if message is None:  # it has gone, or is for a route with limits, and in a folder of its own
                return
            domains = sorted(message.domains)
        self._runs.add(queue_id, self._held_first(domains), self.loop.now)

    def _held_first(self, domains: list[str]) -> list[str]:
        """The domains, one first whose receiver gets less, if there is any: its limits count for the message."""
        return sorted(domains, key=lambda domain: not self.pool.is_held(domain))

    def _hear_what_is_put_off(self) -> None:
        """Messages that came in by a listener of sendmail's own, when too many were being delivered."""
        told = sockets.bound(PUT_OFF, socket.SOCK_DGRAM)

        def hear(_: int) -> None:
            with suppress(BlockingIOError):
                while True:
                    for queue_id in told.recv(1024).decode("ascii", "replace").split():
                        self._put_off(queue_id, [])

        self.loop.watch(told.fileno(), select.EPOLLIN, hear)

    def _delivered(self, domain: str, seconds: float, queue_id: str) -> None:
        helped = seconds >= SLOW and bool(queue_id) and not (QUEUE / f"qf{queue_id}").exists()
        self._runs.took(domain, seconds, LONG if helped else SLOW)

    def _fill(self) -> None:
        if self._runs.waiting:
            self._runs.fill(self.loop.now)

    def _start_run(self, run: Run) -> bool:
        """Have sendmail try these messages once; it leaves those that another process has."""
        which = [f"-qI{each}" for each in run.ids]
        argv = [self.settings.sendmail, "-C", str(CURRENT / "sendmail.cf"), "-qf", *which]
        env = self.settings.env
        if run.probes and int(env[LIMIT]) > PROBE:
            env = env | {LIMIT: str(PROBE)}
        try:
            pid = system.spawn(argv, env, quiet=True)
        except CommandError:
            return False  # they are due again when the queue is looked at next
        process_ended(self.loop, pid, lambda: self._run_ended(run))
        return True

    def _run_ended(self, run: Run) -> None:
        left = self._runs.passed_over(run, _is_untouched)
        self._runs.ended(run, self.loop.now, helped=not all((QUEUE / f"qf{each}").exists() for each in run.ids))

        def again(ids: list[str]) -> None:
            for queue_id in ids:
                self._runs.add(queue_id, [run.domain], self.loop.now)

        if left:
            self.loop.at(self.loop.now + HELD, partial(again, left))

        def soon() -> None:
            # only now, as the outcomes may be told after the end of the run
            if self._adapting.receivers.comes_again_soon(run.domain, run.began):
                again([each for each in run.ids if each not in left and (QUEUE / f"qf{each}").exists()])

        if not run.whole:
            self.loop.at(self.loop.now + SOON, soon)

    # --- what is to be tried again

    def _look_for_due(self, *more: str) -> None:
        """Have a process read the queue, and see to what it says is due; do so again and again."""
        self.loop.at(self.loop.now + self.settings.retry, self._look_for_due)
        if self._looking or self._stopping or not _any_waits():
            return
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(writer, True)
        tell_after = ",".join(map(str, self.settings.tell))
        argv = [sys.executable, "-m", "postroad.front.due", str(self.settings.retry), tell_after, *more]
        try:
            pid = system.spawn(argv, dict(os.environ), output=writer)
        except CommandError as error:
            os.close(reader)
            tell("err", f"front: the queue can't be looked at: {error}")
            return
        finally:
            os.close(writer)
        self._looking = True
        said: list[bytes] = []

        def read(_: int) -> None:
            if data := os.read(reader, 1 << 16):
                said.append(data)
                return
            self.loop.forget(reader)
            os.close(reader)
            self._looking = False
            due = _due(b"".join(said).decode("ascii", "replace"))
            late = [(each, self._held_first(domains)[0]) for each, domains, is_late in due if is_late]
            self._runs.late([each for each in late if self.pool.is_held(each[1])])
            self._runs.due([(each, self._held_first(domains)[0]) for each, domains, _ in due], self.loop.now)

        self.loop.watch(reader, select.EPOLLIN, read)
        process_ended(self.loop, pid, lambda: None)

    # --- signals, and who asks

    def _signals(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

        def came(_: int) -> None:
            for number in os.read(reader, 64):
                if number == signal.SIGHUP:
                    self._reload()
                else:
                    self._stop()

        self.loop.watch(reader, select.EPOLLIN, came)

    def _reload(self) -> None:
        self.settings = self.pool.settings = told.load(CURRENT / told.FILE)
        self.pool.bounds = bounds.here(self.settings.concurrency)
        self._runs.most = self.pool.bounds.runs
        self._adapting.enable(self.settings.adaptive)
        self.pool.flush()
        self._greeting.ask()

    def _stop(self) -> None:
        """Take no more clients, and let those who are in hand over a message; the second time only finish it."""
        if self._stopping:
            self._patience = 0.0
            self.pool.flush()
        else:
            self._stopping = True
            self._close()
        self._may_stop()

    def _close(self) -> None:
        """Refuse further connections at once, so that clients try another relay of the same name."""
        if self._listening:
            self._accept(0)  # who has connected already
            self._listening = False
            self.loop.forget(self._listener.fileno())
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # whoever else has the socket

    def _may_stop(self) -> None:
        for client in tuple(self._clients):
            if client.stage is ClientStage.IDLE and client.silence() >= self._patience:
                client.finish()  # without a word, as sendmail does it
        if not self._clients:
            self.loop.running = False
        else:
            self.loop.at(self.loop.now + LOOK, self._may_stop)

    def _tell_who_asks(self) -> None:
        asked = sockets.listening(FRONT)

        def tell(_: int) -> None:
            try:
                who, _name = asked.accept()
            except OSError:
                return
            with who:
                who.setblocking(False)
                text = json.dumps(self._figures()) + "\n"
                try:
                    who.send(text.encode())
                except OSError:
                    return

        self.loop.watch(asked.fileno(), select.EPOLLIN, tell)

    def _figures(self) -> dict[str, int]:
        runs = {"runs": len(self._runs.running), "put_off": self._runs.waiting}
        return {"clients": len(self._clients)} | self.pool.counts | runs


def _is_silent(client: Client) -> bool:
    """Whether it has sent no mail, and has said nothing for so long that others may have its place."""
    return not client.has_sent and client.silence() > (MARGIN if client.stage is ClientStage.OWN else GRACE)


def _is_untouched(queue_id: str) -> bool:
    message = queue.read(QUEUE / f"qf{queue_id}")
    return message is not None and not message.attempts


def _any_waits() -> bool:
    with os.scandir(QUEUE) as entries:
        return any(entry.name.startswith("qf") for entry in entries)


def _due(said: str) -> list[tuple[str, list[str], bool]]:
    """What ``postroad.front.due`` printed; whatever else stands there, of a failure, is told."""
    found = []
    for line in said.splitlines():
        queue_id, space, domains = line.removeprefix(LATE).partition(" ")
        if space and queue_id.isalnum() and len(queue_id) >= SHORTEST:
            found.append((queue_id, domains.split(" "), line.startswith(LATE)))
        else:
            tell("err", f"front: the queue can't be looked at: {line}")
    return found


def _report(error: Exception) -> None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    tell("err", f"front: {type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})")


def main() -> int:
    """Serve until told to stop."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    front = Front(socket.socket(fileno=0), most)
    front.loop.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
