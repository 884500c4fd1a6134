"""``postroad tls-report``."""

import json
from datetime import UTC, datetime, timedelta

import click
from sqlalchemy import Engine, select

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.cli.send import hand_over
from postroad.config.load import load
from postroad.dns.resolver import Resolver, servers
from postroad.feedback import tls_report
from postroad.feedback.tls_report import DomainSessions
from postroad.store import database
from postroad.store.schema import EVENTS

MOST = 1000
"""Domains that are asked whether they want a report: those with most sessions."""


@click.command(epilog=example("tls-report --send"))
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="The day, in UTC. Not given: yesterday.")
@click.option("--send", is_flag=True, help="Send each report to the domain that asks for it.")
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON.")
def command(day: datetime | None, send: bool, as_json: bool) -> int:
    """Tell domains how a day's deliveries to them fared with TLS (RFC 8460), where they ask for it in the DNS.

    Exit code 1: a report was refused.
    """
    config = load()
    now = datetime.now(UTC)
    begin = (day or now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    with database.told("read"):
        seen = tls_report.sessions(_events(database.existing(), begin))
    wanted = _wanted(Resolver(servers([str(address) for address in config.dns.servers])), seen)
    contact = config.postmaster
    console = terminal.console(soft_wrap=True, quiet=as_json)
    made = {domain: tls_report.report(domain, seen[domain], begin, config.hostname, contact) for domain in wanted}
    if as_json:
        click.echo(json.dumps(list(made.values()), indent=2))
    refused = 0
    for domain, each in made.items():
        summary = each["policies"][0]["summary"]
        good, bad = summary["total-successful-session-count"], summary["total-failure-session-count"]
        console.print(plain(f"{domain}: {good} sessions with TLS, {bad} without, to {', '.join(wanted[domain])}"))
        for to in wanted[domain] if send else ():
            refusal = hand_over(config, tls_report.letter(each, to, contact, now))
            if refusal:
                refused += 1
                console.print(f"[red]✘[/] {plain(to)}: {plain(refusal)}")
    if not made:
        console.print(f"{len(seen)} domains got mail on {begin:%Y-%m-%d}, and none of them asks for reports")
    return 1 if refused else 0


def _events(engine: Engine, begin: datetime) -> list[dict[str, object]]:
    first = begin.timestamp()
    query = (
        select(EVENTS.c.data)
        .where(EVENTS.c.time >= first, EVENTS.c.time < first + 86_400, EVENTS.c.kind.in_(tls_report.KINDS))
        .order_by(EVENTS.c.id)
    )
    with engine.connect() as connection:
        return [json.loads(row.data) for row in connection.execute(query)]


def _wanted(resolver: Resolver, seen: dict[str, DomainSessions]) -> dict[str, list[str]]:
    """Who wants a report, by domain, and at which addresses."""
    most = sorted(seen, key=lambda domain: -(seen[domain].successful + seen[domain].failed.total()))[:MOST]
    answers = resolver.look_up([(f"_smtp._tls.{domain}", "TXT") for domain in most])
    found = {domain: tls_report.recipients(answer.values) for domain, answer in zip(most, answers, strict=True)}
    return {domain: addresses for domain, addresses in found.items() if addresses}
