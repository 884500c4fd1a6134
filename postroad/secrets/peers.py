"""The secret by which relays know each other."""

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import files as named_files

SHORTEST = 32
"""Characters: whoever can pose as a relay could try shorter ones at leisure."""


def secret(config: Config) -> str | None:
    """What all relays know; None where the configuration names no file.

    Raises:
        InstallError: the file can't be read, or what it holds is no such secret.
    """
    path = config.peers.secret_file
    if path is None:
        return None
    title = "At 'peers.secret_file'"
    found = named_files.password(title, path)
    if len(found) < SHORTEST:
        raise InstallError(
            f"{title}: {path} holds less than {SHORTEST} characters: `openssl rand -hex 32` makes a secret"
        )
    return found
