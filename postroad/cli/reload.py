"""``postroad reload``."""

import os
import signal
import time

import click

from postroad.config.load import load
from postroad.errors import PostroadError
from postroad.render.paths import CURRENT, HEALTH

LIMIT = 60.0


@click.command()
def command() -> None:
    """Let the running server read its configuration again (the same as SIGHUP to the container)."""
    load()  # its errors belong on this terminal, too
    try:
        before, noted = CURRENT.readlink(), HEALTH.stat().st_mtime_ns
        os.kill(int(HEALTH.read_text().split()[1]), signal.SIGHUP)
        # at the end of a reload, however it went, the supervisor writes its state anew
        deadline = time.monotonic() + LIMIT
        while HEALTH.stat().st_mtime_ns == noted or not HEALTH.read_text().startswith("ready"):
            if time.monotonic() > deadline:
                raise PostroadError(f"not reloaded within {LIMIT:g} s: the container's log says why")
            time.sleep(0.05)
    except OSError as error:
        raise PostroadError("no server runs here: start it with `postroad run`") from error
    if CURRENT.readlink() == before:
        raise PostroadError("the configuration in force stays: the container's log says why")
    click.echo("reloaded")
