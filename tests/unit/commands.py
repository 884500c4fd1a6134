"""Commands as the command line runs them, in this process."""

from typing import NamedTuple

from click.testing import CliRunner

from postroad.cli.main import cli
from postroad.errors import PostroadError


class Ran(NamedTuple):
    """The exit code, what was printed, and the error's text."""

    code: int
    out: str
    error: str = ""


def run(*words: str, given: str | None = None) -> Ran:
    """Run a command; ``given`` is its standard input. An error of a user's is an exit code, anything else is raised."""
    result = CliRunner().invoke(cli, words, input=given, standalone_mode=False, env={"COLUMNS": "300"})
    if result.exception is None:
        value = result.return_value
        return Ran(value if isinstance(value, int) else 0, result.stdout, result.stderr)
    if isinstance(result.exception, PostroadError):
        return Ran(result.exception.exit_code, result.stdout, str(result.exception))
    if hasattr(result.exception, "exit_code"):  # of click
        return Ran(result.exception.exit_code, result.stdout, str(result.exception))
    raise result.exception
