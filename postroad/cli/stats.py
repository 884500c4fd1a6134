"""``postroad stats``."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from sqlalchemy import Engine

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.cli.times import duration
from postroad.config.values import format_duration
from postroad.store import database, queries


@click.command(epilog=example("stats --since 7d --by class"))
@click.option("--since", default="24h", show_default=True, callback=duration, help="How far back.")
@click.option("--by", "group", type=click.Choice(list(queries.GROUPS)), default="sender-domain", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option("--watch", is_flag=True, help="Count again every two seconds, until interrupted.")
def command(since: timedelta, group: str, as_json: bool, watch: bool) -> None:
    """Count what was accepted, delivered, deferred (attempts), bounced, rejected; rates of bounces and complaints."""
    engine = database.existing()
    with suppress(KeyboardInterrupt), database.told("read"):
        if as_json:
            rows = queries.counts(engine, time.time() - since.total_seconds(), group)
            whole = {"since": format_duration(since), "groups": rows}
            shared = {"total": queries.total(rows)} if database.is_server(engine) else {}
            click.echo(json.dumps(whole | shared, indent=2))
            return
        console = terminal.console()
        if watch:
            with Live(_table(engine, since, group), console=console, auto_refresh=False) as live:
                while True:
                    time.sleep(2)
                    live.update(_table(engine, since, group), refresh=True)
        console.print(_table(engine, since, group))


def _table(engine: Engine, since: timedelta, group: str) -> Table:
    rows = queries.counts(engine, time.time() - since.total_seconds(), group)
    by_relay = database.is_server(engine) and group != "relay"
    table = Table(box=None, title=f"the last {format_duration(since)}", title_justify="left")
    table.add_column(group.replace("-", " "))
    if by_relay:
        table.add_column("relay")
    for kind in (*queries.COUNTED, "bounce rate", "complaint rate"):
        table.add_column(kind, justify="right")
    for row in rows:
        label = _label(row[group.replace("-", "_")], group)
        if not by_relay:
            table.add_row(label, *_numbers(row))
            continue
        each_relay = row.get("relays") or [row | {"relay": None}]
        for each in each_relay:
            table.add_row(label, plain(each["relay"] or "-"), *_numbers(each))
        if len(each_relay) > 1:
            table.add_row(label, "all", *_numbers(row))
    if database.is_server(engine) and len(rows) > 1:
        table.add_row("total", *(["all"] if by_relay else []), *_numbers(queries.total(rows)))
    return table


def _numbers(row: Mapping[str, Any]) -> list[str]:
    rate = row["bounce_rate"]
    colour = "" if rate is None or rate < queries.WARN else "[yellow]" if rate < queries.ACT else "[red]"
    bounces = "-" if rate is None else f"{colour}{rate:.1%}"
    spam = row["complaint_rate"]
    colour = "" if spam is None or spam < queries.SPAM_WARN else "[yellow]" if spam < queries.SPAM_ACT else "[red]"
    complaints = f"{colour}{spam:.2%}" if spam else "-"
    return [*(str(row[kind]) for kind in queries.COUNTED), bounces, complaints]


def _label(value: object, group: str) -> str:
    if group == "hour" and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:00Z")
    return plain("-" if value is None else value)
