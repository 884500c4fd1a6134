"""What people write is handed on to one address, octet by octet, and nothing of what machines write."""

import email
import email.policy
import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.returns import forwarder, forwarding, gate
from postroad.returns.forwarder import Answer, Forwarder
from postroad.returns.found import UnreadableError
from postroad.returns.gate import Gate
from postroad.returns.reader import Reader
from postroad.returns.spool import Spool, Waiting
from postroad.runtime import return_address
from postroad.runtime.returning import Forwarding, Settings
from postroad.sendmail.session import NoSendmailError
from tests.unit.test_returns_flood import SAMPLES
from tests.unit.test_returns_reading import DSN, report
from tests.unit.test_webhooks_senders import wait_until
from tests.unit.whole import Whole

KEY, DOMAIN, ID, NOW = b"k" * 32, "bounces.x.example", "6AQ7sdUD000094", 1_795_000_000.0
TO = f"{return_address.local_part(KEY, DOMAIN, ID, int(NOW // 86_400))}@{DOMAIN}"
SETTINGS = Settings("mail.x.example", DOMAIN, (), None, Forwarding("replies@app.example", "postmaster@x.example"))
REPLY = (
    b"Received: from y.example by mx.x.example; Thu, 26 Nov 2026 07:52:15 +0000\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; d=y.example; s=s; h=from; bh=x; b=y\r\n"
    b"From: =?utf-8?q?J=C3=BCrgen?= <person@y.example>\r\nTo: App <app@x.example>\r\nSubject: Re: Your order\r\n"
    b"Message-ID: <1@y.example>\r\n\r\nIs it blue?  \r\n\r\n\r\n"
)


def waiting(content: bytes = REPLY, sender: str = "person@y.example", to: str = TO) -> Waiting:
    return Waiting(Path("x"), sender, (to,), "192.0.2.7", content)


def letter(message: Waiting, about: str | None = ID) -> Any:
    made = forwarding.letter(message, about, SETTINGS, datetime.fromtimestamp(NOW, UTC))
    assert b"\n" not in made.replace(b"\r\n", b"")
    return email.message_from_bytes(made, policy=email.policy.default)


@pytest.mark.parametrize(
    ("message", "about"),
    [
        (waiting(), ID),
        (waiting(b"Subject: x\r\n\r\nNobody to answer.\r\n", "", f"abuse@{DOMAIN}"), None),
        (waiting(b"From: <>\r\nReply-To: Ann <ann@y.example>\r\n\r\n\xec\x95\x88\r\n"), ID),
        (waiting(b'From: "a@b" <p@y.example>\r\n\r\nbare\nends\r\n'), ID),
        (waiting(b"Subject: " + b"long " * 60 + b"\r\n\r\nx\r\n"), ID),
    ],
    ids=["reply", "nobody", "korean", "bare", "long"],
)
def test_whole_letters(message: Waiting, about: str | None, whole: Whole) -> None:
    made = forwarding.letter(message, about, SETTINGS, datetime.fromtimestamp(NOW, UTC)).decode()
    boundary = made.partition('boundary="')[2].partition('"')[0]
    number = re.search(r"Message-ID: <([^@]*)@mail", made)
    assert number
    whole.add(
        made.replace(boundary, "BOUNDARY").replace(number[1], "NUMBER").replace("\r\n", "\n").replace("\r", "\\r")
    )


def _text(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def inner(message: Waiting) -> bytes:
    """The attached message as it stands in the octets of the outer one."""
    made = forwarding.letter(message, ID, SETTINGS, datetime.fromtimestamp(NOW, UTC))
    boundary = b"--" + made.partition(b'boundary="')[2].partition(b'"')[0]
    _, _, attached = made.partition(b"Content-Type: message/rfc822\r\n")
    assert made.count(b"\r\n" + boundary) == 3
    return attached.partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + boundary + b"--\r\n")[0]


