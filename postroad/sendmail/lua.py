"""Values in Lua: the scripts that opendkim runs."""

import re

from postroad.errors import InstallError

# what stands in domains and mail addresses
_PLAIN = re.compile(r"[A-Za-z0-9@._+=-]*")


def quote(value: str) -> str:
    """A value as a Lua string.

    Raises:
        InstallError: it holds what is not in a mail address as the configuration takes them.
    """
    if not _PLAIN.fullmatch(value):
        raise InstallError(f"{value!r} can't be written into a Lua script")
    return f'"{value}"'
