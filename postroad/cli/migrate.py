"""``postroad migrate``."""

import sys
from pathlib import Path

import click

from postroad.cli.example import example
from postroad.errors import ConfigError
from postroad.migrate.images import NAMES, by_repository, by_variables
from postroad.migrate.move import Move, translate
from postroad.migrate.read import Source, read


@click.command(epilog=example("docker compose run --rm -T --no-deps postroad migrate - <old/compose.yaml", whole=True))
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--from", "origin", type=click.Choice(list(NAMES)), help="The image. Not given: told by the file.")
@click.option("--service", help="The service of a compose file. Not given: the one with a known image.")
@click.option("-e", "--env", "settings", multiple=True, metavar="NAME=VALUE", help="A variable, as for `docker run`.")
def command(files: tuple[str, ...], origin: str | None, service: str | None, settings: tuple[str, ...]) -> None:
    """Print the config.yaml that takes the place of another image's environment.

    FILES are a compose file, an env file or a `docker run` command; - is standard input. A later one wins. The images
    are boky/postfix, wader/postfix-relay and namshi/smtp. What has no counterpart stands in comments, and why.
    Passwords are not printed: the comments name the files to put them into. Nothing is changed.
    """
    if not files and not settings:
        raise click.UsageError("give a file, - for standard input, or -e NAME=VALUE")
    sources = [_source(file, service) for file in files] + [Source(dict(_pair(each) for each in settings))]
    variables = {name: value for source in sources for name, value in source.variables.items()}
    named = next((found for source in sources if (found := by_repository(source.image))), None)
    image = NAMES[origin] if origin else named or by_variables(variables)
    notes = [note for source in sources for note in source.notes]
    volumes = [path for source in sources for path in source.volumes]
    click.echo(translate(image, Move(variables, volumes, notes)), nl=False)


def _source(file: str, service: str | None) -> Source:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return read(text, service)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
