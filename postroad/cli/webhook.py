"""``postroad webhook``."""

import json

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.cli.running import no_server
from postroad.errors import PostroadError
from postroad.runtime import recording
from postroad.runtime.paths import CURRENT
from postroad.store import database
from postroad.webhooks import managing, outbox


@click.group()
def command() -> None:
    """Who gets events by HTTPS, what waits for them, and what they did not take."""


@command.command("list", epilog=example("webhook list"))
@click.option("--json", "as_json", is_flag=True, help="Print the webhooks as JSON.")
def list_(as_json: bool) -> None:
    """Print each webhook: what waits, what it took, and why it took no more."""
    settings, engine = _settings(), database.existing()
    with database.told("read"):
        found = managing.states(engine, settings.webhooks)
    if as_json:
        click.echo(json.dumps({"webhooks": found}, indent=2))
        return
    table = Table(box=None)
    for name in ("name", "url", "pending", "delivered", "failed", "dead", "lost", "last error"):
        number = name in {"pending", "failed", "dead", *managing.RESULTS}
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
        click.echo(json.dumps({"dead": [managing.letter(entry) for entry in found]}, indent=2))
        return
    table = Table(box=None)
    for column in ("id", "webhook", "event", "recipient", "attempts", "given up", "error"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for entry in found:
        about = (
            entry.event["event"],
            entry.event.get("recipient") or "-",
            entry.attempts,
            managing.letter(entry)["failed"],
        )
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
    settings = _settings()
    hooks = {hook.name: hook for hook in settings.webhooks}
    if unknown := [name for name in names if name not in hooks]:
        raise PostroadError(f"no webhook of that name: {unknown[0]} (known: {', '.join(hooks) or 'none'})")
    answers = []
    for name in names or hooks:
        answer = managing.ping(hooks[name], settings.hostname)
        answers.append(answer)
        if not as_json:
            said = plain(answer["error"]) if answer["error"] else f"[green]taken[/], answered {answer['status']}"
            terminal.console(soft_wrap=True).print(f"{name}: {said} ({answer['seconds']} s)")
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
