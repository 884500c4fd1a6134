"""Sendmail's sessions: who gets one, how many there are, and when one goes."""

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

from postroad import system
from postroad.front.loop import Loop
from postroad.front.session import Key, SendmailSession, SessionState, SessionUser, connect, header
from postroad.runtime.bounds import Bounds
from postroad.runtime.front import BACKGROUND, NOW, QUEUE, TELLING, Settings
from postroad.runtime.paths import SUPPRESSED

IDLE = 20.0
"""Seconds that a session waits for its next transaction, and with it the connections to receivers that it holds."""
AGE = 300.0
"""Seconds that a session is used again: longer, it would remember receivers that failed, and an old certificate."""
USES = 200
AT_ONCE = 12
"""Clients that are served at once while others wait: more would only take longer, each of them."""
BRISK = 0.5
"""Seconds without an octet after which a client does not count towards them."""
SLUGGISH = 30.0
"""Seconds likewise after which a client gives up its session, where all are taken and others wait."""
RETRY = 0.05
"""Seconds after which an inner door that was closed is tried again: sendmail's daemon starts anew at each reload."""
NAMES = 1000
"""Answers to HELO that are remembered."""


class Wants(Enum):
    """What a client needs a session for."""

    HELO = auto()
    MAIL = auto()
    OWN = auto()


class WaitingClient(SessionUser, Protocol):
    """A client, as the pool sees it."""

    wants: Wants | None
    """None: nothing any more."""
    fresh: bool
    """Whether only a new session will do."""
    addr: str
    peer: tuple[str, int]
    local: tuple[str, int]
    active: float
    door: int
    """The only inner door that will do; 0: any."""
    crowded: bool
    """Whether its message is to go into the queue: its receiver has its share of the sessions."""

    @property
    def helo_wanted(self) -> bytes:
        """The line that its session has to begin with; empty: none."""

    def lease(self, session: SendmailSession, *, opened: bool) -> None:
        """Take a session; one that is not ``opened`` yet tells when it is."""

    def greeted(self, answer: bytes) -> None:
        """Take the answer to HELO that it waits for: sendmail has just given it to another client of this address."""

    def cut(self) -> None:
        """Give up the session: it is for somebody else."""


