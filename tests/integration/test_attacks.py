"""What a hostile client can say on the wire: no second message, no relaying by odd addresses, no harm to the daemon."""

import contextlib
import re
import secrets
import smtplib
import socket
from collections.abc import Iterator

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.internet.host import Host
from tests.internet.internet import Internet

LISTENERS = {"smtp": 25}


class Wire:
    """An SMTP client that sends bytes as they are."""

    def __init__(self, relay: PostroadContainer, listener: str) -> None:
        self.socket = socket.create_connection((relay.host, relay.port_of(listener)), timeout=30)
        self.file = self.socket.makefile("rb")

    def reply(self) -> str:
        """The next reply, all its lines; empty when the connection has ended."""
        lines = []
        with contextlib.suppress(ConnectionError):
            while line := self.file.readline(10_000):
                lines.append(line.decode(errors="replace"))
                if line[3:4] != b"-":
                    break
        return "".join(lines)

    def say(self, data: bytes) -> str:
        """Send bytes and return the next reply."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)
        return self.reply()

    def greet(self) -> None:
        assert self.reply().startswith("220")
        assert self.say(b"EHLO client.example\r\n").startswith("250")

    def envelope(self, recipient: bytes = b"user@rcpt.example") -> None:
        assert self.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        assert self.say(b"RCPT TO:<" + recipient + b">\r\n").startswith("250")
        assert self.say(b"DATA\r\n").startswith("354")

    def rest(self) -> list[str]:
        """Say no more and return all replies that come until the connection ends."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        replies = []
        while text := self.reply():
            replies.append(text)
        return replies


@contextlib.contextmanager
def wire(relay: PostroadContainer, listener: str = "smtp") -> Iterator[Wire]:
    client = Wire(relay, listener)
    with client.socket, client.file:
        yield client


@pytest.fixture(scope="module")
def relay(relays: Relays) -> PostroadContainer:
    return relays(listeners=LISTENERS)


@pytest.fixture(scope="module")
def closed(image: str, internet: Internet) -> Iterator[PostroadContainer]:
    """A relay for which this test is an outsider."""
    relays = Relays(image, internet)
    with relays.stack:
        yield relays(
            publish=False,
            hostname="closed.sender.example",
            clients={"trust_gateway": False},
            listeners=LISTENERS,
        )


@pytest.fixture(scope="module", autouse=True)
def unharmed(relay: PostroadContainer, closed: PostroadContainer, internet: Internet) -> Iterator[None]:
    """After all attacks the daemons are the ones they were, and take mail."""
    daemons = [pid(each) for each in (relay, closed)]
    yield
    assert [pid(each) for each in (relay, closed)] == daemons
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def pid(relay: PostroadContainer) -> str:
    return relay.shell("head -qn 1 /run/postroad/sendmail*.pid")[1]


ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "LF.CR": b"\n.\r",
    "CRLF.NUL.CRLF": b"\r\n.\0\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\n",
    "CRLF..CRLF": b"\r\n..\r\n",
    "CRLF-NUL-.CRLF": b"\r\n\0.\r\n",
    "CRLF-8bit": b"\r\n.\x8a\r\n",
}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("name", ENDS)
def test_no_second_message_is_smuggled(name: str, listener: str, relay: PostroadContainer, internet: Internet) -> None:
    marker = secrets.token_hex(8)
    before = {message.raw for message in internet.messages()}
    with wire(relay, listener) as client:
        client.greet()
        client.envelope()
        client.socket.sendall(
            f"From: app@sender.example\r\nX-Marker: {marker}\r\n\r\nfirst".encode()
            + ENDS[name]
            + b"MAIL FROM:<app@sender.example>\r\nRCPT TO:<smuggled@rcpt.example>\r\nDATA\r\n"
            + f"From: app@sender.example\r\nX-Marker: {marker}\r\nSubject: smuggled\r\n\r\nsecond\r\n.\r\n".encode()
        )
        answers = [client.reply(), *client.rest()]
    assert sum(answer.startswith("250") for answer in answers) <= 1, answers
    # the relay has passed on what it took when a later message has arrived
    internet.wait_for_message(send(relay, letter()))
    arrived = [message for message in internet.messages() if message.raw not in before]
    assert not [message for message in arrived if message.recipient == "smuggled@rcpt.example"]
    first = [message for message in arrived if message.message["X-Marker"] == marker]
    assert len(first) <= 1
    for message in first:
        if name != "CRLF..CRLF":  # that is how a line of one dot is written
            # a server behind that ends lines otherwise sees no end of the message in it either
            assert re.search(rb"(^|[\r\n])\.\r?(\n|$)", message.raw) is None
        assert message.message["Subject"] is None


