"""``postroad reload``."""

import os
import signal
import time

import click

from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.runtime.paths import HEALTH

LIMIT = 60.0


@click.command()
def command() -> None:
    """Let the running server read its configuration again (the same as SIGHUP to the container)."""
    load()  # its errors belong on this terminal, too
    try:
        # one that began before this may have read the configuration as it was; the next one can't have
        before, _, _ = _reloads()
        os.kill(int(HEALTH.read_text().split()[1]), signal.SIGHUP)
        deadline = time.monotonic() + LIMIT
        while (answer := _reloads())[1] <= before:
            if time.monotonic() > deadline:
                raise PostroadError(f"not reloaded within {LIMIT:g} s: the container's log says why")
            time.sleep(0.05)
    except OSError as error:
        raise PostroadError("no server runs here: start it with `postroad run`") from error
    if answer[2] != "done":
        raise PostroadError("the configuration in force stays: the container's log says why")
    click.echo("reloaded")


def _reloads() -> tuple[int, int, str]:
    """The numbers of the reloads that began and ended last, and how that one ended, as the supervisor notes them."""
    begun, ended, how = HEALTH.read_text().splitlines()[1].split()
    return int(begun), int(ended), how
