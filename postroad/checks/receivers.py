"""Connections to the MX hosts of several receivers, made once for the checks that look at them. Nothing is sent."""

import smtplib
import socket
import ssl
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial

from postroad.checks.context import Context, Late, Task
from postroad.errors import plainly

CONNECT = 4.0
"""Seconds for a connection: a packet that is dropped is sent again after 1 and 3 s."""


class AttemptStage(IntEnum):
    """How far a connection came."""

    NO_NAME = 0
    """The DNS gave no answer, for the MX or its addresses."""
    NO_HOST = 1
    """The DNS says that there is no such host."""
    NOT_CONNECTED = 2
    CONNECTED = 3
    """The connection is open; no greeting came in time, or none that lets us in."""
    GREETED = 4
    NO_TLS = 5
    """It does not offer STARTTLS (RFC 3207)."""
    TLS_FAILED = 6
    UNVERIFIED = 7
    """TLS works, but the certificate is not to be trusted."""
    VERIFIED = 8


@dataclass(frozen=True)
class Visit:
    """What came of one receiver.

    Attributes:
        domain: whose mail it takes.
        stage: how far the connection came.
        host: the MX.
        address: the one that was tried last.
        detail: the error or the reply that ended it, or the TLS version.
        refused: the network or the host said no, rather than nothing.
    """

    domain: str
    stage: AttemptStage
    host: str = ""
    address: str = ""
    detail: str = ""
    refused: bool = False

    def __str__(self) -> str:
        where = f"{self.host} [{self.address}]" if self.address else self.host or self.domain
        return f"{where}: {self.detail}" if self.detail else where


def visits(context: Context) -> list[Visit]:
    """One for each of ``doctor.receivers``, all at the same time."""
    tasks = [(domain, Task(partial(_visit, context, domain))) for domain in context.config.doctor.receivers]
    found = []
    for domain, task in tasks:
        try:
            found.append(task.result(context.left - 0.3))
        except Late:
            found.append(Visit(domain, AttemptStage.CONNECTED, detail="it takes too long to answer"))
    return found


def _visit(context: Context, domain: str) -> Visit:
    visit = _address(context, domain)
    if visit.stage is not AttemptStage.NOT_CONNECTED:
        return visit
    limit = min(CONNECT, max(context.left - 1, 0.1))
    try:
        connection = socket.create_connection((visit.address, 25), limit)
    except OSError as error:
        said = "no answer" if isinstance(error, TimeoutError) else plainly(error)
        return replace(visit, detail=said, refused=isinstance(error, ConnectionRefusedError))
    with connection:
        return _talk(context, visit, connection)


def _address(context: Context, domain: str) -> Visit:
    """The receiver's first MX and its address; over IPv4 where it has one, as most senders' way out is."""
    mx = context.resolver.query(domain, "MX")
    if mx.unknown:
        return Visit(domain, AttemptStage.NO_NAME, detail=f"MX: {mx.detail or mx.status}")
    ranked = sorted((int(rank), host) for rank, host in (value.split() for value in mx.values))
    host = ranked[0][1] if ranked else domain
    answers = context.resolver.look_up([(host, "A"), (host, "AAAA")])
    for answer in answers:
        if answer.found:
            return Visit(domain, AttemptStage.NOT_CONNECTED, host, answer.values[0])
    for answer in answers:
        if answer.unknown:
            detail = f"its {answer.type}: {answer.detail or answer.status}"
            return Visit(domain, AttemptStage.NO_NAME, host, detail=detail)
    return Visit(domain, AttemptStage.NO_HOST, host, detail=f"it has no address ({answers[0].status})")


def _talk(context: Context, visit: Visit, connection: socket.socket) -> Visit:
    """From the greeting to TLS, as a client that verifies."""
    connection.settimeout(max(context.left - 0.5, 0.1))
    smtp = smtplib.SMTP(local_hostname=context.config.hostname)
    smtp.sock = connection
    try:
        code, text = smtp.getreply()
        if code != 220:
            return replace(visit, stage=AttemptStage.CONNECTED, detail=_reply(code, text), refused=True)
        visit = replace(visit, stage=AttemptStage.GREETED)
        code, text = smtp.ehlo()
        if code != 250:
            return replace(visit, detail=_reply(code, text), refused=True)
        if not smtp.has_extn("starttls"):
            return replace(visit, stage=AttemptStage.NO_TLS, detail="no STARTTLS in its answer to EHLO")
        code, text = smtp.docmd("STARTTLS")
        if code != 220:
            return replace(visit, stage=AttemptStage.TLS_FAILED, detail=_reply(code, text))
        return _handshake(visit, connection)
    except (OSError, smtplib.SMTPException) as error:
        stage = max(visit.stage, AttemptStage.CONNECTED)
        said = plainly(error)
        if isinstance(error, TimeoutError) or "timed out" in said:  # smtplib makes a lost connection of it
            said = "no answer in time"
        return replace(visit, stage=stage, detail=said)


def _handshake(visit: Visit, connection: socket.socket) -> Visit:
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # no more than sendmail asks for
    try:
        with context.wrap_socket(connection, server_hostname=visit.host) as tls:
            return replace(visit, stage=AttemptStage.VERIFIED, detail=str(tls.version()))
    except ssl.SSLCertVerificationError as error:
        return replace(visit, stage=AttemptStage.UNVERIFIED, detail=error.verify_message)
    except OSError as error:  # ssl.SSLError is one
        said = "no answer in time" if isinstance(error, TimeoutError) else plainly(error)
        return replace(visit, stage=AttemptStage.TLS_FAILED, detail=said)


def _reply(code: int, text: bytes) -> str:
    return f"{code} {text.decode(errors='replace')}".replace("\n", " ")[:300]