@pytest.mark.parametrize("line", [b"bare\nfeed", b"bare\rreturn", b"\r\rtwo", b"end\n"])
def test_bare_line_ends_in_a_message_are_refused(line: bytes, relay: PostroadContainer) -> None:
    with wire(relay) as client:
        client.greet()
        client.envelope()
        answer = client.say(b"From: app@sender.example\r\n\r\n" + line + b"\r\n.\r\n")
        assert answer.startswith("550 5.6.0 Bare "), answer
        assert client.reply() == ""  # what follows might be read as commands
    wait_until(
        lambda: any("Bare " in str(event.get("reply")) for event in relay.events() if event["event"] == "rejected")
    )


def test_a_bare_feed_in_a_header_is_refused(relay: PostroadContainer) -> None:
    with wire(relay) as client:
        client.greet()
        client.envelope()
        answer = client.say(b"From: app@sender.example\r\nSubject: a\nBcc: more@rcpt.example\r\n\r\nbody\r\n.\r\n")
        assert answer.startswith("550 5.6.0 Bare "), answer


def test_a_message_sent_before_the_answer_to_data_is_refused(relay: PostroadContainer, internet: Internet) -> None:
    marker = secrets.token_hex(8)
    with wire(relay) as client:
        client.greet()
        client.socket.sendall(
            b"MAIL FROM:<app@sender.example>\r\nRCPT TO:<user@rcpt.example>\r\nDATA\r\n"
            + f"From: app@sender.example\r\nX-Marker: {marker}\r\n\r\n".encode()
            + b"RCPT TO:<more@rcpt.example>\r\nRSET\r\n.\r\n"
        )
        replies = [client.reply()[:3] for _ in range(4)]
    assert replies == ["250", "250", "554", ""], replies
    internet.wait_for_message(send(relay, letter()))
    assert not [message for message in internet.messages() if message.message["X-Marker"] == marker]


def test_where_all_recipients_are_refused_the_text_that_follows_is_no_message(closed: PostroadContainer) -> None:
    with wire(closed) as client:
        client.greet()
        client.socket.sendall(
            b"MAIL FROM:<app@sender.example>\r\nRCPT TO:<user@rcpt.example>\r\nDATA\r\n"
            b"From: app@sender.example\r\n\r\nbody\r\n.\r\n"
        )
        replies = [client.reply()[:3] for _ in range(3)]
        assert replies[:2] == ["250", "550"]
        assert replies[2][0] in "45"
    assert not [event for event in closed.events() if event["event"] == "accepted"]


def test_no_message_comes_in_by_chunks(relay: PostroadContainer) -> None:
    with wire(relay) as client:
        assert client.reply().startswith("220")
        assert "CHUNKING" not in client.say(b"EHLO client.example\r\n")
        assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        assert client.say(b"RCPT TO:<user@rcpt.example>\r\n").startswith("250")
        assert client.say(b"BDAT 86 LAST\r\n").startswith("5")


EARLY = b"EHLO early.example\r\nMAIL FROM:<app@sender.example>\r\nRCPT TO:<user@rcpt.example>\r\n"