def test_a_reply_is_attached_to_a_message_of_ours() -> None:
    made = letter(waiting())
    assert str(made["From"]) == '"Jürgen via bounces.x.example" <postmaster@x.example>'
    assert (made["To"], made["Reply-To"], made["Subject"]) == (
        "replies@app.example",
        "person@y.example",
        "Re: Your order",
    )
    assert (made["Auto-Submitted"], made["X-Loop"], made["References"]) == ("auto-generated", DOMAIN, "<1@y.example>")
    assert made["Message-ID"].endswith("@mail.x.example>")
    note, attached = made.iter_parts()
    assert f"a reply to the message {ID}" in _text(note)
    assert "Envelope sender: person@y.example\nClient: 192.0.2.7\n" in _text(note)
    assert attached.get_content()["Subject"] == "Re: Your order"
    assert made.defects == note.defects == attached.defects == []
    assert "a message to abuse@" in _text(next(letter(waiting(to=f"abuse@{DOMAIN}"), None).iter_parts()))


@pytest.mark.parametrize("body", [b"", b"no end", b"\xec\x95\x88\r\n", b".\r\n..\r\n", b" \t \r\n" * 3, b"--=_\r\n"])
def test_its_octets_stay_as_they_came(body: bytes) -> None:
    assert inner(waiting(REPLY + body)) == REPLY + body


@pytest.mark.parametrize("body", [b"x\ny\r\n", b"\0\r\n", b"x" * 990 + b"\r\n", b"a\rb\r\n"])
def test_what_would_be_changed_on_its_way_is_encoded(body: bytes) -> None:
    attached = list(letter(waiting(REPLY + body)).iter_parts())[1]
    assert attached.get_content_type() == "application/octet-stream"
    assert attached.get_filename() == "message.eml"
    assert attached.get_content() == REPLY + body


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ("Reply-To: other@y.example", "other@y.example"),
        ("Reply-To: a,b@y.example", "person@y.example"),
        ("Reply-To: <x@y.example>, <z@y.example>", "z@y.example"),
    ],
)
def test_an_answer_goes_to_the_person(fields: str, answer: str) -> None:
    assert letter(waiting(fields.encode() + b"\r\n" + REPLY))["Reply-To"] == answer


@given(
    st.sampled_from(["From", "Subject", "Reply-To", "Message-ID", "Received"]),
    st.binary(max_size=300),
    st.text(max_size=90),
)
def test_no_field_of_a_stranger_s_makes_another(name: str, value: bytes, sender: str) -> None:
    content = name.encode() + b": " + value + b"\r\n" + REPLY
    try:
        made = letter(waiting(content, sender))
    except (UnreadableError, ValueError, IndexError):
        return  # it is set aside
    fields = ["From", "To", "Reply-To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted",
              "X-Auto-Response-Suppress", "X-Loop", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]  # fmt: skip
    assert [each for each in fields if each in made] == made.keys()
    assert made["To"] == "replies@app.example"
    assert [each.addr_spec for each in made["From"].addresses] == ["postmaster@x.example"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (waiting(sender=""), "empty"),
        (waiting(b"Auto-Submitted: auto-generated\r\n" + REPLY), "machine"),
        (waiting(b"X-Loop: bounces.z.example\r\n" + REPLY), "forwarded before"),
        (waiting(b"Precedence: bulk\r\n" + REPLY), "list"),
        (waiting(b"List-Id: <x.y.example>\r\n" + REPLY), "list"),
        (
            waiting(
                report("disposition-notification", "disposition-notification", "Disposition: x\n").replace(
                    b"MAILER-DAEMON", b"u"
                )
            ),
            "receipt",
        ),
        (waiting(b"Subject: Report Domain: x.example\r\n" + REPLY), "report"),
        (waiting(b"Received: x\r\n" * 25 + REPLY), "25 servers"),
        (waiting(sender="Replies@App.example"), "from the address"),
        (waiting(REPLY.replace(b"person@y", b"replies@app")), "from the address"),
        (waiting(b"Content-Type: message/rfc822\r\n" * 70 + REPLY), "parts"),
    ],
)
def test_what_might_go_in_a_circle_is_not_forwarded(message: Waiting, why: str) -> None:
    assert why in forwarding.unfit(message, "replies@app.example")


def test_what_another_such_relay_forwards_is_not_forwarded() -> None:
    made = forwarding.letter(waiting(), ID, SETTINGS, datetime.fromtimestamp(NOW, UTC))
    assert forwarding.unfit(waiting(made, sender="person@y.example"), "replies@app.example")
    bare = made.replace(b"Auto-Submitted: auto-generated\r\n", b"")
    assert forwarding.unfit(waiting(bare, sender="person@y.example"), "replies@app.example")
    assert not forwarding.unfit(waiting(), "replies@app.example")


