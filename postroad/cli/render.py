"""``postroad render``."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from postroad import system
from postroad.cli.example import example
from postroad.config.load import load
from postroad.install.generation import surroundings
from postroad.runtime.paths import CURRENT, RUN, STATE
from postroad.secrets.keys import wanted
from postroad.sendmail.files import RenderedFile, files


@click.command(epilog=example("render --diff"))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Write the files into this folder.")
@click.option("--diff", is_flag=True, help="Print the difference from the files in force; exit code 1 if there is one.")
def command(output: Path | None, diff: bool) -> int:
    """Print the files that the configuration stands for."""
    config = load()
    base = CURRENT.resolve() if diff else RUN / "gen-1"
    rendered = files(config, wanted(config, STATE), surroundings(), base=base)
    if diff:
        lines = list(_difference(rendered, base))
        click.echo("".join(lines), nl=False)
        return 1 if lines else 0
    for file in rendered:
        if output:
            system.write(output / file.path, file.text, mode=0o644)
            click.echo(output / file.path)
        else:
            click.echo(f"==> {file.path} <==\n{file.text}")
    return 0


def _difference(rendered: Sequence[RenderedFile], base: Path) -> Iterator[str]:
    for file in rendered:
        path = base / file.path
        old = path.read_text() if path.exists() else ""
        yield from difflib.unified_diff(
            old.splitlines(keepends=True),
            file.text.splitlines(keepends=True),
            f"in force/{file.path}",
            f"new/{file.path}",
        )
