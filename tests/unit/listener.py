"""A submission listener of a test's own: SMTP with STARTTLS or TLS from the start, AUTH PLAIN, and answers by a script."""

import base64
import itertools
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.unit.test_uplink_session import make_certificate

CLOSE = "421 4.3.2 closing"


def accepting() -> Callable[[bytes], str]:
    """Takes every message, with another id each."""
    numbers = itertools.count(1)
    return lambda _: f"250 2.0.0 4AQ{next(numbers):011} Message accepted for delivery"


@dataclass
class Taken:
    """A message that was taken."""

    user: str
    sender: str
    parameters: str
    recipients: list[str]
    data: bytes
    session: int


@dataclass
class Listener:
    """Serves until ``close``. What it answers to MAIL, RCPT and DATA may be set; None in place of an answer closes."""

    folder: Path
    implicit: bool = False
    password: bytes = b"secret"
    most: int = 100
    mail: Callable[[str], str | None] = lambda _: "250 2.1.0 Sender ok"
    rcpt: Callable[[str], str | None] = lambda _: "250 2.1.5 Recipient ok"
    end: Callable[[bytes], str | None] = field(default_factory=accepting)
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: int = 0

    def __post_init__(self) -> None:
        made = make_certificate(self.folder / "listener.pem", "DNS:localhost")
        self.certificate = ssl.PEM_cert_to_DER_cert(made.read_text()[: made.read_text().index("-----BEGIN PRIVATE")])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.end_sessions()

    def end_sessions(self) -> None:
        for client in self.clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.sessions += 1
            threading.Thread(target=self._serve, args=(client, self.sessions), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        session = Session(self, client, number)
        with suppress(OSError, ValueError):
            if self.implicit:
                session.encrypt()
            self.clients.append(session.client)
            session.talk()
        session.client.close()


class Session:
    """One client's session."""

    def __init__(self, listener: Listener, client: socket.socket, number: int) -> None:
        self.listener, self.client, self.number = listener, client, number
        self.user, self.sender, self.parameters = "", "", ""
        self.recipients: list[str] = []
        self.reader = client.makefile("rb")

    def encrypt(self) -> None:
        self.client = self.listener.context.wrap_socket(self.client, server_side=True)
        self.listener.clients.append(self.client)
        self.reader = self.client.makefile("rb")

    def talk(self) -> None:
        say(self.client, "220 mail.sender.example ESMTP")
        while line := self.reader.readline().decode("latin-1").rstrip("\r\n"):
            self.listener.commands.append(line)
            if line.upper() == "STARTTLS":
                say(self.client, "220 2.0.0 go ahead")
                self.encrypt()
                continue
            answer = getattr(self, line[:4].lower(), self.rset)(line)
            if answer is None:
                return
            say(self.client, answer)
            if answer.startswith("421"):
                return

    def rset(self, _: str) -> str:
        return "250 2.0.0 ok"

    def ehlo(self, _: str) -> str:
        return "250-mail.sender.example\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN"

    def auth(self, line: str) -> str:
        _, name, password = base64.b64decode(line.split()[2]).split(b"\0")
        self.user = name.decode() if password == self.listener.password else ""
        return "235 2.0.0 OK Authenticated" if self.user else "535 5.7.0 authentication failed"

    def mail(self, line: str) -> str | None:
        self.sender, _, self.parameters = line[len("MAIL FROM:<") :].partition(">")
        self.recipients = []
        return self.listener.mail(self.sender) if self.user else "530 5.7.0 Authentication required"

    def rcpt(self, line: str) -> str | None:
        address = line[len("RCPT TO:<") :].rpartition(">")[0]
        if len(self.recipients) >= self.listener.most:
            return "452 4.5.3 Too many recipients"
        answer = self.listener.rcpt(address)
        if answer and answer.startswith("250"):
            self.recipients.append(address)
        return answer

    def data(self, _: str) -> str | None:
        say(self.client, "354 go on")
        data = message(self.reader)
        answer = self.listener.end(data)
        if answer and answer.startswith("250"):
            about = self.user, self.sender, self.parameters.strip(), self.recipients, data, self.number
            self.listener.taken.append(Taken(*about))
        return answer


def message(reader: IO[bytes]) -> bytes:
    found = b""
    while (line := reader.readline()) != b".\r\n":
        if not line:
            raise OSError("cut off")
        found += line[1:] if line.startswith(b".") else line
    return found


def say(client: socket.socket, text: str) -> None:
    client.sendall(f"{text}\r\n".encode())
