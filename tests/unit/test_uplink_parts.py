"""The uplink's parts without I/O: SCRAM, mechanisms, replies, accounts, and the names that sendmail has for servers."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.events import model, relays
from postroad.events.parse import Parser
from postroad.events.syslog import LogLine
from postroad.uplink import accounts, mechanisms, replies, scram
from postroad.uplink.accounts import Account
from postroad.uplink.replies import Reply

SHA1 = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
SHA256 = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


@pytest.mark.parametrize(
    ("name", "nonce", "challenge", "proof", "final"),
    [
        ("sha1", "fyko+d2lbbFgONRv9qkxdawL", SHA1, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
        (
            *("sha256", "rOprNGfwEbeRWgbNEkqO", SHA256, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_scram_says_what_the_rfcs_say(name: str, nonce: str, challenge: bytes, proof: str, final: str) -> None:
    # RFC 5802, 5; RFC 7677, 3
    client = scram.Client(name, "user", "pencil", nonce)
    assert client.first() == f"n,,n=user,r={nonce}".encode()
    assert client.final(challenge).endswith(f",p={proof}".encode())
    client.verify(f"v={final}".encode())
    with pytest.raises(scram.ScramError, match="does not prove"):
        client.verify(b"v=AAAA")


@pytest.mark.parametrize(
    "challenge",
    [b"", b"\xff", b"r=abc,s=QQ==,i=4096", b"r=other,s=QQ==,i=1", b"r=abcd,s=Q,i=1", b"r=abcd,s=QQ==,i=999999999"],
)
def test_scram_takes_no_other_challenge(challenge: bytes) -> None:
    with pytest.raises(scram.ScramError):
        scram.Client("sha256", "user", "pencil", "abc").final(challenge)


def test_scram_prepares_names_and_passwords() -> None:
    assert scram.prepared("I\u00adX") == "IX"  # RFC 4013, 3
    assert scram.prepared("\u2168") == "IX"
    assert scram.prepared("a\u00a0b") == "a b"
    assert b"n=a=2Cb=3D," in scram.Client("sha1", "a,b=", "x", "n").first()


def test_a_scram_server_that_proves_nothing_is_not_believed() -> None:
    exchange = mechanisms.Scram("sha1", "user", "pencil")
    assert exchange.initial is not None
    nonce = exchange.initial.rpartition(b"r=")[2]
    exchange.answer(b"r=" + nonce + b"x,s=QQ==,i=1")
    with pytest.raises(mechanisms.MechanismError, match="prove"):
        exchange.finished()
    with pytest.raises(mechanisms.MechanismError, match="prove"):
        exchange.answer(b"v=AAAA")


def test_mechanisms_with_a_password() -> None:
    assert mechanisms.Plain("app", "pässword").initial == "\0app\0pässword".encode()
    login = mechanisms.Login("app", "secret")
    assert login.initial is None
    assert [login.answer(b"Username:"), login.answer(b"Password:")] == [b"app", b"secret"]
    with pytest.raises(mechanisms.MechanismError):
        login.answer(b"And?")
    # RFC 2195, 2
    cram = mechanisms.CramMd5("tim", "tanstaaftanstaaf")
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram.answer(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert hmac.new(b"tanstaaftanstaaf", challenge, hashlib.md5).hexdigest() == "b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(mechanisms.MechanismError, match="base64"):
        mechanisms.decoded("?")


@pytest.mark.parametrize(
    ("offered", "tried"),
    [
        ("PLAIN LOGIN CRAM-MD5", ["CRAM-MD5", "PLAIN", "LOGIN"]),
        ("login plain", ["PLAIN", "LOGIN"]),
        ("SCRAM-SHA-1 SCRAM-SHA-256 PLAIN LOGIN", ["SCRAM-SHA-256", "PLAIN", "LOGIN"]),
        ("SCRAM-SHA-1", ["SCRAM-SHA-1"]),
        ("LOGIN", ["LOGIN"]),
        ("NTLM GSSAPI DIGEST-MD5 ANONYMOUS EXTERNAL XOAUTH2", []),
    ],
)
def test_the_best_mechanism_comes_first(offered: str, tried: list[str]) -> None:
    assert mechanisms.choose(offered.split()) == tried


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (535, "5.7.8 Error: authentication failed: (reason unavailable)", "credentials"),
        (535, "5.7.3 Authentication unsuccessful", "credentials"),
        (530, "5.7.57 Client not authenticated to send mail", "credentials"),
        (550, "5.4.5 Daily user sending limit exceeded. For more information on Gmail", "quota"),
        (550, "5.4.5 Daily SMTP relay sending limit exceeded for user", "quota"),
        (454, "Throttling failure: Daily message quota exceeded.", "quota"),
        (
            550,
            "5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
            "quota",
        ),
        (451, "Authentication failed: Maximum credits exceeded", "quota"),
        (250, "2.0.0 daily sending quota exceeded is only a name", None),
        (550, "5.1.1 no such user here", None),
        (552, "5.2.2 The email account that you tried to reach is over quota", None),
        (452, "4.2.2 mailbox full", None),
        (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", None),
        (554, "5.7.1 Message rejected: email address is not verified", None),
        (454, "4.7.0 Throttling failure: Maximum sending rate exceeded.", None),
    ],
)
def test_what_speaks_of_the_account(code: int, text: str, kind: str | None) -> None:
    assert replies.kind_of(Reply(code, (text,))) == kind
    if kind:
        instead = replies.for_now("smtp.example", Reply(code, (text,)), kind)
        assert instead.startswith(b"45")
        assert text.encode()[:60] in instead
        assert instead.endswith(b"\r\n")


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_line_is_a_reply_or_none(line: bytes) -> None:
    try:
        code, _, text = replies.parse_line(line)
    except replies.ReplyError:
        return
    assert 200 <= code <= 599
    instead = replies.for_now("h", Reply(code, (text,)), replies.QUOTA)
    assert len(instead) < 512
    assert instead.count(b"\n") == 1
    assert instead.isascii()


def test_an_account_whose_credentials_are_refused_is_left_alone_for_longer_and_longer() -> None:
    account = Account()
    assert account.rests(100.0) == ""
    assert account.refused(100.0, "no")
    assert not account.refused(100.1, "no")  # a session that was under way
    assert account.rests(100.0 + accounts.FIRST_PAUSE - 0.1) == "no"
    now = 100.0 + accounts.FIRST_PAUSE
    assert account.rests(now) == ""  # one tries
    assert account.rests(now + 1) == "no"  # and the others wait for it
    assert not account.refused(now + 1, "no")
    assert account.rests(now + 1 + 2 * accounts.FIRST_PAUSE - 0.1) == "no"
    assert account.rests(now + 1 + 2 * accounts.FIRST_PAUSE) == ""
    account.put_off()  # the network failed: the next one tries
    assert account.rests(now + 1 + 2 * accounts.FIRST_PAUSE) == ""
    assert account.works(now + 1 + 2 * accounts.FIRST_PAUSE)
    assert not account.works(now + 20)
    assert account.rests(now + 20) == ""
    for _ in range(20):
        now += 1000
        account.refused(now, "no")
    assert account.until - now == accounts.LONGEST_PAUSE


def test_one_who_tried_and_never_said_what_came_of_it_is_not_waited_for() -> None:
    account = Account()
    account.refused(0.0, "no")
    assert account.rests(10.0) == ""
    assert account.rests(10.0 + accounts.TRY_WITHIN - 1) == "no"
    assert account.rests(10.0 + accounts.TRY_WITHIN) == ""


def test_a_session_that_opens_while_there_is_no_quota_proves_nothing() -> None:
    account = Account()
    assert account.has_no_quota(0.0, "daily limit")
    assert not account.works(1.0)
    assert account.rests(accounts.QUOTA_PAUSE - 1) == "daily limit"
    assert account.rests(accounts.QUOTA_PAUSE) == ""
    assert account.works(accounts.QUOTA_PAUSE)


def test_names_for_servers() -> None:
    name = relays.inner_name("smtp.example.net", "0a1b2c")
    assert name == "smtp.example.net.0a1b2c.uplink"
    assert relays.plain(f"Connection refused by {name}.") == "Connection refused by smtp.example.net"
    assert relays.plain(f"Connection timed out with {name}.: x") == "Connection timed out with smtp.example.net: x"
    assert relays.plain("a.0a1b2c.uplink.example.com") == "a.0a1b2c.uplink.example.com"
    known = relays.Relays()
    assert known.of(7, f"{name}.", "241.10.27.44") == ("smtp.example.net", None)
    assert known.learn(relays.session(7, "0a1b2c", "192.0.2.1"))
    assert known.of(7, f"{name}.", "241.10.27.44") == ("smtp.example.net", "192.0.2.1")
    assert known.of(8, name, None) == ("smtp.example.net", None)
    assert known.of(7, "mx.example", "192.0.2.9") == ("mx.example", "192.0.2.9")
    for address in ("192.0.2.4", "2001:db8::25"):
        assert known.of(7, relays.inner_name(address, "0a1b2d"), None) == (None, address)
    assert not known.learn("anything else")
    for pid in range(2 * relays.REMEMBERED):
        known.learn(relays.session(pid, "0a1b2c", "192.0.2.1"))
    assert known.of(7, name, None) == ("smtp.example.net", None)


def test_events_have_the_servers_own_names() -> None:
    def line(program: str, text: str, pid: int = 7) -> LogLine:
        return LogLine(time=1.0, facility=2, severity=6, program=program, pid=pid, text=text)

    parser = Parser()
    relay = "relay=smtp.example.net.0a1b2c.uplink [241.10.27.44]"
    to = f"6AQ7nhQ3000109: to=<u@rcpt.example>, delay=00:00:01, xdelay=00:00:01, mailer=smarthost, pri=30235, {relay}"
    assert parser.feed(line("uplink", relays.session(7, "0a1b2c", "192.0.2.1"))) == []
    (event,) = parser.feed(line("sendmail", f"{to}, dsn=2.0.0, stat=Sent (Ok: queued as 1)"))
    assert isinstance(event, model.Delivered)
    assert (event.relay_host, event.relay_address) == ("smtp.example.net", "192.0.2.1")
    lost = "Deferred: Connection reset by smtp.example.net.0a1b2c.uplink."
    (event,) = parser.feed(line("sendmail", f"{to}, dsn=4.0.0, stat={lost}", pid=8))
    assert isinstance(event, model.Deferred)
    assert (event.relay_host, event.relay_address) == ("smtp.example.net", None)
    assert event.status == "Connection reset by smtp.example.net"
    (other,) = parser.feed(line("uplink", "anything else"))
    assert isinstance(other, model.Raw)
