"""A client of the front's: which session its transaction goes to, and what is said again to another one."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from postroad.front.client import MOST_SPLIT, Client
from postroad.front.lines import Reply
from postroad.front.loop import Loop
from postroad.front.session import SessionState
from postroad.runtime.front import AGAIN, NOW, QUEUE, SPLIT, Settings

SETTINGS = Settings(
    hostname="mail.example.com",
    inet6=False,
    early=True,
    transparent=False,
    connections_per_client=None,
    connections_per_minute=None,
    concurrency=None,
    reuses=True,
    idle=300.0,
    starttls=False,
    split=True,
    retry=300.0,
    tell=(14400.0, 432000.0),
    adaptive=True,
    sendmail="/usr/sbin/sendmail",
    env={},
)


class Session:
    """An inner session: what it was told."""

    full = closed = spoilt = raw = False

    def __init__(self, door: int) -> None:
        self.key = ("192.0.2.1", b"EHLO app\r\n", door)
        self.said: list[bytes] = []
        self.state, self.user, self.uses, self.domain = SessionState.BUSY, None, 1, ""
        self.left = ""

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def hold_back(self, _: object) -> None:
        """Nothing waits in here."""

    def __getattr__(self, name: str) -> Any:
        if name not in {"release", "deliver", "give_back", "quit", "close"}:
            raise AttributeError(name)

        def leave(*_: str) -> None:
            self.left = name

        return leave


class Pool:
    """Gives the client a new session whenever it wants one, by the door that it asks for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.crowded: set[str] = set()
        self.held: set[str] = set()
        self.sessions: list[Session] = []
        self.sent = list[str]().append

    def name(self, *_: object) -> bytes:
        return b"250 hello\r\n"

    def is_crowded(self, domain: str) -> bool:
        return domain in self.crowded

    def is_held(self, domain: str) -> bool:
        return domain in self.held

    def want(self, client: Client) -> None:
        session: Any = Session(client.door or (QUEUE if client.crowded else NOW))
        self.sessions.append(session)
        client.lease(session, opened=True)

    def own_now(self, session: Session) -> None:
        session.raw = True


class Talk:
    """A client in conversation: what it says is answered by a sendmail that agrees to everything."""

    def __init__(self, **settings: Any) -> None:
        self.pool = Pool(replace(SETTINGS, **settings))
        self.put_off: list[tuple[str, list[str]]] = []
        here, self._there = socket.socketpair()
        self._there.settimeout(5)
        pool: Any = self.pool
        self.client = Client(
            Loop(),
            here,
            pool,
            ("192.0.2.1", 1),
            ("192.0.2.2", 25),
            gone=lambda _: None,
            put_off=lambda *each: self.put_off.append(each),
        )
        self.say(b"EHLO app\r\n")

    def close(self) -> None:
        self.client.close()
        self._there.close()

    @property
    def session(self) -> Session:
        return self.pool.sessions[-1]

    def say(self, *commands: bytes) -> None:
        """Each command, and sendmail's good answers to it and to what is said again for it."""
        for command in commands:
            self.client.received(command)
            while self.client._asked:
                self.answer(b"354 go on\r\n" if self.session.said[-1].startswith(b"DATA") else b"250 ok\r\n")

    def answer(self, text: bytes, code: int | None = None) -> None:
        self.client.answered(Reply(text, int(text[:3]) if code is None else code))

    def message(self, answer: bytes, *saved: bytes) -> None:
        """The text, the notices that it is on the disk, and sendmail's answer."""
        self.say(b"DATA\r\n")
        self.client.received(b"Subject: x\r\n\r\nx\r\n.\r\n")
        for queue_id in saved:
            self.answer(queue_id, 0)
        if self.client._asked:
            self.answer(answer)

    def heard(self) -> bytes:
        return self._there.recv(1 << 16)


@pytest.fixture
def talk() -> Iterator[Talk]:
    made = Talk()
    yield made
    made.close()


MAIL = b"MAIL FROM:<app@example.com>\r\n"


def to(name: str) -> bytes:
    return f"RCPT TO:<{name}>\r\n".encode()


def test_a_message_for_one_domain_stays_where_it_is(talk: Talk) -> None:
    talk.say(MAIL, to("a@one.example"), to("b@one.example"))
    assert len(talk.pool.sessions) == 1
    assert talk.session.key[2] == NOW


