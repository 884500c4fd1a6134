"""The keys of the HTTP API, of each of which a digest is kept, and the console's password; read from their files."""

import hashlib
import re
from pathlib import Path

from postroad.config.model import Config
from postroad.config.web import ApiKey
from postroad.errors import InstallError
from postroad.secrets import files as named_files

SHORTEST_PASSWORD = 12
HASH = re.compile(r"\$argon2id\$v=19\$m=\d{4,6},t=\d{1,2},p=\d{1,2}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}")
"""An argon2id hash (RFC 9106) in the form of the reference implementation, with less than a gigabyte of memory."""
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


def password(config: Config) -> str:
    """The console's password, or its argon2id hash; empty where there is no console.

    Raises:
        InstallError: the file can't be read, or holds neither.
    """
    path = config.web.password_file if config.web else None
    if path is None:
        return ""
    title = "At 'web.password_file'"
    found = named_files.password(title, path)
    if found.startswith("$"):
        if not HASH.fullmatch(found):
            raise InstallError(f"{title}: {path} is not an argon2id hash: keep the password or $argon2id$... in it")
    elif len(found) < SHORTEST_PASSWORD:
        raise InstallError(
            f"{title}: {path} holds fewer than {SHORTEST_PASSWORD} characters: `openssl rand -base64 18` makes a"
            " password"
        )
    return found


def files(config: Config) -> list[Path]:
    """The files that ``digests`` and ``password`` read."""
    if not config.web:
        return []
    password_file = config.web.password_file
    return [*(key.key_file for key in config.web.keys), *([password_file] if password_file else [])]


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
