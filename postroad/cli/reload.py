"""``postroad reload``."""

import os
import signal
import time

import click

from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.render.paths import CURRENT, HEALTH

LIMIT = 30.0


@click.command()
def command() -> None:
    """Let the running server read its configuration again (the same as SIGHUP to the container)."""
    load()  # its errors belong on this terminal, too
    try:
        before, supervisor = CURRENT.readlink(), int(HEALTH.read_text().split()[1])
        os.kill(supervisor, signal.SIGHUP)
    except OSError as error:
        raise PostroadError("no server runs here: start it with `postroad run`") from error
    deadline = time.monotonic() + LIMIT
    while CURRENT.readlink() == before or not HEALTH.read_text().startswith("ready"):
        if time.monotonic() > deadline:
            raise PostroadError("the configuration in force stays: the container's log says why")
        time.sleep(0.05)
    click.echo("reloaded")
