"""The key that signs return addresses and links: given by a file, for relays that share them, or made once and kept."""

import os
import secrets
from pathlib import Path

from postroad import system
from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.secrets import files as named_files

KEPT = "returns.key"
"""Its file in the state volume."""
SIZE = 32
"""Octets of a key of ours, and the fewest of a given one."""
LARGEST = 1024


def ensure(config: Config, state: Path, *, keep: bool = True) -> bytes:
    """The key; empty where ``returns.domain`` is not set.

    Args:
        config: the configuration.
        state: the state volume.
        keep: whether a key that is missing there is made; else another stands in, and nothing is written.

    Raises:
        InstallError: it can't be read or written, or is too short.
    """
    if not config.returns.domain:
        return b""
    if config.returns.key_file:
        return _given(config.returns.key_file)
    path = state / KEPT
    if not os.path.lexists(path):
        made = secrets.token_bytes(SIZE)
        if keep:
            system.write(path, made)
        return made
    key = named_files.read("The key of return addresses", path, LARGEST)
    if len(key) < SIZE:
        raise InstallError(f"The key of return addresses: {path} is cut off: remove it, and the next start makes one")
    return key


def _given(path: Path) -> bytes:
    key = named_files.read("At 'returns.key_file'", path, LARGEST).strip()
    if len(key) < SIZE:
        raise InstallError(
            f"At 'returns.key_file': {path} has {len(key)} characters, and needs {SIZE}: `openssl rand -base64 32`"
            " makes a key"
        )
    return key