@pytest.mark.parametrize("before", [b"", b"\0" * 3000 + b"\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_talks_before_the_greeting_gains_nothing(before: bytes, closed: PostroadContainer) -> None:
    with wire(closed) as client:
        client.socket.sendall(before + EARLY)
        replies = [client.reply()]
        assert re.match(r"220|4|5", replies[0])
        replies += client.rest()
        assert not any("Recipient ok" in reply for reply in replies)


@pytest.mark.parametrize("length", [600, 2_100, 13_000, 1_000_000])
@pytest.mark.parametrize(
    "form", ["{}", "EHLO {}", "MAIL FROM:<{}@sender.example>", "RCPT TO:<{}@rcpt.example>", "MAIL FROM:<a@{}>"]
)
def test_a_long_command_is_refused(form: str, length: int, relay: PostroadContainer) -> None:
    with wire(relay) as client:
        client.greet()
        if form.startswith("RCPT"):
            assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        answer = client.say(form.format("x" * length).encode() + b"\r\n")
        assert answer == "" or answer[0] in "45", answer[:200]


def test_a_long_line_of_a_message_arrives_or_is_refused_whole(relay: PostroadContainer, internet: Internet) -> None:
    marker = secrets.token_hex(8)
    with wire(relay) as client:
        client.greet()
        client.envelope()
        answer = client.say(
            f"From: app@sender.example\r\nX-Marker: {marker}\r\n\r\n".encode() + b"x" * 1_000_000 + b"\r\nend\r\n.\r\n"
        )
        assert answer.startswith("250")
    received = internet.wait_for_message(lambda message: message.message["X-Marker"] == marker)
    assert received.verdict("dkim") == "pass"
    assert b"\nend\n" in received.raw
    assert received.raw.count(b"x") >= 1_000_000


def arrived_signed_or_refused(internet: Internet, marker: bytes, answer: str) -> None:
    """A message with this X-Marker, of which this was answered."""
    if answer.startswith("250"):
        received = internet.wait_for_message(lambda message: message.message["X-Marker"] == marker.decode())
        assert received.verdict("dkim") == "pass"
    else:
        assert answer == "" or answer[0] in "45", answer


@pytest.mark.parametrize("headers", [b"X-Long: " + b"y" * 200_000, b"X-Many: z\r\n" * 5_000, b"T" * 50_000 + b": x"])
def test_headers_without_measure_are_refused_or_arrive_signed(
    headers: bytes, relay: PostroadContainer, internet: Internet
) -> None:
    marker = secrets.token_hex(8).encode()
    with wire(relay) as client:
        client.greet()
        client.envelope()
        answer = client.say(
            b"From: app@sender.example\r\nX-Marker: " + marker + b"\r\n" + headers.rstrip() + b"\r\n\r\nbody\r\n.\r\n"
        )
    arrived_signed_or_refused(internet, marker, answer)


@pytest.mark.parametrize(
    "command",
    [
        b"MAIL FROM:<app\0@sender.example>",
        b"MAIL FROM:<app@sender.example\0.evil.example>",
        b"RCPT TO:<user\0@rcpt.example>",
        b"RCPT TO:<user@rcpt.example\0@evil.example>",
        b"MAIL FROM:<caf\xc3\xa9@sender.example>",
        b"MAIL FROM:<\xff\xfe@sender.example>",
        b"MAIL FROM:<app@s\xc3\xa9nder.example>",
        b"RCPT TO:<\x80@rcpt.example>",
        b"RCPT TO:<\x9d\x81user@rcpt.example>",
        b"\x80\x81\x82",
        b"\0",
    ],
)
def test_nul_and_8_bit_in_commands_are_refused_or_do_nothing(
    command: bytes, relay: PostroadContainer, internet: Internet
) -> None:
    known = len(internet.messages())
    with wire(relay) as client:
        client.greet()
        if command.startswith(b"RCPT"):
            assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        answer = client.say(command + b"\r\n")
        client.rest()
    assert answer == "" or answer[0] in "45", answer
    assert len(internet.messages()) == known


def test_nul_in_a_message_ends_up_as_it_was_signed_or_is_refused(relay: PostroadContainer, internet: Internet) -> None:
    marker = secrets.token_hex(8).encode()
    with wire(relay) as client:
        client.greet()
        client.envelope()
        answer = client.say(
            b"From: app@sender.example\r\nX-Marker: " + marker + b"\r\nSubject: a\0b\r\n\r\na\0b\r\n.\r\n"
        )
    arrived_signed_or_refused(internet, marker, answer)


@pytest.mark.parametrize(
    "command",
    [
        "VRFY root",
        "VRFY user@rcpt.example",
        "EXPN postmaster",
        "ETRN rcpt.example",
        "TURN",
        "ATRN rcpt.example",
        "HELP",
        "VERB",
        "ONEX",
        "DEBUG",
        "WIZ",
        "SEND FROM:<app@sender.example>",
        "SAML FROM:<app@sender.example>",
        "XUSR",
        "XCLIENT ADDR=127.0.0.1",
        "XFORWARD ADDR=127.0.0.1",
    ],
)
def test_commands_that_tell_or_do_too_much_are_refused(command: str, relay: PostroadContainer) -> None:
    with wire(relay) as client:
        client.greet()
        answer = client.say(command.encode() + b"\r\n")
        assert re.match(r"5\d\d|252|214", answer), answer
        assert "@rcpt.example" not in answer


ODD = [
    "@rcpt.example:user@other.example",
    "@rcpt.example,@two.example:user@other.example",
    "@closed.sender.example:user@rcpt.example",
    "user%rcpt.example@closed.sender.example",
    "user%rcpt.example@sender.example",
    "user%rcpt.example@localhost",
    "user%rcpt.example@[127.0.0.1]",
    "user%rcpt.example",
    "user%other.example@rcpt.example",
    '"user@rcpt.example"@closed.sender.example',
    '"user@rcpt.example"@sender.example',
    '"user@rcpt.example"@localhost',
    '"user@rcpt.example"',
    '"user%rcpt.example"@closed.sender.example',
    "user@rcpt.example@closed.sender.example",
    "user@rcpt.example@localhost",
    "rcpt.example!user",
    "rcpt.example!user@closed.sender.example",
    "closed.sender.example!rcpt.example!user",
    "localhost!user%rcpt.example",
    "user@rcpt.example%localhost",
    "user@[198.51.100.7]",
    "user@[127.0.0.1]",
    "user@localhost.rcpt.example@localhost",
    "postmaster@[127.0.0.1]",
    "|/bin/sh",
    "/tmp/file",
    ":include:/etc/passwd",
    '"|/bin/sh"@localhost',
    '"/tmp/file"@closed.sender.example',
    "root",
    "postmaster",
]


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("sender", ["app@sender.example", "", "root@closed.sender.example"])
def test_an_outsider_relays_by_no_form_of_address(sender: str, listener: str, closed: PostroadContainer) -> None:
    with wire(closed, listener) as client:
        client.greet()
        for recipient in ODD:
            client.say(f"MAIL FROM:<{sender}>\r\n".encode())
            answer = client.say(f"RCPT TO:<{recipient}>\r\n".encode())
            assert answer.startswith("5"), (recipient, answer)
            assert client.say(b"DATA\r\n").startswith("5"), recipient
            client.say(b"RSET\r\n")


WHERE = {
    "user%elsewhere.example@rcpt.example": "rcpt.example",
    '"user@elsewhere.example"@rcpt.example': "rcpt.example",
    "@elsewhere.example:user@rcpt.example": "rcpt.example",
    "user%rcpt.example@mail.sender.example": None,
    '"user@rcpt.example"@mail.sender.example': None,
    "rcpt.example!user@mail.sender.example": None,
    "rcpt.example!user": None,
    "mail.sender.example!rcpt.example!user": None,
    "user%rcpt.example": None,
    "user%rcpt.example@localhost": None,
    "user@rcpt.example@mail.sender.example": None,
    "|/bin/sh": None,
    '"|touch /tmp/x"@mail.sender.example': None,
    "/tmp/file": None,
    ":include:/etc/passwd": None,
    "root": None,
}


@pytest.mark.parametrize("recipient", WHERE)
def test_a_trusted_client_s_odd_address_goes_to_its_last_domain_or_nowhere(
    recipient: str, relay: PostroadContainer
) -> None:
    with wire(relay) as client:
        client.greet()
        assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        answer = client.say(f"RCPT TO:<{recipient}>\r\n".encode())
        if WHERE[recipient] is None:
            assert answer.startswith("5"), answer
            return
        assert answer.startswith("250"), answer
        assert client.say(b"DATA\r\n").startswith("354")
        answer = client.say(b"From: app@sender.example\r\n\r\nbody\r\n.\r\n")
        queue_id = answer.split()[2]
    events = [event for event in relay.follow(queue_id) if event["event"] in {"delivered", "bounced"}]
    assert {event.get("relay_host") for event in events} == {f"mx.{WHERE[recipient]}"}


@pytest.mark.parametrize(
    "command",
    [
        b"RCPT TO:<jane doe@rcpt.example>",
        b"RCPT TO:<a @rcpt.example>",
        b"RCPT TO:<a(c)@rcpt.example>",
        b"RCPT TO:<A <a@rcpt.example>>",
        b"RCPT TO:<a@rcpt.example>x",
        b"RCPT TO:<a@rcpt.example.>",
        b"RCPT TO:<a..b@rcpt.example>",
        b"RCPT TO:<a@rcpt.\x80example>",
        b"RCPT TO:<a@rcpt.ex\xe1mple>",
        b"RCPT TO:<a@rcpt.example> ORCPT=rfc822;a+0D+0AX:+20b@x",
        b"MAIL FROM:<a p@sender.example>",
        b"MAIL FROM:<app@s\xe5nder.example>",
        b"MAIL FROM:<app@sender.example> ENVID=a+0D+0AX:+20b",
    ],
)
def test_an_address_that_is_not_plain_is_refused(command: bytes, relay: PostroadContainer) -> None:
    with wire(relay) as client:
        client.greet()
        if command.startswith(b"RCPT"):
            assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        assert re.match(r"501|553", client.say(command + b"\r\n"))
        assert client.say(b"NOOP\r\n").startswith("250")


def test_a_parameter_that_was_refused_is_in_no_bounce(relay: PostroadContainer, internet: Internet) -> None:
    """sendmail keeps the ORCPT of a recipient that was refused where the same recipient was taken before."""
    with wire(relay) as client:
        client.greet()
        assert client.say(b"MAIL FROM:<app@sender.example>\r\n").startswith("250")
        assert client.say(b"RCPT TO:<unknown-odd@rcpt.example> ORCPT=rfc822;a@b\r\n").startswith("250")
        assert client.say(b"RCPT TO:<unknown-odd@rcpt.example> ORCPT=rfc822;a+0D+0AX-Odd:+20b\r\n").startswith("501")
        assert client.say(b"DATA\r\n").startswith("354")
        assert client.say(b"From: app@sender.example\r\n\r\nodd\r\n.\r\n").startswith("550 5.5.4 ORCPT")
    internet.wait_for_message(send(relay, letter()))
    assert not [message for message in internet.messages() if b"\nX-Odd:" in message.raw]


def test_nobody_ties_the_relay_up_with_idle_connections(relay: PostroadContainer, app: Host) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(49):
            stack.enter_context(wire(relay)).socket.sendall(b"EHLO x\r\nMAIL FROM:<app@sender")
        with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
            assert smtp.send_message(letter()) == {}
    assert app.run("python3", "-c", "print(1)").strip() == b"1"
