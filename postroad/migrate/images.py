"""The images that can be migrated from, and how to recognize them."""

from collections.abc import Mapping

from postroad.errors import ConfigError
from postroad.migrate import boky, namshi, wader
from postroad.migrate.move import Image

IMAGES = (boky.IMAGE, wader.IMAGE, namshi.IMAGE)
NAMES = {image.repositories[0].partition("/")[0].removeprefix("m"): image for image in IMAGES}
"""The images by their names for ``--from``: boky, wader, namshi."""


def by_repository(text: str) -> Image | None:
    """The image that a reference such as ``ghcr.io/bokysan/postfix:v5`` names; None if it is not a known one."""
    name = text.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    repository = head + slash + tail.partition(":")[0]
    return next(
        (i for i in IMAGES if any(repository == r or repository.endswith(f"/{r}") for r in i.repositories)), None
    )


def by_variables(variables: Mapping[str, str]) -> Image:
    """The image whose own variables are set.

    Raises:
        ConfigError: the variables fit no image, or several.
    """
    found = [image for image in IMAGES if any(name in variables for name in image.marks)]
    if not found and any(name.startswith("POSTFIX_") for name in variables):
        found = [wader.IMAGE]
    if len(found) != 1:
        raise ConfigError(
            "the variables do not tell which image they are for: add --from boky (boky/postfix), --from wader"
            " (wader/postfix-relay) or --from namshi (namshi/smtp)"
        )
    return found[0]
