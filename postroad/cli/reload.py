"""``postroad reload``."""

import os
import signal
import time

import click

from postroad.cli.example import example
from postroad.cli.running import no_server
from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.install import changes
from postroad.runtime import plan
from postroad.runtime.paths import CURRENT, HEALTH

LIMIT = 2 * plan.RELOAD_LIMIT
"""Seconds to wait: for a reload that is under way, and for ours."""
SILENCE = 10.0
"""Seconds after which it says what it waits for."""


@click.command(epilog=example("reload"))
def command() -> None:
    """Let the running server read its configuration again, and print what changed (SIGHUP to the container).

    What changed in the container's environment is not seen: the environment is that of the container's start.
    """
    load()  # its errors belong on this terminal, too
    try:
        # one that began before this may have read the configuration as it was; the next one can't have
        before, _, _ = _reloads()
        old = changes.snapshot(CURRENT)
        os.kill(int(HEALTH.read_text().split()[1]), signal.SIGHUP)
        began, told = time.monotonic(), False
        while (answer := _reloads())[1] <= before:
            waited = time.monotonic() - began
            if waited > LIMIT:
                raise PostroadError(f"not reloaded within {LIMIT:g} s; see the container's log")
            if waited > SILENCE and not told:
                click.echo("the server prepares the configuration; making DKIM keys takes its time", err=True)
                told = True
            time.sleep(0.05)
    except OSError as error:
        raise no_server() from error
    if answer[2] != "done":
        raise PostroadError("the reload failed and the configuration in force stays; see the container's log")
    for warning in plan.load(CURRENT / plan.FILE).warnings:
        click.echo(f"warning: {warning}", err=True)
    changed = changes.between(old, changes.snapshot(CURRENT))
    for change in changed:
        click.echo(change)
    click.echo("reloaded" if changed else "reloaded: nothing changed")


def _reloads() -> tuple[int, int, str]:
    """The numbers of the reloads that began and ended last, and how that one ended, as the supervisor notes them."""
    begun, ended, how = HEALTH.read_text().splitlines()[1].split()
    return int(begun), int(ended), how
