"""``postroad queue list --active`` and ``postroad queue abort``: who is being delivered to."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table

from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.commands.attempts import abort, command_of, under_way
from postroad.config.values import format_duration
from postroad.errors import PostroadError
from postroad.text import printable

SOME_ENDED = 3


def show(*, as_json: bool) -> None:
    """Print the attempts under way."""
    found, now = under_way(), int(time.time())
    if as_json:
        entries = [
            {
                "queue_id": each.queue_id,
                "host": each.host,
                "address": each.address,
                "since": datetime.fromtimestamp(int(each.since), UTC).isoformat().replace("+00:00", "Z"),
                "seconds": max(0, now - int(each.since)),
                "sent": each.sent,
                "command": command_of(each),
            }
            for each in found
        ]
        click.echo(json.dumps({"attempts": entries}, indent=1))
        return
    console = terminal.console()
    if not found:
        console.print("no attempt is under way")
        return
    numbers = Counter(each.host for each in found)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("host", "attempts", "id", "for", "waits for the answer to"):
        table.add_column(name, overflow="fold", justify="right" if name == "attempts" else "left")
    # the host with the most first, and its oldest attempt first
    last = ""
    for each in sorted(found, key=lambda each: (-numbers[each.host], each.host)):
        first = each.host != last
        last = each.host
        table.add_row(
            plain(each.host) if first else "",
            str(numbers[each.host]) if first else "",
            plain(each.queue_id),
            format_duration(timedelta(seconds=max(0, now - int(each.since)))),
            plain(command_of(each)),
        )
    console.print(table)


@click.command("abort", epilog=example("queue abort --host mx.example.net"))
@click.argument("queue_id", required=False)
@click.option("--host", help="Every attempt with this receiving host.")
def command(queue_id: str | None, host: str | None) -> int:
    """End attempts that are under way; their messages stay in the queue, and are tried again.

    Exit code 0: they were ended. 3: some had ended by themselves.
    """
    if bool(queue_id) == bool(host):
        raise click.UsageError("give either a queue id or --host")
    found = [each for each in under_way(host) if queue_id is None or each.queue_id == queue_id]
    if not found:
        what = f"with {printable(host)}" if host else f"for message {printable(queue_id)}"
        raise PostroadError(f"no attempt {what} is under way; `postroad queue list --active` lists those that are")
    console = terminal.console()
    said = abort(found)
    for line in said:
        console.print(f"  {plain(line)}")
    console.print(f"{len(said)} ended; the messages stay in the queue")
    return 0 if len(said) == len(found) else SOME_ENDED
