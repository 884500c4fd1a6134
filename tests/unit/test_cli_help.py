"""Each command's help ends with an example, which the command takes. tests/integration/test_help.py runs them."""

import re
from collections.abc import Iterator

import click
import pytest

from postroad.cli.main import COMMANDS, cli


def leaves(
    command: click.Command = cli, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    if not isinstance(command, click.Group):
        yield above, command
        return
    for name in command.list_commands(click.Context(command)):
        found = command.get_command(click.Context(command), name)
        assert found
        yield from leaves(found, (*above, name))


LEAVES = list(leaves())


def example(command: click.Command) -> str:
    """The line in a command's help that can be pasted."""
    context = click.Context(command, terminal_width=80)
    (line,) = re.findall(r"Example:\n\s*(.+)\n?$", command.get_help(context))
    assert isinstance(line, str)
    return line


def test_every_command_is_among_them() -> None:
    assert {words[0] for words, _ in LEAVES} == set(COMMANDS)


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_the_example_is_one_of_this_command(words: tuple[str, ...], command: click.Command) -> None:
    line = example(command)
    if words == ("run",):
        assert line == "docker compose up -d --wait"
        return
    assert line.startswith("docker compose ")
    given = re.sub(r"\s*<\S+$", "", line).split()
    at = len(given) - given[::-1].index("postroad")
    assert tuple(given[at : at + len(words)]) == words
    # parsed as the command would; a file that is standard input needs none here
    command.make_context(words[-1], [each for each in given[at + len(words) :] if each != "-"], resilient_parsing=False)
