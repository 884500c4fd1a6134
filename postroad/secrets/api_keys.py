"""The keys of the HTTP API and the console's passwords, read from their files."""

import hashlib
import re
from collections.abc import Callable
from functools import partial
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


def read(config: Config) -> tuple[str, ...]:
    """Each of ``web.keys``, in their order.

    Raises:
        InstallError: files can't be read, hold no key, or hold the same one; one line each.
    """
    keys = config.web.keys if config.web else ()
    found = named_files.all_of(_key, enumerate(keys))
    named_files.refuse_all(
        [
            f"At 'web.keys[{i}].key_file': {keys[i].key_file} holds the key of web.keys[{found.index(key)}]: make"
            " another one with `openssl rand -hex 32`"
            for i, key in enumerate(found)
            if key in found[:i]
        ]
    )
    return tuple(found)


def passwords(config: Config) -> tuple[str, str]:
    """The console's passwords, or their argon2id hashes: an operator's and a viewer's; empty where there is none.

    Raises:
        InstallError: a file can't be read, holds neither, or both hold the same one; one line each.
    """
    section = config.web
    files = (section.password_file, section.viewer_password_file) if section else (None, None)
    found = named_files.all_of(_password, zip(("password_file", "viewer_password_file"), files, strict=True))
    operator, viewer = found
    if operator and operator == viewer:
        raise InstallError(
            f"At 'web.viewer_password_file': {files[1]} holds the password of web.password_file: make another one with"
            " `openssl rand -base64 18`"
        )
    return operator, viewer


def _password(named: tuple[str, Path | None]) -> str:
    key, path = named
    if path is None:
        return ""
    title = f"At 'web.{key}'"
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


def oidc(config: Config) -> tuple[str, str]:
    """The client's secret at the identity provider, and its authorities' certificates; empty where there is none.

    Raises:
        InstallError: a file can't be read, or holds something else; one line each.
    """
    section = config.web.oidc if config.web else None
    if section is None:
        return "", ""
    readers: tuple[Callable[[], str], ...] = (
        partial(named_files.password, "At 'web.oidc.client_secret_file'", section.client_secret_file),
        partial(named_files.authorities, section.ca_file, "web.oidc.ca_file"),
    )
    secret, authorities = named_files.all_of(lambda read: read(), readers)
    return secret, authorities


def files(config: Config) -> list[Path]:
    """The files that ``read``, ``passwords`` and ``oidc`` read."""
    if not config.web:
        return []
    section = config.web.oidc
    others = [config.web.password_file, config.web.viewer_password_file]
    others += [section.client_secret_file, section.ca_file] if section else []
    return [*(key.key_file for key in config.web.keys), *(path for path in others if path)]


def digest(key: str) -> str:
    """SHA-256 of a key, in hexadecimal: what is kept of it, unless a vendor's signatures need the key itself."""
    return hashlib.sha256(key.encode()).hexdigest()


def _key(numbered: tuple[int, ApiKey]) -> str:
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
    return text
