"""``postroad doctor``."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from postroad.checks import CHECKS, open_relay
from postroad.checks.doctor import begin, examine
from postroad.checks.history import key
from postroad.checks.model import Check, Finding, Level
from postroad.cli import terminal
from postroad.cli.example import example
from postroad.cli.plain import plain
from postroad.config.load import load
from postroad.config.model import Config
from postroad.text import printable

LOOKS = {
    Level.OK: "[green]ok[/]",
    Level.INFO: "[cyan]info[/]",
    Level.WARNING: "[yellow]warning[/]",
    Level.ERROR: "[bold red]error[/]",
}
PAUSE = 10.0
"""Seconds between two looks at what has not propagated yet."""


@click.command(epilog=example("doctor --only dkim --only spf"))
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--json-lines", "form", flag_value="lines", help="Print a line of JSON for each check as it is done.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([check.ID for check in CHECKS]),
    help="Only this check; may be given several times.",
)
@click.option("--open-relay", "relay", is_flag=True, help="Only try to relay through this server as a stranger would.")
@click.option("--wait", is_flag=True, help="Look again until the records that are missing or wrong are right.")
@click.option("--timeout", type=click.FloatRange(1), default=3600.0, show_default=True, help="Seconds for --wait.")
@click.option("--watch", is_flag=True, help="Look again and again, and print what changes, until interrupted.")
@click.option(
    "--every", type=click.FloatRange(1), default=60.0, show_default=True, help="Seconds between looks of --watch."
)
def command(
    form: str | None, only: tuple[str, ...], relay: bool, wait: bool, timeout: float, watch: bool, every: float
) -> int:
    """Is this host ready to send? Looks at DNS records, ports, certificates, blocklists, volumes, and as an outsider.

    Exit code 0: nothing fails. 1: something does. 2: the configuration can't be used.
    """
    if wait and watch:
        raise click.UsageError("--wait ends when the records are right, --watch does not end: give one of them")
    as_json = form == "json"
    if form == "lines" and (wait or watch):
        raise click.UsageError("--json-lines can't be combined with --wait or --watch")
    config = load()
    wanted = {*only, *([open_relay.ID] if relay else [])}
    checks = [check for check in CHECKS if not wanted or check.ID in wanted]
    if form == "lines":
        return print_lines(checks, config)
    console = terminal.console(stderr=as_json)
    if watch:
        return keep_looking(checks, config, console, every=every, as_json=as_json)
    found: dict[str, list[Finding]] = {}
    until = time.monotonic() + timeout
    with console.status("Looking") as status:
        while True:
            todo = [check for check in checks if check.ID not in found or unpublished(found[check.ID])]
            found |= run_checks(todo, config, lambda names: status.update(f"Looking: {names}"))
            missing = [finding for check in checks for finding in unpublished(found[check.ID])]
            if not wait or not missing or time.monotonic() > until:
                break
            names = ", ".join(
                dict.fromkeys(f"{each.record.name} {each.record.type}" for each in missing if each.record)
            )
            status.update(f"Waiting for {plain(names)}")
            time.sleep(min(PAUSE, max(0.0, until - time.monotonic())))
    findings = [finding for check in checks for finding in found[check.ID]]
    if as_json:
        click.echo(json.dumps({"checks": [finding.to_dict() for finding in findings]}, indent=2))
    else:
        show(findings, console)
    return exit_code(findings)


def print_lines(checks: Sequence[Check], config: Config) -> int:
    """Print a line that names all checks, then one for each with its findings."""
    click.echo(json.dumps({"checks": [check.ID for check in checks]}))
    findings: list[Finding] = []
    for check, found in examine(checks, begin(config)):
        click.echo(json.dumps({"check": check.ID, "findings": [each.to_dict() | {"key": key(each)} for each in found]}))
        findings += found
    return exit_code(findings)


def keep_looking(checks: Sequence[Check], config: Config, console: Console, *, every: float, as_json: bool) -> int:
    """Look until interrupted: print all that was found, then what differs; or a line of JSON for each look.

    The exit code is that of the last look.
    """
    before: list[Finding] | None = None
    with suppress(KeyboardInterrupt):
        while True:
            with console.status("Looking") as status:
                found = run_checks(checks, config, lambda names: status.update(f"Looking: {names}"))
                findings = [finding for check in checks for finding in found[check.ID]]
                stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                if as_json:
                    click.echo(json.dumps({"time": stamp, "checks": [finding.to_dict() for finding in findings]}))
                elif before is None:
                    show(findings, console)
                else:
                    show_changes(before, findings, console, stamp)
                before = findings
                status.update(f"Looked at {stamp}, and again in {every:g} s")
                time.sleep(every)
    return exit_code(before or [])


def show_changes(before: Sequence[Finding], now: Sequence[Finding], console: Console, stamp: str) -> None:
    """What is so that was not, and what is no longer so; nothing where all is as it was."""
    old, new = ({(each.id, each.level, key(each)): each for each in findings} for findings in (before, now))
    gone = [each for known, each in old.items() if known not in new]
    come = [each for known, each in new.items() if known not in old]
    if gone or come:
        console.print(f"\n{stamp}", markup=False)
        for each in gone:
            console.print(f"[dim]no longer:[/] {each.level} {each.id}: {plain(each.message)}", soft_wrap=True)
        if come:
            show(come, console)


def exit_code(findings: Iterable[Finding]) -> int:
    """Whether something fails."""
    return 1 if any(finding.level is Level.ERROR for finding in findings) else 0


def run_checks(checks: Sequence[Check], config: Config, tell: Callable[[str], None]) -> Mapping[str, list[Finding]]:
    """Run these checks, telling which are not done yet."""
    left = [check.ID for check in checks]
    tell(", ".join(left))
    found = {}
    for check, findings in examine(checks, begin(config)):
        found[check.ID] = findings
        left.remove(check.ID)
        tell(", ".join(left))
    return found


def unpublished(findings: Sequence[Finding]) -> list[Finding]:
    """Those that a record would mend."""
    return [finding for finding in findings if finding.record and finding.level in {Level.WARNING, Level.ERROR}]


def show(findings: Sequence[Finding], console: Console) -> None:
    """A table, and below it, unbroken for copying, the records to publish."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("level")
    table.add_column("check")
    table.add_column("what is so", overflow="fold")
    for finding in findings:
        lines = [plain(finding.message)]
        if finding.level is not Level.OK:
            lines += [f"[dim]seen:[/] {plain(finding.seen)}"] if finding.seen else []
            lines += [f"[bold]do:[/] {plain(finding.fix)}"] if finding.fix else []
        table.add_row(LOOKS[finding.level], finding.id, "\n".join(lines))
    console.print(table)
    records = dict.fromkeys(finding.record for finding in unpublished(findings) if finding.record)
    if records:
        console.print("\nTo publish (`postroad dns` has other forms):", markup=False)
    for record in records:
        words = f"  {record.name}. {record.type} {record.value}"
        console.print(printable(words), markup=False, soft_wrap=True)
    counts = [f"{sum(each.level is level for each in findings)} {level}" for level in Level]
    console.print(f"\n{', '.join(counts)}", markup=False)
