"""``postroad trace``."""

import json
from dataclasses import asdict
from typing import Any

import click

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.store import database, queries
from postroad.text import counted
from postroad.times import stamp

COLOURS = {"delivered": "green", "bounced": "red", "rejected": "red", "deferred": "yellow"}
NONE = 1


@click.command(epilog=example("trace you@example.net"))
@click.argument("what")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most messages, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print the messages and their events as JSON.")
def command(what: str, limit: int, as_json: bool) -> int:
    """What happened to a message: WHAT is an address, a Message-ID or a queue id.

    Exit code 1: nothing is known of it.
    """
    engine = database.existing()
    with database.told("read"):
        stories = [story.own() for story in queries.trace(engine, what, limit)]
        missing = queries.gaps(engine, min((story.first for story in stories), default=0.0))
    if as_json:
        messages = [story.fields() for story in stories]
        click.echo(json.dumps({"messages": messages, "gaps": [asdict(gap) for gap in missing]}, indent=2))
        return 0 if stories else NONE
    console = terminal.console(soft_wrap=True)
    for story in stories:
        colour = COLOURS.get(story.status, "cyan")
        reason = f" ({story.reason}, {'hard' if story.hard else 'soft'})" if story.reason else ""
        console.print(
            f"[{colour}]{story.status}{reason}[/]  {plain(story.queue_id or '-')}  {plain(story.message_id or '')}"
        )
        sender = "?" if story.sender is None else story.sender or "<>"  # the null sender of bounces
        at = f"  at {plain(story.relay)}" if story.relay else ""
        other = story.redirected_to if (story.redirected_to or "").lower() != (story.recipient or "").lower() else None
        instead = f", redirected to {plain(other)}" if other else ""
        console.print(f"  {plain(sender)} → {plain(story.recipient or '?')}{instead}{at}")
        for event in story.events:
            console.print(plain(f"  {event.get('time', '')}  {event['event']:<9} {_told(event)}"))
    for gap in missing:
        lost = counted(gap.lost, "event") if gap.lost else "events"
        console.print(f"[yellow]![/] {lost} may be missing between {stamp(gap.since)} and {stamp(gap.until)}")
    if not stories:
        console.print(f"nothing is known of {plain(what)}")
    return 0 if stories else NONE


def _told(event: dict[str, Any]) -> str:
    if event.get("to_queue_id"):
        return f"to {event.get('to_relay', '?')}, where it is {event['to_queue_id']}"
    if event.get("from_queue_id"):
        return f"from {event.get('from_relay', '?')}, where it was {event['from_queue_id']}"
    host = event.get("relay_host") or event.get("client_address") or ""
    said = ("reply", "status", "domain", "redirected_to", "reporter")
    words = next((str(event[name]) for name in said if event.get(name)), "")
    kind = "late" if event.get("late") else event.get("what") or event.get("feedback") or ""
    return " ".join(filter(None, (kind, host, words)))