@dataclass
class Running:
    """The reader and the forwarder, each asked for one message at a time."""

    folder: Path
    answers: list[Answer]
    now: float = NOW
    settings: Settings = SETTINGS
    told: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = Gate(DOMAIN, KEY, lambda: self.now)
        self.begin()

    def begin(self) -> None:
        self.spool = Spool(self.folder)
        self.forwarder = Forwarder(
            Spool(self.folder, "forward"),
            self.gate,
            lambda: self.settings,
            self._log,
            self._hand_over,
            lambda: self.now,
        )
        self.reader = Reader(self.spool, self.gate, self._tell, forward=self.forwarder.takes)

    def _log(self, level: str, line: str) -> None:
        self.said.append(f"{level} {line}")

    def _tell(self, _: str, line: str) -> bool:
        self.told.append(line)
        return True

    def _hand_over(self, *given: Any) -> Answer:
        self.sent.append(given)
        return self.answers.pop(0)

    def bring(
        self, content: bytes = REPLY, to: str = TO, sender: str = "person@y.example", peer: str = "192.0.2.7"
    ) -> None:
        assert self.spool.put(sender, [to], peer, content, self.now)
        assert self.reader.read_one()

    def files(self, name: str) -> list[Path]:
        return sorted((self.folder / name).iterdir())


@pytest.fixture
def running(tmp_path: Path, whole: Whole) -> Iterator[Running]:
    found = Running(tmp_path, [])
    yield found
    for line in [*found.said, *found.told]:
        whole.add(line)


@pytest.mark.parametrize("to", [TO, f"abuse@{DOMAIN}", f"postmaster@{DOMAIN}"])
def test_what_a_person_writes_is_handed_on_and_told(running: Running, to: str) -> None:
    running.answers = [Answer(250, "")]
    running.bring(to=to)
    assert running.forwarder.forward_one() is True
    assert running.forwarder.forward_one() is None
    (line,) = running.told
    assert '"what": "forwarded"' in line
    assert ('"queue_id": "6AQ7sdUD000094"' in line) is (to == TO)
    (sent,) = running.sent
    assert sent[:2] == ("mail.x.example", "replies@app.example")
    assert REPLY in sent[2]
    assert (running.files("forward"), running.files("unread"), running.said) == ([], [], [])


@pytest.mark.parametrize("to", [TO, f"abuse@{DOMAIN}", f"postmaster@{DOMAIN}", f"dmarc@{DOMAIN}"])
def test_nothing_of_what_machines_write_is_handed_on(running: Running, to: str) -> None:
    for content in (*SAMPLES, report("delivery-status", "delivery-status", DSN.replace("failed", "delayed"))):
        running.bring(content, to)
    assert running.forwarder.forward_one() is None
    assert not any("forwarded" in line for line in running.told)


def test_a_report_that_is_none_is_nobody_s(running: Running) -> None:
    running.bring(to=f"tlsrpt@{DOMAIN}")
    assert running.forwarder.forward_one() is None
    assert len(running.files("unread")) == 1


def test_where_it_is_off_nothing_is_handed_on(running: Running) -> None:
    running.settings = replace(SETTINGS, forwarding=None)
    running.bring()
    assert running.forwarder.forward_one() is None
    assert '"what": "unreadable"' in running.told[0]
    assert len(running.files("unread")) == 1


def test_what_waits_when_it_is_turned_off_is_set_aside(running: Running) -> None:
    running.bring()
    running.settings = replace(SETTINGS, forwarding=None)
    assert running.forwarder.forward_one() is True
    assert (running.sent, len(running.files("unread"))) == ([], 1)


