"""What the recorder needs to post to webhooks: the configuration's, with their secrets and authorities read."""

import base64
import binascii
from pathlib import Path

from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.sendmail import outbound

SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the Standard Webhooks specification has it."""
MOST_SECRETS = 3
LARGEST = 1024


def settings(config: Config) -> list[dict[str, object]]:
    """The webhooks as the recorder takes them; secret.

    Raises:
        InstallError: a secret or an authority can't be read, or is none.
    """
    return [
        {
            "name": hook.name,
            "url": hook.url,
            "secrets": _secrets(hook.name, hook.secret_file),
            "types": hook.types,
            "senders": hook.senders,
            "recipients": hook.recipients,
            "allow_private": hook.allow_private,
            "ca": outbound.authorities(hook.ca_file, f"the ca_file of webhook {hook.name}"),
            "give_up_after": hook.give_up_after.total_seconds(),
        }
        for hook in config.events.webhooks
    ]


def files(config: Config) -> list[Path | None]:
    """The files that ``settings`` reads."""
    return [path for hook in config.events.webhooks for path in (hook.secret_file, hook.ca_file)]


def _secrets(name: str, path: Path) -> list[str]:
    where = f"the secret of webhook {name}, {path}"
    try:
        with path.open("rb") as file:
            lines = file.read(LARGEST).split()
    except OSError as error:
        raise InstallError(f"{where}, can't be read: {error.strerror}") from error
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise InstallError(f"{where}, holds {len(lines)} lines: give one secret, or up to {MOST_SECRETS}")
    found = []
    for line in lines:
        try:
            secret = base64.b64decode(line.removeprefix(b"whsec_"), validate=True)
        except binascii.Error:
            secret = b""
        if not SHORTEST <= len(secret) <= LONGEST:
            raise InstallError(
                f"{where}, is not {SHORTEST} to {LONGEST} bytes in base64: `openssl rand -base64 32` makes one"
            )
        found.append(base64.b64encode(secret).decode())
    return found
