"""The recorder's webhook settings: the configured webhooks, with their secrets and authorities read from files."""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from postroad.config.model import Config
from postroad.config.webhooks import Webhook
from postroad.errors import InstallError
from postroad.runtime.recording import Hook
from postroad.secrets import files as named_files

SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, by the Standard Webhooks specification."""
MOST_SECRETS = 3
LARGEST = 1024


def settings(config: Config) -> tuple[Hook, ...]:
    """The webhooks in the recorder's form; secret.

    Raises:
        InstallError: files of secrets or authorities can't be read or hold none, one line each.
    """
    return tuple(named_files.all_of(_settings, enumerate(config.events.webhooks)))


def _settings(numbered: tuple[int, Webhook]) -> Hook:
    i, hook = numbered
    key = f"events.webhooks[{i}]"
    readers: tuple[Callable[[], Any], ...] = (
        partial(_secrets, f"At '{key}.secret_file'", hook.secret_file),
        partial(named_files.authorities, hook.ca_file, f"{key}.ca_file"),
    )
    secrets, authorities = named_files.all_of(lambda read: read(), readers)
    return Hook(
        name=hook.name,
        url=hook.url,
        secrets=tuple(secrets),
        types=hook.types,
        senders=hook.senders,
        recipients=hook.recipients,
        allow_private=hook.allow_private,
        ca=authorities,
        give_up_after=hook.give_up_after.total_seconds(),
    )


def files(config: Config) -> list[Path | None]:
    """The files that ``settings`` reads."""
    return [path for hook in config.events.webhooks for path in (hook.secret_file, hook.ca_file)]


def _secrets(title: str, path: Path) -> list[str]:
    where = f"{title}: {path}"
    lines = named_files.read(title, path, LARGEST).split()
    if not lines:
        raise InstallError(f"{where} is empty: `openssl rand -base64 32` makes a secret")
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise InstallError(f"{where} holds {len(lines)} lines: give one secret, or up to {MOST_SECRETS}")
    found = []
    for line in lines:
        try:
            secret = base64.b64decode(line.removeprefix(b"whsec_"), validate=True)
        except binascii.Error:
            secret = b""
        if not SHORTEST <= len(secret) <= LONGEST:
            raise InstallError(
                f"{where} is not {SHORTEST} to {LONGEST} bytes in base64: `openssl rand -base64 32` makes one"
            )
        found.append(base64.b64encode(secret).decode())
    return found
