"""The keys of the HTTP API, read from their files; what is kept of each is a digest."""

import hashlib
from pathlib import Path

from postroad.config.model import Config
from postroad.config.web import ApiKey
from postroad.errors import InstallError
from postroad.secrets import files as named_files

SHORTEST, LONGEST = 32, 255
"""Characters of a key. It is chosen by chance and not by a person, so its plain digest tells nothing."""


def digests(config: Config) -> tuple[str, ...]:
    """SHA-256 of each of ``web.keys``, in hexadecimal, in their order.

    Raises:
        InstallError: files can't be read, hold no key, or hold the same one; one line each.
    """
    keys = config.web.keys if config.web else ()
    found = named_files.all_of(_digest, enumerate(keys))
    named_files.refuse_all(
        [
            f"At 'web.keys[{i}].key_file': {keys[i].key_file} holds the key of web.keys[{found.index(digest)}]: make"
            " another one with `openssl rand -hex 32`"
            for i, digest in enumerate(found)
            if digest in found[:i]
        ]
    )
    return tuple(found)


def files(config: Config) -> list[Path]:
    """The files that ``digests`` reads."""
    return [key.key_file for key in config.web.keys] if config.web else []


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _digest(numbered: tuple[int, ApiKey]) -> str:
    i, key = numbered
    title = f"At 'web.keys[{i}].key_file'"
    text = named_files.read(title, key.key_file, LONGEST + 3).decode("latin-1").removesuffix("\n").removesuffix("\r")
    if not text:
        raise InstallError(f"{title}: {key.key_file} is empty: `openssl rand -hex 32` makes a key")
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise InstallError(
            f"{title}: {key.key_file} is not one line of {SHORTEST} to {LONGEST} ASCII characters without spaces:"
            " `openssl rand -hex 32` makes a key"
        )
    return digest(text)
