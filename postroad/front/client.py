"""A client of ``listeners.smtp``.

What it says before a transaction is answered here, in sendmail's words; each transaction passes through a session of
sendmail's. Whatever is not quite usual is left to a session of the client's own, which nobody has used before and
nobody will use again: there sendmail alone decides what it means, how it is answered, and how often it may happen.
"""

import socket
from collections.abc import Callable
from enum import Enum, auto

from postroad.front import lines
from postroad.front.lines import EndOfData, Reply
from postroad.front.loop import Loop, Stream
from postroad.front.pool import Pool, Wants
from postroad.front.session import SendmailSession, SessionState
from postroad.runtime.front import AGAIN, NOW, QUEUE, SPLIT

HELOS = 3
"""HELO or EHLO that a connection may say before it is left to sendmail, which counts them (MAXHELOCOMMANDS)."""
NOOPS = 1000
"""Likewise NOOP and RSET (MaxNOOPCommands); pools of connections send one before each message."""
BAD = 3
"""Likewise commands that are refused, but for those that speak of an address (MaxBadCommands)."""
TRIES = 5
"""Sessions that end before they are ready, before a client is told."""
MOST_SPLIT = 20
"""Recipients for whom a message for several domains becomes a message each: each of them is saved on the disk."""
STEADY = 1000
"""Octets of a message's text that count as a word: less, now and then, is silence."""
AHEAD = 1 << 16
"""Octets that a client may send ahead before it is not read any more."""


class ClientStage(Enum):
    """Where a client is."""

    IDLE = auto()  # between transactions
    WAITING = auto()  # for a session
    COMMANDS = auto()  # in a transaction
    DATA = auto()
    END = auto()  # the message is whole, and not answered yet
    OWN = auto()  # all passes unread


