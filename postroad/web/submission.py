"""Messages handed to the relay's own listener for users, by SMTP: its rules, limits and suppressions hold.

Sessions are kept open between messages. The listener's certificate is compared with the one that the relay has, so that
nothing else that listens there is told a password.
"""

import base64
import contextlib
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from postroad import system
from postroad.errors import plainly
from postroad.runtime.paths import SUPPRESSED
from postroad.runtime.web import ApiKey

HOST = "127.0.0.1"
PATIENCE = 120.0
"""Seconds for each answer of the listener."""
IDLE = 20.0
"""Seconds for which a session is kept without a message; the listener's own limit is 10 seconds at least."""
MOST_KEPT = 8
"""Sessions that are kept of one user."""
LIST = SUPPRESSED.with_suffix(".db")
"""The suppression list as sendmail has it: a session that began with an older one is not used again."""
TAKEN = re.compile(r"2\.0\.0 (\S+) Message accepted for delivery")
TOO_MANY = "4.5.3"
"""The enhanced code of a recipient beyond ``limits.recipients_per_message``: it goes with the next message."""


class UnavailableError(Exception):
    """The listener can't be reached, or does not let the user in: nothing was handed over."""


@dataclass(frozen=True)
class Outcome:
    """What the relay answered for a recipient.

    Attributes:
        code: SMTP's; 0: the connection broke after the message was sent, so nobody knows.
        reply: the text behind it.
        queue_id: of the message, where it was accepted.
    """

    code: int
    reply: str
    queue_id: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the message was taken for this recipient."""
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        """Whether it was refused for good."""
        return self.code >= 500


LOST = Outcome(0, "the connection broke after the message was sent: it may have been accepted")


class Submission:
    """The way to the listener."""

    def __init__(
        self, hostname: str, port: int, certificates: Callable[[], Collection[bytes]], *, implicit: bool
    ) -> None:
        """Nothing is opened yet.

        Args:
            hostname: the name to say in EHLO.
            port: the listener's.
            certificates: returns those that the relay may have now, in DER.
            implicit: whether it speaks TLS from the first octet.
        """
        self._hostname, self._port = hostname, port
        self._implicit = implicit
        self._certificates = certificates
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False  # the certificate as a whole is compared
        self._context.verify_mode = ssl.CERT_NONE
        self._lock = threading.Lock()
        self._kept: dict[str, list[tuple[float, smtplib.SMTP]]] = {}
        self._lists: WeakKeyDictionary[smtplib.SMTP, tuple[int, int]] = WeakKeyDictionary()

    def hand_over(self, key: ApiKey, sender: str, recipients: list[str], message: bytes) -> dict[str, Outcome]:
        """Hand over a message as the key's user, in as many transactions as the listener's limits ask for.

        Args:
            key: as whose user.
            sender: the envelope's; plain ASCII, checked before.
            recipients: likewise, each once.
            message: with CRLF at each line's end.

        Returns:
            What became of each recipient.

        Raises:
            UnavailableError: nothing was handed over.
        """
        outcomes: dict[str, Outcome] = {}
        left = recipients
        while left:
            try:
                self._transaction(key, sender, left, message, outcomes)
            except UnavailableError as error:
                if not any(each.accepted or each is LOST for each in outcomes.values()):
                    raise
                outcomes |= dict.fromkeys([each for each in left if each not in outcomes], Outcome(421, str(error)))
            # each transaction tells of one recipient at least
            left = [each for each in left if each not in outcomes]
        return {each: outcomes[each] for each in recipients}

    def close(self) -> None:
        """Close the sessions that are kept."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for sessions in kept.values():
            for _, session in sessions:
                session.close()

    def _transaction(
        self, key: ApiKey, sender: str, recipients: list[str], message: bytes, outcomes: dict[str, Outcome]
    ) -> None:
        session, answer = self._begin(key, f"MAIL FROM:<{sender}>{_parameters(message)}")
        try:
            if answer.code == 250:
                usable = _deliver(session, recipients, message, outcomes)
            else:
                outcomes |= dict.fromkeys(recipients, answer)
                usable = answer.code != 421
        except (OSError, smtplib.SMTPException) as error:
            session.close()
            if not any(each in outcomes for each in recipients):
                raise UnavailableError(f"the relay's listener ended the session: {plainly(error)}") from error
            return
        if usable:
            self._keep(key, session)
        else:
            session.close()

    def _begin(self, key: ApiKey, mail: str) -> tuple[smtplib.SMTP, Outcome]:
        """A session in which MAIL was answered; one that was kept and has ended meanwhile makes room for a new one."""
        while session := self._take(key):
            try:
                answer = _ask(session, mail)
            except (OSError, smtplib.SMTPException):
                session.close()
                continue
            if answer.code != 421:
                return session, answer
            session.close()
        session = self._open(key)
        try:
            return session, _ask(session, mail)
        except (OSError, smtplib.SMTPException) as error:
            session.close()
            raise UnavailableError(f"the relay's listener ended the session: {plainly(error)}") from error

    def _open(self, key: ApiKey) -> smtplib.SMTP:
        arguments: dict[str, Any] = {"local_hostname": self._hostname, "timeout": PATIENCE}
        session: smtplib.SMTP | None = None
        lists = system.identity(LIST)
        try:
            if self._implicit:
                session = smtplib.SMTP_SSL(HOST, self._port, context=self._context, **arguments)
            else:
                session = smtplib.SMTP(HOST, self._port, **arguments)
                session.starttls(context=self._context)
            self._see_that_it_is_ours(session)
            session.ehlo()
            password = base64.b64decode(key.password)
            initial = base64.b64encode(b"\0" + key.login.encode() + b"\0" + password).decode()
            answer = _ask(session, f"AUTH PLAIN {initial}")
        except (OSError, smtplib.SMTPException) as error:
            if session is not None:
                session.close()
            raise UnavailableError(
                f"the relay's listener at port {self._port} can't be used: {plainly(error)}"
            ) from error
        if answer.code != 235:
            session.close()
            raise UnavailableError(f"the relay's listener does not let {key.login} in: {answer.code} {answer.reply}")
        self._lists[session] = lists
        return session

    def _see_that_it_is_ours(self, session: smtplib.SMTP) -> None:
        sock: Any = session.sock
        if sock.getpeercert(binary_form=True) not in self._certificates():
            raise smtplib.SMTPException("its certificate is not the relay's")

    def _take(self, key: ApiKey) -> smtplib.SMTP | None:
        with self._lock:
            kept = self._kept.get(key.name, [])
            lists = system.identity(LIST)
            while kept:
                since, session = kept.pop()
                # sendmail does not see that another file has taken the place of the list that it has open
                if time.monotonic() - since < IDLE and self._lists.get(session) == lists:
                    return session
                session.close()
        return None

    def _keep(self, key: ApiKey, session: smtplib.SMTP) -> None:
        with self._lock:
            kept = self._kept.setdefault(key.name, [])
            if len(kept) < MOST_KEPT:
                kept.append((time.monotonic(), session))
                return
        session.close()


