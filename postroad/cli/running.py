"""What a command says where no server runs."""

import click

from postroad.cli.example import INSIDE
from postroad.errors import PostroadError
from postroad.runtime.paths import HEALTH


def no_server() -> PostroadError:
    """The error of a command that needs the running server: it says where to run it."""
    context = click.get_current_context(silent=True)
    words = context.command_path.split()[1:] if context else []
    line = " ".join([INSIDE, *words])
    return PostroadError(f"no server runs here: run `{line} ...` where the server's compose file is, once it is ready")


def is_running() -> bool:
    """Whether a server has been started in this container."""
    return HEALTH.exists()
