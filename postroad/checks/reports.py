"""What receivers' DMARC and TLS reports and complaints of the last two weeks say, where ``returns`` takes them."""

import time
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.errors import PostroadError
from postroad.feedback import reports
from postroad.store import database, queries

ID = "reports"
SHORT = False


def run(context: Context) -> Iterator[Finding]:
    """A finding for each thing that they say, or one that they say nothing; nothing without ``returns.domain``."""
    if not context.config.returns.domain:
        return
    try:
        engine = database.existing()
        try:
            with engine.connect() as connection:
                found = reports.rows(connection, time.time())
            counts = queries.total(queries.counts(engine, time.time() - reports.WINDOW, "sender-domain"))
        finally:
            engine.dispose()
    except (PostroadError, SQLAlchemyError, OSError, ValueError) as error:
        why = " ".join(database.reason(error).split())
        yield Finding(ID, Level.INFO, "reports of receivers can't be looked up", why, "try again", unknown=True)
        return
    if spam := reports.complaints(counts):
        yield Finding(ID, Level(spam.weight), spam.text, spam.seen, spam.fix)
    said = reports.statements(found, context.config.covers, context.facts.addresses, time.time())
    for each in said:
        yield Finding(ID, Level(each.weight), each.text, each.seen, each.fix)
    if not context.facts.addresses and any(map(context.config.covers, reports.dmarc_domains(found))):
        what = "receivers sent DMARC reports, but it is not known which of the addresses in them are ours"
        fix = "set public_ip to the address that mail leaves from, such as the NAT gateway's"
        yield Finding(ID, Level.INFO, what, context.facts.how, fix, unknown=True)
    elif not found:
        where = f"dmarc@{context.config.returns.domain}"
        what = "no receiver has sent a report in two weeks"
        yield Finding(ID, Level.INFO, what, "", f"let rua= of the DMARC records name mailto:{where}")
    elif not said:
        yield Finding(ID, Level.INFO, "no report of the last two weeks tells of mail from here")