class Client(Stream):
    """One such connection."""

    __slots__ = (
        *("_again", "_asked", "_bad", "_buffer", "_command", "_domains", "_end", "_first", "_gone", "_greeted"),
        *("_helos", "_mail", "_noops", "_octets", "_over", "_parts", "_pool", "_put_off", "_told", "_tries"),
        *("active", "addr", "crowded", "door", "fresh", "has_sent", "helo", "local", "peer", "session", "spoke"),
        *("stage", "wants"),
    )

    def __init__(
        self,
        loop: Loop,
        connected: socket.socket,
        pool: Pool,
        peer: tuple[str, int],
        local: tuple[str, int],
        *,
        gone: Callable[["Client"], None],
        put_off: Callable[[str, list[str]], None],
    ) -> None:
        """Take over a connection; say nothing yet.

        Args:
            loop: who calls.
            connected: its socket.
            pool: sendmail's sessions.
            peer: the client's address and port.
            local: what it connected to.
            gone: called at the end.
            put_off: called with the queue id of a message that only went into the queue, and its recipients' domains;
                without any where these are to be read in the queue.
        """
        super().__init__(loop, connected)
        self.addr, self.peer, self.local = peer[0], peer, local
        self.helo = b""
        """Its last HELO or EHLO line that sendmail liked."""
        self.wants: Wants | None = None
        self.fresh = False
        self.crowded = False
        self.door = 0
        self.active = self.spoke = loop.now
        """When something came last, and when that was a whole command, its answer, or a part of a message's text."""
        self.has_sent = False
        self.stage = ClientStage.IDLE
        self.session: SendmailSession | None = None
        self._pool = pool
        self._gone = gone
        self._put_off = put_off
        self._octets = 0  # of the text, since it last counted as a word
        self._buffer = bytearray()
        self._command = b""  # that waits for a session, or was asked last
        self._mail = b""  # that began the transaction; empty: none is under way
        self._told: list[bytes] = []  # recipients of the transaction that the client was told are good
        self._again: list[bytes] = []  # what is to be said again to another session; the last one is new
        self._parts: list[str] = []  # queue ids of the messages that this one has become
        self._asked = False  # an answer to a command is awaited
        self._over = False  # the client will say nothing more
        self._greeted = False
        self._end = EndOfData()
        self._first = False  # the command that was asked begins the transaction
        self._tries = 0
        self._helos = self._noops = self._bad = 0
        self._domains: list[str] = []

    # --- the beginning

    def greet(self, text: bytes) -> None:
        """Greet it."""
        self._greeted = True
        self.write(text)

    def turn_away(self, text: bytes) -> None:
        """Say why it can't come in, and close."""
        self.write(text)
        self.stage = ClientStage.OWN
        self.finish()

    def hand_over(self) -> None:
        """Let a session of its own serve it from here on."""
        self._want(Wants.OWN)

    # --- what the client says

    def received(self, data: bytes) -> None:
        """More from the client."""
        self.active = self._loop.now
        if self.stage is ClientStage.OWN and self.session is not None:
            self._pass(data)
            return
        self._buffer += data
        self._run()

    def _run(self) -> None:
        """Do what can be done with what the client has said."""
        while self._buffer and not self.closed and not self._asked:
            if self.stage is ClientStage.DATA:
                if not self._data():
                    return
            elif self.stage is ClientStage.IDLE or self.stage is ClientStage.COMMANDS:
                command = lines.command(self._buffer)
                if command is None:
                    break
                self.spoke = self._loop.now
                if self.stage is ClientStage.IDLE:
                    self._between(command)
                else:
                    self._within(command)
            else:
                break
        if len(self._buffer) > AHEAD:
            self.reading(False)
        elif self.session is None or not self.session.full:
            self.reading(True)
        if self._over:
            self._after_the_end()

    def _between(self, command: lines.Command) -> None:
        verb = command.verb
        if verb in {b"EHLO", b"HELO"} and not self._buffer and self._helos < HELOS:
            self._helos += 1
            known = self._pool.name(self.addr, command.line)
            if known is not None:
                self.helo = command.line
                self.write(known)
            else:
                self._command = command.line
                self._want(Wants.HELO)
        elif verb == b"MAIL" and self.helo and self._bad < BAD:
            self._command = command.line
            self._want(Wants.MAIL)
        elif verb in {b"RSET", b"NOOP"} and not command.rest and self._noops < NOOPS:
            self._noops += 1
            self.write(b"250 2.0.0 Reset state\r\n" if verb == b"RSET" else b"250 2.0.0 OK\r\n")
        elif verb == b"QUIT" and not command.rest:
            self.write(b"221 2.0.0 %b closing connection\r\n" % self._pool.settings.hostname.encode())
            self.stage = ClientStage.OWN
            self.finish()
        else:
            self._buffer[:0] = command.line
            self._want(Wants.OWN)

    def _within(self, command: lines.Command) -> None:
        session = self.session
        if session is None:
            return
        if command.verb == b"STARTTLS" and not command.rest and self._pool.settings.starttls:
            if self._mail:
                self.write(b"503 5.5.0 TLS not permitted during a mail transaction\r\n")
                return
            # it begins anew (RFC 3207, 4.2); a session that says what is on the disk must not be encrypted
            self.session = session.user = None
            session.close()
            self._buffer[:0] = command.line
            self._want(Wants.OWN)
            return
        if not command.line.endswith(b"\n") or (command.verb == b"DATA" and self._buffer):
            # too long to be a command; or text before the answer to DATA: sendmail sees that it came with it
            self._buffer[:0] = command.line
            self._have_own(session)
            return
        if command.verb == b"RCPT" and self._mail and (door := self._other_door(session, _domain(command.line))):
            self._go_round(session, command.line, door)
            return
        self._command = command.line
        self._asked = True
        session.write(command.line)

    def _other_door(self, session: SendmailSession, domain: str) -> int:
        """The inner door by which the message has to go in that is for this domain as well; 0: where it is."""
        number, told = session.key[2], len(self._told)
        if not told and number == NOW:
            if domain != session.domain and self._pool.is_crowded(domain):
                self.crowded = True
                return AGAIN
            session.domain = domain
        elif number == SPLIT and told >= MOST_SPLIT:
            return AGAIN
        elif number in {NOW, QUEUE, AGAIN} and 0 < told < MOST_SPLIT and domain != self._domain:
            if self._pool.settings.split:
                return SPLIT
            return AGAIN if number == NOW and self._pool.is_held(domain) else 0
        return 0

    def _go_round(self, session: SendmailSession, recipient: bytes, door: int) -> None:
        """Have another session take the message, which only puts it into the queue."""
        self._again, self._command = [*self._told, recipient], self._mail
        self.session, self.door = None, door
        session.give_back()
        self._want(Wants.MAIL)

    def _data(self) -> bool:
        """Pass text on; False: the session takes no more now."""
        session = self.session
        if session is None:
            return False
        piece = bytes(self._buffer)
        self._octets += len(piece)
        if self._octets >= STEADY:
            self._octets, self.spoke = 0, self._loop.now
        size = self._end.find(piece)
        if size < 0:
            self._buffer.clear()
            session.write(piece)
        else:
            del self._buffer[:size]
            self.stage = ClientStage.END
            self._asked = True
            session.write(piece[:size])
        if session.full:
            session.hold_back(self)
            return False
        return True

    def _pass(self, data: bytes) -> None:
        session = self.session
        if session is None or session.closed:
            return
        session.write(data)
        session.hold_back(self)

    def ended(self) -> None:
        """The client will say nothing more, and may yet read."""
        self._over = True
        if self.stage is ClientStage.OWN:
            if self.session is not None:
                self.session.finish_writing()
            return
        self._run()

    def _after_the_end(self) -> None:
        session = self.session
        if self._asked or self.stage is ClientStage.WAITING or self.closed:
            return
        if session is None:
            self.stage = ClientStage.OWN
            self.finish()
        elif self.stage is not ClientStage.OWN:
            # in the middle of it: sendmail sees that the client has gone
            self._have_own(session)
            session.finish_writing()

    def lost(self) -> None:
        """The connection is closed."""
        session, self.session = self.session, None
        self.wants = None
        if session is not None:
            session.user = None
            if self.stage is ClientStage.END and session.state is SessionState.BUSY and not session.raw:
                session.deliver()  # the message stands, and is answered to nobody
            elif session.state is not SessionState.QUITTING:
                session.close()
        self._gone(self)

    # --- sessions

    def _want(self, wants: Wants) -> None:
        self.stage = ClientStage.WAITING
        self.wants = wants
        self._pool.want(self)

    def lease(self, session: SendmailSession, *, opened: bool) -> None:
        """A session for what is wanted."""
        self.session = session
        if self.wants is Wants.HELO:
            return
        if opened:
            self._begin(session)

    def _begin(self, session: SendmailSession) -> None:
        self.wants = None
        self.stage = ClientStage.COMMANDS
        self.active = self._loop.now
        self._asked = self._first = True
        self._mail = self._command
        self._domains, self._told, self._parts = [], [], []
        self._tries = 0
        session.write(self._command)

    @property
    def helo_wanted(self) -> bytes:
        """The line that a session has to begin with."""
        return self._command if self.wants is Wants.HELO else self.helo

    def opened(self, greeting: bytes, helo: bytes) -> None:
        """The session is ready."""
        session, wants = self.session, self.wants
        if session is None:
            return
        if wants is Wants.HELO:
            session.release()
            self.greeted(helo)
        elif wants is Wants.MAIL:
            self._begin(session)
        else:
            self.wants = None
            self.stage = ClientStage.OWN
            if not self._greeted:
                self._greeted = True
                self.write(greeting)
            self._pass_all(session)

    def greeted(self, answer: bytes) -> None:
        """Sendmail's answer to its HELO."""
        self.wants, self.session = None, None
        self.helo = self._command
        self.stage = ClientStage.IDLE
        self.write(answer)
        self._run()

    def refused(self, answer: Reply, state: SessionState) -> None:
        """The session is not to be had."""
        wants, self.wants, self.session = self.wants, None, None
        if answer.code == 421 or state is SessionState.GREETING:
            self.write(answer.text)
            self.stage = ClientStage.OWN
            self.finish()
            return
        self.write(answer.text)
        self.stage = ClientStage.IDLE
        if wants is Wants.HELO:
            self._bad += 1
        self._run()

    def _have_own(self, session: SendmailSession) -> None:
        """Keep the session that there is, and read nothing of what passes any more."""
        self.stage = ClientStage.OWN
        self._asked = False
        self._pool.own_now(session)
        self._pass_all(session)

    def _pass_all(self, session: SendmailSession) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        if data:
            self._pass(data)
        if self._over:
            session.finish_writing()

    # --- what sendmail says

    def answered(self, answer: Reply) -> None:
        """An answer of the session's, or that the message is on the disk."""
        session, stage = self.session, self.stage
        if session is None:
            return
        if answer.code == 0:
            if stage is ClientStage.END and session.key[2] == SPLIT:
                self._parts.append(answer.text.decode("ascii", "replace"))  # there may be more of them
            elif stage is ClientStage.END:
                self.write(b"250 2.0.0 %b Message accepted for delivery\r\n" % answer.text)
                self._message_over(session, answer.text.decode("ascii", "replace"), answered=False)
        elif stage is ClientStage.OWN:
            self.write(answer.text)
            self.hold_back(session)
        elif not self._asked:  # in the middle of the text, or between commands: this is no usual session
            self.write(answer.text)
            self._have_own(session)
        else:
            self._asked = False
            self._hear(session, answer)

    def _hear(self, session: SendmailSession, answer: Reply) -> None:
        """The answer to what was asked."""
        self.spoke = self._loop.now
        good = 200 <= answer.code < 400
        session.spoilt |= not good
        verb, first = _verb(self._command), self._first
        if first and 400 <= answer.code < 500 and self._try_anew(session):
            return
        self._first = False
        if self._again and (good or not first):
            self._say_again(session, answer, first=first, good=good)
            return
        if answer.code == 354 and self._buffer:
            # text that came later, and still before this answer
            self.session = session.user = None
            session.close()
            self.turn_away(b"554 5.5.0 SMTP protocol error\r\n")
            return
        self.write(answer.text)
        if answer.code == 421 or answer.code < 0 or verb == b"QUIT":
            self._have_own(session)  # sendmail says when it closes
        elif self.stage is ClientStage.END and good:
            self._message_over(session, _queue_id(answer.text), answered=True)
        elif self.stage is ClientStage.END:
            # it stays with this session, which may close the connection next, as it does after a bare line feed
            self.stage = ClientStage.COMMANDS
            self._mail, self._domains, self._told = b"", [], []
            self._run()
        elif (first and not good) or (verb == b"RSET" and good):
            self._leave(session)
            self._run()
        else:
            self._note(verb, answer, good=good)
            self._run()

    def _say_again(self, session: SendmailSession, answer: Reply, *, first: bool, good: bool) -> None:
        """The answer to what the client has been told of by the session before."""
        if not good:
            # what was good is not any more: it is asked to begin anew
            self.session = session.user = None
            session.close()
            self.turn_away(b"421 4.3.0 %b closing connection\r\n" % self._pool.settings.hostname.encode())
            return
        if not first:
            self._note(b"RCPT", answer, good=True)
        self._command, self._asked = self._again.pop(0), True
        session.write(self._command)

    @property
    def _domain(self) -> str:
        return self._domains[0] if self._domains else ""

    def _note(self, verb: bytes, answer: Reply, *, good: bool) -> None:
        if not good and verb not in {b"MAIL", b"RCPT"}:
            self._bad += 1
        if verb == b"MAIL" and good:  # after a message that was refused, say
            self._mail = self._command
            self._domains, self._told = [], []
        if verb in {b"EHLO", b"HELO"} and good:
            self.helo = self._command
            self._mail, self._domains, self._told = b"", [], []
            if self.session is not None:
                self.session.spoilt = True  # it is for another name now
        if verb == b"RCPT" and good:
            self._domains.append(_domain(self._command))
            self._told.append(self._command)
        elif verb == b"DATA" and answer.code == 354:
            self.stage = ClientStage.DATA
            self._end = EndOfData()

    def _try_anew(self, session: SendmailSession | None) -> bool:
        """Ask a new session instead, where this one has served others: it may have caught something from them."""
        if self.fresh or (session is not None and session.uses < 2):
            return False
        self.session, self._asked, self.fresh = None, False, True
        if session is not None:
            session.quit()
        self._want(Wants.MAIL)
        return True

    def _leave(self, session: SendmailSession) -> None:
        self.session, self.fresh, self.crowded = None, False, False
        self.door, self._again = 0, []
        self.stage = ClientStage.IDLE
        session.release()

    def _message_over(self, session: SendmailSession, queue_id: str, *, answered: bool) -> None:
        """The client has its answer to the message; ``answered``: by the session, which is free then."""
        # the next one is likely to be for the same
        self.crowded = self.crowded and self._pool.is_crowded(self._domain)
        self.session, self.fresh, self._asked, self.door = None, False, False, 0
        self.stage = ClientStage.IDLE
        self.spoke, self.has_sent = self._loop.now, True
        self._pool.sent(self.addr)
        if session.key[2] == SPLIT:
            for part in self._parts:
                self._put_off(part, [])
        elif queue_id and session.key[2] in {QUEUE, AGAIN}:
            self._put_off(queue_id, self._domains)
        if answered:
            session.release()
        else:
            session.deliver(queue_id)
        self._run()

    def abandoned(self) -> None:
        """The session has ended by itself."""
        session, self.session = self.session, None
        if self.wants is not None:
            # the daemon has just been started anew, say
            self._tries += 1
            if self._tries < TRIES:
                self._pool.want(self)
                return
            self.wants = None
            self.write(b"421 4.3.2 %b closing connection\r\n" % self._pool.settings.hostname.encode())
        elif self._first and self._asked and session is not None and session.uses > 1 and self._try_anew(None):
            return
        # without a word, as sendmail has done it
        self.stage = ClientStage.OWN
        self.finish()

    def silence(self) -> float:
        """Seconds for which it has said nothing that counts; 0 where it waits for an answer."""
        if self.stage is ClientStage.END or self.stage is ClientStage.WAITING:
            return 0.0
        # what passes unread may be encrypted: there sendmail itself tells words from letters
        return self._loop.now - (self.active if self.stage is ClientStage.OWN else self.spoke)

    def cut(self, why: str = "") -> None:
        """End it: it has said nothing for too long, or for longer than others where there is no room."""
        session = self.session
        if self.stage is ClientStage.END or self.stage is ClientStage.WAITING:
            return
        if self._ended:
            self.close()  # it does not even read
            return
        if self.stage is ClientStage.OWN:
            if session is not None:
                session.finish_writing()
            self.finish()
            return
        host, addr = self._pool.settings.hostname.encode(), self.addr.encode()
        self.write(b"421 4.4.2 %b %b\r\n" % (host, why.encode() or b"timeout waiting for input from [%b]" % addr))
        self.stage = ClientStage.OWN
        self.finish()


def _verb(line: bytes) -> bytes:
    words = line.split(None, 1)
    return words[0].upper() if words else b""


def _queue_id(text: bytes) -> str:
    """The queue id in sendmail's answer to a message: ``250 2.0.0 ID Message accepted for delivery``."""
    words = text.split()
    return words[2].decode("ascii", "replace") if len(words) > 3 and words[3] == b"Message" else ""


def _domain(line: bytes) -> str:
    """The domain in a RCPT command, for a guess at who receives it."""
    return line.rpartition(b"@")[2].partition(b">")[0].strip().lower().decode("ascii", "replace")
