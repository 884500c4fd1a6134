"""What a command says where no server runs."""

import contextlib
from collections.abc import Iterator

import click

from postroad.cli.example import INSIDE
from postroad.commands.running import NoServerError, is_running
from postroad.errors import PostroadError

__all__ = ["is_running", "no_server", "told"]


def no_server() -> PostroadError:
    """The error of a command that needs the running server: it says where to run it."""
    context = click.get_current_context(silent=True)
    words = context.command_path.split()[1:] if context else []
    line = " ".join([INSIDE, *words])
    return PostroadError(f"no server runs here: run `{line} ...` where the server's compose file is, once it is ready")


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Say where to run the command, where what is done needs a server and there is none."""
    try:
        yield
    except NoServerError as error:
        raise no_server() from error
