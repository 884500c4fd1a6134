"""The command line: each command is a module of this package, loaded when it is called."""

import importlib
import os
import sys

import click

import postroad
from postroad.errors import PostroadError, plainly

COMMANDS = (
    "aws-request",
    "brake",
    "check",
    "dkim",
    "dns",
    "doctor",
    "migrate",
    "queue",
    "relays",
    "reload",
    "render",
    "run",
    "send",
    "smarthost",
    "stats",
    "suppress",
    "tls-report",
    "trace",
    "webhook",
)
"""The commands, each in the module of its name, as its ``command``."""
AS_THE_SERVER = (
    "user {uid} may not; run this in the server's container (`docker compose exec postroad postroad ...`), or with its"
    " volumes and as its user (`docker run --user`)"
)


class Commands(click.Group):
    """Finds a command in its module."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """A command by its name; None if there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"postroad.cli.{name.replace('-', '_')}").command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(postroad.__version__, prog_name="postroad")
def cli() -> None:
    """A send-only mail server: sendmail, DKIM and delivery events from one YAML file."""


def _fail(said: str) -> None:
    from postroad.cli.plain import echo  # noqa: PLC0415 - only where there is an error

    echo(f"postroad: {said}", err=True)


def _said(error: OSError) -> str:
    said = plainly(error)
    return f"{said}: {AS_THE_SERVER.format(uid=os.getuid())}" if isinstance(error, PermissionError) else said


def main() -> int:
    """Run the command line; return the exit code: 0, 1 a failure, 2 bad configuration or usage."""
    try:
        result = cli.main(prog_name="postroad", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except PostroadError as error:
        _fail(str(error))
        return error.exit_code
    except BrokenPipeError:
        # `| head` has seen enough; what is left must not be written at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _fail(_said(error))
        return 1
    return result if isinstance(result, int) else 0
