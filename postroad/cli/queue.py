"""``postroad queue``."""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from postroad.cli import active, evacuate, running, terminal
from postroad.cli.example import example
from postroad.cli.plain import echo, plain
from postroad.cli.times import duration
from postroad.commands import queue as queue_commands
from postroad.commands.queue import Flush, FlushRequest, QueueRun, age, as_dict, described, next_try, why
from postroad.config.load import load
from postroad.config.model import Delivery
from postroad.config.values import format_duration
from postroad.errors import PostroadError
from postroad.runtime import acceptance, plan, slowed
from postroad.runtime.paths import CURRENT, QUEUE, RECEIVERS
from postroad.sendmail import outbound, queue
from postroad.sendmail.queue import QueuedMessage
from postroad.text import printable

EMPTY, LEFT = 0, 3
ROWS = 1000
"""Messages that the table shows."""
SETTLE = 1.0
"""Seconds for which the queue must stay empty: a session may have been in the middle of a message."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two queue runs of a drain, twice as long each time."""
DRAINING = "draining: no new messages are taken; `postroad queue drain --undo` ends that"


@click.group()
def command() -> None:
    """Look at the messages that wait, try them again, delete them, deliver all before a shutdown."""


command.add_command(active.command)
command.add_command(evacuate.command)


@command.command("list", epilog=example("queue list --domain example.net"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--domain", help="Only messages with a recipient in this domain.")
@click.option("--sender", help="Only messages of this envelope sender; <> is the null sender of bounces.")
@click.option("--active", "is_active", is_flag=True, help="Attempts under way instead, by receiving host.")
def list_(as_json: bool, domain: str | None, sender: str | None, is_active: bool) -> None:
    """The messages that wait: for whom, since when, why, and when they are tried again."""
    if is_active:
        if domain or sender:
            raise click.UsageError("--active can't be combined with --domain or --sender")
        active.show(as_json=as_json)
        return
    delivery = load().delivery
    retry, reasons = delivery.queue.retry, _reasons(delivery)
    now = time.time()
    found = queue_commands.with_reasons(chosen(domain=domain, sender=sender))
    if as_json:
        _print_json(as_dict(message, retry, now, reasons) for message in found)
        return
    console = terminal.console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "age", "sender", "recipients", "tries", "next try", "reason"):
        table.add_column(name, overflow="fold", no_wrap=name in {"id", "age", "tries", "next try"})
    with terminal.console(stderr=True).status("Reading the queue"):
        for message in itertools.islice(found, ROWS):
            table.add_row(*row(message, retry, now, reasons))
        more = sum(1 for _ in found)
    if table.row_count:
        console.print(table)
    if more:
        console.print(f"and {more} more: --json prints them all")
    if not table.row_count:
        console.print("no such message waits" if domain or sender else "the queue is empty")
    _tell_slowed(console)
    _tell_state(console)


def _reasons(delivery: Delivery) -> dict[str, str]:
    """Why a message waits that was never tried, by its queue directory or by a recipient's domain."""
    return queue_commands.waiting_reasons(outbound.waiting_reasons(delivery))


def _tell_slowed(console: Console) -> None:
    """The receivers that get less, and why."""
    for each in slowed.read(RECEIVERS):
        said = f"{each.name} is {each.standing} since {slowed.stamp(each.since)}"
        how = "" if each.standing == slowed.PAUSED else f": {each.limits}"
        until = f": one message tries at {slowed.stamp(each.until)}" if each.standing == slowed.PAUSED else ""
        waiting = f", {_count(each.waiting)} waiting for their turn" if each.waiting else ""
        console.print(f"[yellow]![/] {plain(said + how + until + waiting)}: {plain(each.reason)}: {plain(each.reply)}")


def _tell_state(console: Console) -> None:
    """Say so where no server runs, or where it takes no messages."""
    if not running.is_running():
        console.print("[yellow]![/] no server runs here: this is what the volume holds")
    elif not acceptance.accepting():
        console.print(f"[yellow]![/] {DRAINING}")


def _print_json(messages: Iterable[dict[str, Any]]) -> None:
    receivers = [
        {
            "receiver": each.name,
            "standing": each.standing,
            "since": slowed.stamp(each.since),
            "until": slowed.stamp(each.until) if each.standing == slowed.PAUSED else None,
            "reason": each.reason,
            "reply": each.reply,
            "connections": each.connections,
            "per_minute": None if each.rate is None else round(each.rate * 60, 1),
            "waiting": each.waiting,
        }
        for each in slowed.read(RECEIVERS)
    ]
    first = f'"draining": {json.dumps(not acceptance.accepting())}, "receivers": {json.dumps(receivers)}'
    click.echo(f'{{{first}, "messages": [', nl=False)
    for number, message in enumerate(messages):
        click.echo(f"{',' if number else ''}\n {json.dumps(message)}", nl=False)
    click.echo("\n]}")


def chosen(**which: Any) -> Iterator[QueuedMessage]:
    """As ``queue_commands.chosen``; where no server runs, it says where to call the command."""
    with running.told():
        yield from queue_commands.chosen(**which)


def daemon() -> plan.Process:
    """As ``queue_commands.daemon``; likewise."""
    with running.told():
        return queue_commands.daemon()


def row(message: QueuedMessage, retry: timedelta, now: float, reasons: Mapping[str, str]) -> Iterator[str]:
    """A message for people."""
    seconds = age(message, now)
    sender = "?" if message.sender is None else message.sender or "<>"
    shown = ", ".join(message.recipients[:3])
    others = f" and {len(message.recipients) - 3} more" if len(message.recipients) > 3 else ""
    then = next_try(message, retry, now, reasons)
    following = (
        ("later" if message.runs else "never") if then is None else "due" if then <= now else f"in {_short(then - now)}"
    )
    yield plain(message.queue_id)
    yield "?" if seconds is None else _short(seconds)
    yield plain(sender)
    yield plain(shown + others)
    yield str(message.attempts)
    yield "now" if message.active else following
    note = f"[red]{plain(message.note)}[/] " if message.note else ""
    yield note + plain(why(message, reasons))


def _short(seconds: float) -> str:
    """A duration in its greatest unit or two."""
    whole = int(seconds)
    for unit in (86400, 3600, 60):
        if whole >= 2 * unit:
            whole -= whole % (unit // 24 if unit == 86400 else unit // 60)
            break
    return format_duration(timedelta(seconds=min(whole, 10**9)))


# --- flush -----------------------------------------------------------------------------------------


@command.command(epilog=example("queue flush --domain example.net"))
@click.option("--all", "everything", is_flag=True, help="Everything that waits.")
@click.option("--domain", help="Messages with a recipient in this domain.")
@click.option("--id", "queue_id", help="One message.")
def flush(everything: bool, domain: str | None, queue_id: str | None) -> int:
    """Try messages again now.

    Exit code 0: none of them waits any more, each was delivered, or bounced. 3: some still wait.
    """
    if bool(everything) + bool(domain) + bool(queue_id) != 1:
        raise click.UsageError("give one of --all, --domain and --id")
    console = terminal.console()
    begun = Flush(domain=domain, queue_id=queue_id, process=daemon())
    if not begun.wanted:
        if queue_id:
            raise PostroadError(
                f"no message {printable(queue_id)} is waiting; `postroad queue list` lists those that are"
            )
        console.print("no such message waits" if domain else "the queue is empty")
        return EMPTY
    with console.status("") as status:
        while not begun.ended():
            done = len(begun.wanted) - len(begun.left())
            status.update(f"Delivering: {done} of {len(begun.wanted)} have left the queue")
            time.sleep(0.2)
    left = begun.left()
    gone = len(begun.wanted) - len(left)
    console.print(
        f"{_count(gone)} left the queue (delivered or bounced: the log says which), {len(left)} still waiting"
    )
    if left:
        tell_why(console, left)
    if begun.code:
        raise PostroadError(f"sendmail's queue run failed (exit {begun.code}); see the server's log")
    return LEFT if left else EMPTY


def tell_why(console: Console, left: set[str]) -> None:
    """The reasons for which some messages still wait."""
    reasons = _reasons(load().delivery)
    for message in queue_commands.with_reasons(chosen(ids=set(sorted(left)[:10]))):
        reason = message.note or why(message, reasons) or "being delivered"
        console.print(f"  {described(message, plain)}: {plain(reason)}")
    if len(left) > 10:
        console.print(f"  and {len(left) - 10} more: `postroad queue list`")


# --- delete ----------------------------------------------------------------------------------------


@command.command(epilog=example("queue delete --sender app@example.com --yes"))
@click.option("--id", "ids", multiple=True, help="A message; may be given several times.")
@click.option("--domain", help="Messages that wait for recipients in this domain and no other.")
@click.option("--sender", help="Messages of this envelope sender; <> is the null sender of bounces.")
@click.option("--all", "everything", is_flag=True, help="Everything that waits.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def delete(ids: tuple[str, ...], domain: str | None, sender: str | None, everything: bool, yes: bool) -> int:
    """Delete messages, without a bounce to their senders. What is being delivered at the moment stays.

    Exit code 0: all are gone. 3: some stay.
    """
    if bool(ids) + (domain is not None) + (sender is not None) + everything != 1:
        raise click.UsageError("give one of --id, --domain, --sender and --all")
    console = terminal.console()
    found = list(chosen(ids=set(ids) or None, domain=domain, sender=sender))
    if domain:
        alone = [message for message in found if len(message.domains) == 1]
        if len(alone) < len(found):
            console.print(
                f"{_count(len(found) - len(alone))} for other domains, too: kept (--id deletes one by its name)"
            )
        found = alone
    missing = set(ids) - {message.queue_id for message in found}
    if missing:
        raise PostroadError(f"no message {printable(', '.join(sorted(missing)))} waits; nothing was deleted")
    if not found:
        console.print("no such message waits: nothing to delete")
        return EMPTY
    for message in found[:10]:
        console.print(f"  {described(message, plain)}")
    if len(found) > 10:
        console.print(f"  and {len(found) - 10} more")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for confirmation: add --yes; nothing was deleted")
        click.confirm(f"Delete {_count(len(found))} for good? Their senders won't be told", abort=True)
    with console.status("Deleting"):
        stay = queue_commands.delete(found, _untold)
    console.print(f"{len(found) - len(stay)} deleted, {len(stay)} kept (in delivery)")
    return LEFT if stay else EMPTY


def _untold() -> None:
    echo("postroad: the log takes no lines now: the remaining deletions are not logged", err=True)


def _count(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"


# --- drain -----------------------------------------------------------------------------------------


@command.command(epilog=example("queue drain --timeout 10m"))
@click.option("--timeout", default="10m", show_default=True, callback=duration, help="How long to try, such as 90s.")
@click.option("--undo", is_flag=True, help="Take new messages again.")
def drain(timeout: timedelta, undo: bool) -> int:
    """Take no new messages, and deliver what is left: before a planned shutdown.

    Clients get a 421, and try again later, or elsewhere. That stays so until --undo or a restart.

    Exit code 0: the queue is empty. 3: it is not, within the timeout.
    """
    process = daemon()
    console = terminal.console()
    if undo:
        acceptance.set_accepting(True)
        console.print("new messages are taken again")
        return EMPTY
    deadline = time.monotonic() + timeout.total_seconds()
    acceptance.set_accepting(False)
    console.print("no new messages are taken from now on")
    with console.status("") as status:
        left = _drained(process, deadline, status.update)
    if not left:
        console.print("[green]✔[/] the queue is empty")
        return EMPTY
    console.print(f"[yellow]…[/] {_count(len(left))} left after {format_duration(timeout)}:")
    tell_why(console, left)
    console.print("new messages are still refused: `postroad queue drain --undo` ends that")
    return LEFT


def _drained(process: plan.Process, deadline: float, tell: Callable[[str], None]) -> set[str]:
    """Run over the queue again and again until it is empty, or the time is over; return the ids that are left."""
    run: QueueRun | None = None
    request: FlushRequest | None = None
    due, pause, quiet = 0.0, FIRST_PAUSE, None
    shaped = any(each.name == "shaper" for each in plan.load(CURRENT / plan.FILE).processes)
    while True:
        now, left = time.monotonic(), queue.waiting(QUEUE)
        if left:
            quiet = None
        elif quiet is None:
            quiet = now
        elif now - quiet >= SETTLE:
            return left
        if now >= deadline:
            return left
        if run and run.ended() and not (request and not request.ended()):
            run, request, due, pause = None, None, now + pause, min(2 * pause, LONGEST_PAUSE)
        if left and run is None and now >= due:
            run = QueueRun(process, ["-q"])
            request = FlushRequest(None) if shaped else None
        tell(f"Delivering: {_count(len(left))} left, {int(deadline - now)} s to go")
        # a look at a large queue takes a second: not all the time
        time.sleep(max(0.2, time.monotonic() - now))