def test_what_can_not_be_read_is_set_aside(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in (UnreadableError("it has more than 50 parts"), RuntimeError("a fault of ours")):
        running.bring()
        monkeypatch.setattr(forwarding, "letter", partial(_raises, fault))
        assert running.forwarder.forward_one() is True
    assert len(running.files("unread")) == 2
    assert (running.files("forward"), len(running.said)) == ([], 2)


def _raises(fault: Exception, *_: object) -> None:
    raise fault


def test_where_there_is_no_room_it_is_said(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "put", lambda *_: False)
    assert running.forwarder.takes(waiting()) is False
    assert running.said == ["notice what was written here is set aside, and not forwarded: too much waits"]


def test_the_thread_hands_on_what_comes_and_survives_a_volume_that_can_not_be_read(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "RETRY", 0.01)
    faults = [OSError(5, "Input/output error", "/state/forward")]
    oldest = Spool.oldest

    def fails_once(spool: Spool) -> Waiting | None:
        if faults:
            raise faults.pop()
        return oldest(spool)

    running.answers = [Answer(250, ""), Answer(451, "451 later"), Answer(250, "")]
    running.bring()
    running.bring()
    monkeypatch.setattr(Spool, "oldest", fails_once)
    running.forwarder.start()
    wait_until(lambda: len(running.sent) == 3 and not running.files("forward"))
    assert running.forwarder.is_alive()


def test_what_sendmail_refuses_is_set_aside(running: Running) -> None:
    """Such as an address that is suppressed."""
    running.answers = [Answer(550, "550 5.1.1 the address is suppressed")]
    running.bring()
    assert running.forwarder.forward_one() is True
    assert running.said == [
        "warning what was written here is set aside, and not forwarded: 550 5.1.1 the address is suppressed"
    ]
    assert len(running.files("unread")) == 1
    assert running.files("forward") == []


def test_what_sendmail_does_not_take_now_waits_for_a_day_and_outlives_the_process(running: Running) -> None:
    running.answers = [Answer(0, "sendmail can't be asked"), Answer(451, "451 later"), Answer(451, "451 later")]
    running.bring()
    running.now = running.files("forward")[0].stat().st_mtime
    assert [running.forwarder.forward_one() for _ in range(3)] == [False] * 3
    assert len(running.said) == 2, "each thing once"
    running.begin()
    running.answers = [Answer(451, "451 later")]
    running.now += 25 * 3600
    assert running.forwarder.forward_one() is True
    assert len(running.files("unread")) == 1


def test_a_message_at_which_the_process_ended_is_not_tried_again(running: Running) -> None:
    running.bring()
    (path,) = running.files("forward")
    path.rename(path.with_name(f"{path.name}.reading"))
    running.begin()
    assert running.forwarder.forward_one() is None
    assert len(running.files("unread")) == 1


def test_so_many_an_hour_are_handed_on_and_the_rest_is_set_aside(running: Running) -> None:
    for number in range(80):
        running.bring(peer=f"192.0.2.{number % 2}")
    assert len(running.files("forward")) == 2 * gate.MOST_FORWARDED_EACH
    for number in range(80):
        running.bring(peer=f"198.51.100.{number}")
    assert len(running.files("forward")) == gate.MOST_FORWARDED
    assert len(running.files("unread")) == 160 - gate.MOST_FORWARDED
    running.now += 3600
    running.bring()
    assert len(running.files("forward")) == gate.MOST_FORWARDED + 1


class _Session:
    """A session with sendmail that answers as it is told."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault, self.sent = fault, []  # type: ignore[var-annotated]

    def __call__(self, *_: object, **__: object) -> "_Session":
        if isinstance(self.fault, NoSendmailError):
            raise self.fault
        return self

    __enter__ = __call__

    def __exit__(self, *_: object) -> None:
        pass

    def sendmail(self, *given: object) -> None:
        self.sent.append(given)
        if self.fault:
            raise self.fault


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (None, 250),
        (NoSendmailError("no server runs here"), 0),
        (smtplib.SMTPRecipientsRefused({"r@app.example": (550, b"5.1.1 suppressed")}), 550),
        (smtplib.SMTPDataError(552, b"5.2.3 too large"), 552),
        (smtplib.SMTPSenderRefused(451, b"4.7.1 later", ""), 451),
        (smtplib.SMTPServerDisconnected("killed"), 0),
    ],
)
def test_the_envelope_sender_is_empty_and_the_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, code: int
) -> None:
    session = _Session(fault)
    monkeypatch.setattr(forwarder, "LocalSession", session)
    assert forwarder.hand_over("mail.x.example", "r@app.example", b"x: \xff\r\n\r\n").code == code
    assert [given[:2] for given in session.sent] in ([("", ["r@app.example"])], [])
