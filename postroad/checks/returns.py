"""Whether what comes back finds its way: the MX of ``returns.domain`` leads to a server that takes it and no more."""

import smtplib
from collections.abc import Iterator

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level, unanswered
from postroad.dns.resolver import Answer
from postroad.errors import plainly

ID = "returns"
SHORT = False

CONNECT = 4.0
"""Seconds for a connection."""
PORT = 25
NOBODY = "no-such-address"
"""A local part that there is none of."""


def run(context: Context) -> Iterator[Finding]:
    """One finding; none where ``returns.domain`` is not set."""
    domain = context.config.returns.domain
    if domain:
        yield _of(context, domain)


def _of(context: Context, domain: str) -> Finding:
    mx = context.resolver.query(domain, "MX")
    if mx.unknown:
        return unanswered(ID, mx)
    if not mx.found:
        what = (
            f"{domain} has no MX: late bounces, complaints and reports are lost, and receivers may refuse its senders"
        )
        record = context.record(domain, "MX")
        return Finding(ID, Level.ERROR, what, f"no MX record ({mx.status})", "publish the MX record", record)
    host = min(mx.values, key=lambda value: int(value.split()[0])).split()[1]
    answers = context.resolver.look_up([(host, "A"), (host, "AAAA")])
    addresses = [value for answer in answers for value in answer.values]
    if not addresses:
        return _without_address(domain, host, answers)
    return _asked(context, domain, host, addresses[0])


def _without_address(domain: str, host: str, answers: list[Answer]) -> Finding:
    for answer in answers:
        if answer.unknown:
            return unanswered(ID, answer)
    what = f"the MX of {domain} has no address: late bounces, complaints and reports are lost"
    return Finding(ID, Level.ERROR, what, host, f"publish the address of {host}, or another MX")


def _asked(context: Context, domain: str, host: str, address: str) -> Finding:
    """Ask it for two addresses, of which it should take one; nothing is sent."""
    where = f"{host} [{address}]"
    try:
        takes, other = _replies(context, domain, address)
    except (OSError, smtplib.SMTPException) as error:
        said = plainly(error)
        what = f"the MX of {domain} can't be reached from here: whether others reach it is not known"
        fix = (
            f"publish port returns.listen ({context.config.returns.listen}) as port 25 of {host}, and try from outside"
        )
        return Finding(ID, Level.WARNING, what, f"{where}: {said}", fix, unknown=True)
    seen = f"{where}: {takes[0]} {takes[1].decode(errors='replace')}; {other[0]} {other[1].decode(errors='replace')}"
    if takes[0] == 250 and other[0] == 550:
        return Finding(ID, Level.OK, f"what comes back to {domain} is taken, and nothing else", seen)
    what = f"another server answers for {domain}, or the one before this one does: what comes back does not get here"
    fix = f"let the MX lead to a host whose port 25 is port returns.listen ({context.config.returns.listen}) here"
    return Finding(ID, Level.ERROR, what, seen, fix)


def _replies(context: Context, domain: str, address: str) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    """What RCPT is answered for an address that there is, and for one that there is not.

    Raises:
        OSError, smtplib.SMTPException: there is no answer.
    """
    smtp = smtplib.SMTP(timeout=min(CONNECT, max(context.left / 4, 0.1)))
    try:
        smtp.connect(address, PORT)
        smtp.ehlo(context.config.hostname)
        smtp.mail("")
        replies = smtp.rcpt(f"postmaster@{domain}"), smtp.rcpt(f"{NOBODY}@{domain}")
        smtp.docmd("QUIT")
        return replies
    finally:
        smtp.close()