class Pool:
    """All sessions, and the clients that wait for one."""

    def __init__(self, loop: Loop, settings: Settings, bounds: Bounds) -> None:
        """Begin without any."""
        self.settings = settings
        self.bounds = bounds
        self.generation = 0
        self._map, self._map_was = SUPPRESSED.with_suffix(".db"), (0, 0)
        self._loop = loop
        self._idle: dict[Key, list[SendmailSession]] = {}
        self._all: set[SendmailSession] = set()
        self._busy: set[SendmailSession] = set()
        self._waiting: deque[WaitingClient] = deque()
        self._waiting_own: deque[WaitingClient] = deque()  # for a session of their own: they stand in nobody else's way
        self._down = False
        self.delivering = 0
        self.own = 0
        self.started = 0
        self._names: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self.delivered: Callable[[str, float, str], None] = lambda *_: None
        """Called with the domain and the seconds of a delivery that has ended, and the id of the message, if known."""
        self.delivering_for: Callable[[str, float], None] = lambda *_: None
        """Called likewise, every second, for each delivery that has not ended."""
        self.sent: Callable[[str], None] = lambda _: None
        """Called with the address of a client whose message was accepted."""
        self.is_quick: Callable[[str], bool] = lambda _: False
        """Whether a domain has lately taken mail quickly."""
        self.is_held: Callable[[str], bool] = lambda _: False
        """Whether the receiver of a domain's mail has asked for less."""
        self.room: Callable[[], None] = lambda: None
        """Called when a delivery has ended."""
        self.lent: Callable[[], int] = lambda: 0
        """How many runs of the queue there are in the room of deliveries."""

    # --- clients

    def want(self, client: WaitingClient) -> None:
        """Give the client a session, in its turn."""
        waiting = self._waiting_own if client.wants is Wants.OWN else self._waiting
        waiting.append(client)
        if len(waiting) == 1:
            self.serve()

    def serve(self) -> None:
        """Give sessions to waiting clients, as far as there are sessions."""
        for waiting in (self._waiting, self._waiting_own):
            while waiting:
                client = waiting[0]
                if client.wants is not None and not self._give(client):
                    break
                waiting.popleft()

    def name(self, addr: str, helo: bytes) -> bytes | None:
        """The answer that sendmail gave to this line from this address before; None: not known."""
        return self._names.get((addr, helo))

    def _give(self, client: WaitingClient) -> bool:
        own = client.wants is Wants.OWN
        self._look_at_lists()
        if not (self.own < self.bounds.own if own else self._may_begin()):
            return False
        number = BACKGROUND if own else client.door or (QUEUE if client.crowded else self._door())
        key = (client.addr, client.helo_wanted, number)
        free = self._idle.get(key)
        if free and client.wants is Wants.MAIL and not client.fresh:
            session = free.pop()
            if not free:
                del self._idle[key]
            session.user = client
            session.uses += 1
            session.enter(SessionState.BUSY)
            client.lease(session, opened=True)
            return True
        if len(self._all) >= self.bounds.sessions and not self._evict():
            return False
        made = self.open(key, client, client.peer, client.local)
        if made is None:
            return False
        made.uses = 1
        if own:
            made.raw = True
            self.own += 1
        client.lease(made, opened=False)
        return True

    def open(
        self, key: Key, user: SessionUser | None, peer: tuple[str, int], local: tuple[str, int]
    ) -> SendmailSession | None:
        """Open a session; None: sendmail does not listen now, which is tried again before long."""
        number = key[2]
        begin = header(peer, local, inet6=self.settings.inet6, tell=number in TELLING)
        try:
            connected = connect(number)
        except OSError:
            if not self._down:
                self._down = True
                self._loop.at(self._loop.now + RETRY, self._try_again)
            return None
        session = SendmailSession(self._loop, connected, key, begin, user, self._changed)
        self._all.add(session)
        self._busy.add(session)
        self.started += 1
        return session

    def _try_again(self) -> None:
        self._down = False
        self.serve()

    def is_crowded(self, domain: str) -> bool:
        """Whether a domain has its share of the sessions that deliver, or are about to; a quick one has all.

        One whose receiver has asked for less has none: runs of the queue deliver that.
        """
        if self.is_held(domain):
            return True
        if self.is_quick(domain):
            return False
        now = [session for session in self._all if session.domain == domain and session.key[2] == NOW]
        return len(now) >= self.bounds.domain

    def delivering_to(self, is_theirs: Callable[[str], bool]) -> int:
        """How many sessions deliver to the domains that a function says yes to."""
        delivering = (each for each in self._all if each.state is SessionState.DELIVERING)
        return sum(bool(each.domain) and is_theirs(each.domain) for each in delivering)

    def _door(self) -> int:
        if not self.settings.early:
            return BACKGROUND
        return NOW if self.delivering + self.own + self.lent() < self.bounds.delivering else QUEUE

    @property
    def spare(self) -> int:
        """Half of the room that deliveries leave: runs of the queue may have it, and new mail still goes at once."""
        deliveries = self.bounds.delivering - self.delivering - self.own
        return max(0, min(deliveries, self.bounds.sessions - len(self._all)) // 2)

    def _may_begin(self) -> bool:
        busy = len(self._busy) - self.own
        if busy < AT_ONCE:
            return True
        if busy >= self.bounds.busy:
            return False
        brisk = self._loop.now - BRISK
        return sum(_active(session, brisk) for session in self._busy) < AT_ONCE

    def _evict(self) -> bool:
        """End the session that has been idle for longest; False: there is none."""
        idle = [session for sessions in self._idle.values() for session in sessions]
        if not idle:
            return False
        self._leave(oldest := min(idle, key=lambda session: session.since))
        oldest.close()
        return True

    # --- sessions

    def _leave(self, session: SendmailSession) -> None:
        """Remove a session from the idle ones."""
        sessions = self._idle.get(session.key, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._idle[session.key]

    def _changed(self, session: SendmailSession, former: SessionState) -> None:
        self._uncount(session, former)
        state = session.state
        if session.closed:
            self._all.discard(session)
        elif state is SessionState.BUSY:
            self._busy.add(session)
        elif state is SessionState.DELIVERING:
            self.delivering += 1
        elif state is SessionState.IDLE:
            if session.uses >= (USES if self.settings.reuses else 1) or self._loop.now - session.born > AGE:
                session.quit()
            else:
                self._idle.setdefault(session.key, []).append(session)
        self._loop.soon(self.serve)

    def _uncount(self, session: SendmailSession, former: SessionState) -> None:
        state = session.state
        if former is SessionState.DELIVERING:
            self.delivering -= 1
            self.delivered(session.domain, self._loop.now - session.since, session.queue_id)
            self._loop.soon(self.room)
        elif former is SessionState.IDLE:
            self._leave(session)
        if state is SessionState.BUSY and former is SessionState.HELO:
            self._remember(session)
        if state in {SessionState.IDLE, SessionState.DELIVERING, SessionState.QUITTING}:
            self._busy.discard(session)
            if session.raw:
                session.raw = False
                self.own -= 1

    def _remember(self, session: SendmailSession) -> None:
        answer, name = session.helo_answer, session.key[:2]
        if not answer or session.spoilt:
            return
        is_new = name not in self._names
        self._names[name] = answer
        if len(self._names) > NAMES:
            self._names.popitem(last=False)
        if is_new:
            self._greet_all(name, answer)

    def _greet_all(self, name: tuple[str, bytes], answer: bytes) -> None:
        """Give the answer to all that wait for it: a session for each would take the turns of those who have mail."""
        theirs = (each for each in self._waiting if each.wants is Wants.HELO and (each.addr, each.helo_wanted) == name)
        same = dict.fromkeys(theirs)  # in the order in which they came
        if same:
            self._waiting = deque(each for each in self._waiting if each not in same)
            for client in same:
                client.greeted(answer)  # and wants something else then, which has a turn of its own

    def own_now(self, session: SendmailSession) -> None:
        """A session is its client's own from now on, and whatever passes through it is not read."""
        session.spoilt = True
        if not session.raw:
            session.raw = True
            self.own += 1

    def flush(self) -> None:
        """Use no session again that was opened before."""
        self.generation += 1
        self._names.clear()
        for session in tuple(self._all):
            session.spoilt = True
            if session.state is SessionState.IDLE:
                session.quit()

    def _look_at_lists(self) -> None:
        """Use no session again that has an older map open: sendmail does not see that a file has taken its place."""
        now = system.identity(self._map)
        if now != self._map_was:
            self._map_was = now
            self.flush()

    def sweep(self) -> None:
        """End sessions that have taken too long; called every second."""
        now = self._loop.now
        for session in tuple(self._all):
            old = now - session.since
            if session.state is SessionState.DELIVERING:
                self.delivering_for(session.domain, old)
            if session.state is SessionState.IDLE and old > IDLE:
                session.quit()
            elif (session.state is SessionState.QUITTING and old > 5) or (
                session.state in {SessionState.GREETING, SessionState.HELO} and old > 60
            ):
                session.close()
        if self._waiting or self._waiting_own:
            self._cut_one()
            self.serve()

    def _cut_one(self) -> None:
        wants_own = bool(self._waiting_own) and self.own >= self.bounds.own
        sessions = [session for session in self._busy if session.raw or not wants_own]
        clients: list[Any] = [session.user for session in sessions if session.user is not None]
        if (len(self._busy) < self.bounds.busy and not wants_own) or not clients:
            return
        slowest = min(clients, key=lambda client: client.active)
        if self._loop.now - slowest.active > SLUGGISH:
            slowest.cut()

    @property
    def counts(self) -> dict[str, int]:
        """The number of sessions by state, and of waiting clients."""
        return {
            "sessions": len(self._all),
            "busy": len(self._busy),
            "own": self.own,
            "delivering": self.delivering,
            "idle": sum(map(len, self._idle.values())),
            "waiting": len(self._waiting) + len(self._waiting_own),
            "opened": self.started,
        }


def _active(session: SendmailSession, since: float) -> bool:
    user: Any = session.user
    return not session.raw and (user is None or user.active > since)