def _parameters(message: bytes) -> str:
    """MAIL's parameters (RFC 1870, RFC 6152)."""
    return f" SIZE={len(message)}{'' if message.isascii() else ' BODY=8BITMIME'}"


def _deliver(session: smtplib.SMTP, recipients: list[str], message: bytes, outcomes: dict[str, Outcome]) -> bool:
    """RCPT and DATA; whether the session may be used again.

    Raises:
        OSError, smtplib.SMTPException: the session broke, before the message was sent.
    """
    taken: list[str] = []
    for recipient in recipients:
        answer = _ask(session, f"RCPT TO:<{recipient}>")
        if answer.accepted:
            taken.append(recipient)
        elif taken and answer.code == 452 and answer.reply.startswith(TOO_MANY):
            break
        elif answer.code == 421:
            # the listener ends a session with too many bad recipients: the others have another one
            if not any(each in outcomes for each in recipients):
                outcomes |= dict.fromkeys(recipients, answer)
            return False
        else:
            outcomes[recipient] = answer
    if not taken:
        return _ask(session, "RSET").code == 250
    answer = _ask(session, "DATA")
    if answer.code != 354:
        outcomes |= dict.fromkeys(taken, answer)
        return answer.code != 421 and _ask_quietly(session, "RSET")
    try:
        session.send(_stuffed(message))
        answer = _answer(*session.getreply())
    except (OSError, smtplib.SMTPException):
        outcomes |= dict.fromkeys(taken, LOST)
        return False
    outcomes |= dict.fromkeys(taken, answer)
    return answer.code != 421


def _stuffed(message: bytes) -> bytes:
    """What follows DATA's 354 (RFC 5321, 4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", message) + (b"" if message.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def _ask(session: smtplib.SMTP, command: str) -> Outcome:
    return _answer(*session.docmd(command))


def _ask_quietly(session: smtplib.SMTP, command: str) -> bool:
    with contextlib.suppress(OSError, smtplib.SMTPException):
        return _ask(session, command).code == 250
    return False


def _answer(code: int, text: bytes) -> Outcome:
    reply = " ".join(text.decode(errors="replace").split())
    if code == -1:
        raise smtplib.SMTPServerDisconnected("its answer is no SMTP")
    taken = TAKEN.match(reply) if code == 250 else None
    return Outcome(code, reply, taken[1] if taken else None)
