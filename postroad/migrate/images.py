"""The images that can be left for Postroad, and how to tell which one it is."""

from collections.abc import Mapping

from postroad.errors import ConfigError
from postroad.migrate import boky, namshi, wader
from postroad.migrate.move import Image

IMAGES = (boky.IMAGE, wader.IMAGE, namshi.IMAGE)
NAMES = {image.repositories[0].partition("/")[0].removeprefix("m"): image for image in IMAGES}
"""By what ``--from`` calls them: boky, wader, namshi."""


def by_repository(text: str) -> Image | None:
    """The image that a reference such as ``ghcr.io/bokysan/postfix:v5`` names; None if it is another."""
    name = text.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    repository = head + slash + tail.partition(":")[0]
    return next(
        (i for i in IMAGES if any(repository == r or repository.endswith(f"/{r}") for r in i.repositories)), None
    )


def by_variables(variables: Mapping[str, str]) -> Image:
    """The image whose own variables are there.

    Raises:
        ConfigError: none's or several images' are.
    """
    found = [image for image in IMAGES if any(name in variables for name in image.marks)]
    if not found and any(name.startswith("POSTFIX_") for name in variables):
        found = [wader.IMAGE]
    if len(found) != 1:
        raise ConfigError(
            "which image these variables are for can't be told: say --from boky (boky/postfix), --from wader"
            " (wader/postfix-relay) or --from namshi (namshi/smtp)"
        )
    return found[0]
