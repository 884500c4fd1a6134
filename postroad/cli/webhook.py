"""``postroad webhook``."""

import json
import time
import uuid
from typing import Any

import click
from rich.table import Table
from sqlalchemy import select

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.cli.running import no_server
from postroad.errors import PostroadError
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT
from postroad.store import database
from postroad.store.schema import COUNTERS
from postroad.times import stamp
from postroad.webhooks import envelope, outbox
from postroad.webhooks.outbox import OutboxEvent

RESULTS = ("delivered", "lost")


@click.group()
def command() -> None:
    """Who gets events by HTTPS, what waits for them, and what they did not take."""


@command.command("list", epilog=example("webhook list"))
@click.option("--json", "as_json", is_flag=True, help="Print the webhooks as JSON.")
def list_(as_json: bool) -> None:
    """Print each webhook: what waits, what it took, and why it took no more."""
    found = _states()
    if as_json:
        click.echo(json.dumps({"webhooks": found}, indent=2))
        return
    table = Table(box=None)
    for name in ("name", "url", "pending", "delivered", "failed", "dead", "lost", "last error"):
        number = name in {"pending", "failed", "dead", *RESULTS}
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=name == "name")
    for each in found:
        when = f"{each['failed_at']} " if each["failed_at"] else ""
        numbers = (str(each[name]) for name in ("pending", "delivered", "failed", "dead", "lost"))
        table.add_row(
            each["name"],
            plain(each["url"] or "(not configured)"),
            *numbers,
            plain(f"{when}{each['error'] or ''}" or "-"),
        )
    terminal.console(soft_wrap=True).print(table if found else "no webhook is configured")


@command.command(epilog=example("webhook dead --limit 5"))
@click.option("--webhook", "name", help="Only this one's.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The newest.")
@click.option("--json", "as_json", is_flag=True, help="Print the dead letters and their events as JSON.")
def dead(name: str | None, limit: int, as_json: bool) -> None:
    """Print the dead letters, newest first: events that were given up."""
    with database.told("read"):
        found = outbox.dead(database.existing(), name, limit)
    if as_json:
        click.echo(json.dumps({"dead": [_fields(entry) for entry in found]}, indent=2))
        return
    table = Table(box=None)
    for column in ("id", "webhook", "event", "recipient", "attempts", "given up", "error"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for entry in found:
        about = (entry.event["event"], entry.event.get("recipient") or "-", entry.attempts, _when(entry.failed))
        table.add_row(entry.uid, entry.webhook, *(plain(value) for value in (*about, entry.error)))
    terminal.console(soft_wrap=True).print(table if found else "there is no dead letter")


@command.command(epilog=example("webhook replay --all"))
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Instead of ids: all of them.")
@click.option("--webhook", "name", help="Only this one's.")
def replay(ids: tuple[str, ...], everything: bool, name: str | None) -> int:
    """Post dead letters again, from now on as if they were new, with the ids they had. Exit code 1: there were none."""
    if bool(ids) == everything:
        raise click.UsageError("give IDs of dead letters, or --all")
    engine = database.existing()
    with database.told("written"), database.writing(engine) as connection:
        number = outbox.replay(connection, None if everything else ids, name)
    click.echo(f"{number} dead letters wait to be posted again")
    return 0 if number else 1


@command.command(epilog=example("webhook test"))
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def test(names: tuple[str, ...], as_json: bool) -> int:
    """Post a signed event `postroad.ping.v1` to these webhooks, or all, and say what they answer.

    Exit code 1: one of them did not take it.
    """
    from postroad.webhooks.post import Receiver  # noqa: PLC0415 - TLS is slow to load

    settings = _settings()
    hooks = {hook.name: hook for hook in settings.webhooks}
    if unknown := [name for name in names if name not in hooks]:
        raise PostroadError(f"no webhook of that name: {unknown[0]} (known: {', '.join(hooks) or 'none'})")
    answers = []
    for name in names or hooks:
        begun = time.monotonic()
        uid = str(uuid.uuid4())
        receiver = Receiver(hooks[name], settings.hostname)
        answer = receiver.post(uid, time.time(), {"event": envelope.PING})
        receiver.close()
        seconds = round(time.monotonic() - begun, 3)
        answers.append(
            {"name": name, "id": uid, "status": answer.status, "error": answer.error or None, "seconds": seconds}
        )
        if not as_json:
            said = plain(answer.error) if answer.error else f"[green]taken[/], answered {answer.status}"
            terminal.console(soft_wrap=True).print(f"{name}: {said} ({seconds} s)")
    if as_json:
        click.echo(json.dumps({"answers": answers}, indent=2))
    elif not hooks:
        click.echo("no webhook is configured")
    return 0 if answers and all(answer["error"] is None for answer in answers) else 1


def _settings() -> recording.Settings:
    try:
        return recording.load(CURRENT)
    except FileNotFoundError:
        raise no_server() from None


def _states() -> list[dict[str, Any]]:
    hooks = {hook.name: hook for hook in _settings().webhooks}
    engine = database.existing()
    with database.told("read"), engine.connect() as connection:
        waiting = outbox.states(connection)
        rows = connection.execute(select(COUNTERS).where(COUNTERS.c.name.like("webhook!_%", escape="!"))).all()
    counted = {(row.name, row.labels): row.value for row in rows}
    nothing = {"pending": 0, "dead": 0, "oldest": None, "error": None, "failed": None}
    return [
        {
            "name": name,
            "url": hooks[name].url if name in hooks else None,
            "types": list(hooks[name].types) if name in hooks else [],
            "pending": (state := waiting.get(name, nothing))["pending"],
            "dead": state["dead"],
            **{result: counted.get(("webhook_events", f"{name},{result}"), 0) for result in RESULTS},
            "failed": counted.get(("webhook_attempts_failed", name), 0),
            "oldest": _when(state["oldest"]),
            "error": state["error"],
            "failed_at": _when(state["failed"]),
        }
        for name in [*hooks, *sorted(set(waiting) - set(hooks))]
    ]


def _fields(entry: OutboxEvent) -> dict[str, Any]:
    return {
        "id": entry.uid,
        "webhook": entry.webhook,
        "type": envelope.type_of(entry.event["event"]),
        "attempts": entry.attempts,
        "added": _when(entry.added),
        "failed": _when(entry.failed),
        "error": entry.error,
        "event": entry.event,
    }


def _when(seconds: float | None) -> str | None:
    return None if seconds is None else stamp(seconds)