def test_a_message_for_several_domains_is_said_again_where_it_is_split(talk: Talk) -> None:
    talk.say(MAIL, to("a@one.example"), to("b@two.example"), to("c@three.example"))
    first, second = talk.pool.sessions
    assert first.left == "give_back"
    assert (second.key[2], second.said) == (
        SPLIT,
        [MAIL, *map(to, ("a@one.example", "b@two.example", "c@three.example"))],
    )
    # the client hears of each command once
    assert talk.heard().count(b"250 ok") == 4
    talk.message(b"250 2.0.0 ID Message accepted for delivery\r\n", b"P1", b"P2", b"P3")
    heard = talk.heard()
    assert heard.count(b"Message accepted") == 1
    assert b"ID Message" in heard
    assert talk.put_off == [("P1", []), ("P2", []), ("P3", [])]
    talk.say(MAIL)
    assert talk.session.key[2] == NOW


def test_a_refused_message_leaves_nothing_for_the_next_one(talk: Talk) -> None:
    talk.say(MAIL, to("secret@one.example"))
    talk.message(b"550 5.7.1 no\r\n")
    other = b"MAIL FROM:<other@example.com>\r\n"
    talk.say(other, to("b@two.example"), to("c@three.example"))
    assert talk.session.key[2] == SPLIT
    assert talk.session.said == [other, to("b@two.example"), to("c@three.example")]


def test_tls_in_a_transaction_is_refused_in_sendmail_s_words() -> None:
    """Or mail would go on in a session that knows nothing of it."""
    talk = Talk(starttls=True)
    talk.say(MAIL)
    talk.heard()
    talk.say(b"starttls\r\n")
    assert talk.heard() == b"503 5.5.0 TLS not permitted during a mail transaction\r\n"
    talk.say(to("a@one.example"))
    assert len(talk.pool.sessions) == 1
    assert talk.session.said == [MAIL, to("a@one.example")]
    talk.message(b"550 5.7.1 no\r\n")
    talk.say(b"STARTTLS\r\n")  # the transaction is over
    assert len(talk.pool.sessions) == 2
    talk.close()


def test_a_recipient_without_a_sender_begins_nothing(talk: Talk) -> None:
    talk.say(MAIL, to("a@one.example"))
    talk.message(b"550 5.7.1 no\r\n")
    talk.pool.crowded.add("two.example")
    talk.client.received(to("b@two.example"))
    assert talk.session.said[-1] == to("b@two.example")
    assert len(talk.pool.sessions) == 1


def test_after_another_helo_the_sender_is_the_new_one(talk: Talk) -> None:
    talk.say(MAIL, to("secret@one.example"), b"EHLO again\r\n")
    other = b"MAIL FROM:<other@example.com>\r\n"
    talk.pool.crowded.add("two.example")
    talk.say(other, to("b@two.example"))
    assert talk.session.key[2] == AGAIN
    assert talk.session.said == [other, to("b@two.example")]


def test_a_message_to_a_crowded_domain_is_only_queued(talk: Talk) -> None:
    talk.pool.crowded.add("one.example")
    talk.say(MAIL, to("a@one.example"))
    assert (talk.session.key[2], talk.session.said) == (AGAIN, [MAIL, to("a@one.example")])
    talk.message(b"", b"ID1")
    assert b"250 2.0.0 ID1 Message accepted" in talk.heard()
    assert talk.put_off == [("ID1", ["one.example"])]
    talk.say(MAIL)
    assert talk.session.key[2] == QUEUE  # the next one is likely to be for the same, and is counted


def test_a_further_recipient_whose_receiver_gets_less_is_only_queued(talk: Talk) -> None:
    talk.pool.settings = replace(talk.pool.settings, split=False)
    talk.pool.held.add("two.example")
    talk.say(MAIL, to("a@one.example"), to("b@two.example"))
    assert (talk.session.key[2], talk.session.said) == (AGAIN, [MAIL, to("a@one.example"), to("b@two.example")])


def test_many_recipients_are_one_message(talk: Talk) -> None:
    talk.say(MAIL, *(to(f"{number}@{number % 3}.example") for number in range(MOST_SPLIT + 5)))
    assert [session.key[2] for session in talk.pool.sessions] == [NOW, SPLIT, AGAIN]
    assert len(talk.session.said) == 1 + MOST_SPLIT + 5


def test_what_was_good_and_is_not_any_more_ends_the_connection(talk: Talk) -> None:
    talk.say(MAIL, to("a@one.example"))
    talk.client.received(to("b@two.example"))
    talk.answer(b"250 ok\r\n")  # MAIL
    talk.answer(b"450 4.2.0 not now\r\n")  # the first recipient
    assert b"421 4.3.0" in talk.heard()
    assert talk.session.left == "close"


def test_where_nothing_is_split_a_message_stays_one() -> None:
    talk = Talk(split=False)
    talk.say(MAIL, to("a@one.example"), to("b@two.example"))
    assert len(talk.pool.sessions) == 1
    talk.close()
