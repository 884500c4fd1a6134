"""The suppression list as people and programs change and read it: by the command and by the HTTP API."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from postroad.config.names import is_name
from postroad.errors import PostroadError
from postroad.feedback import suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.store import database
from postroad.times import stamp


class Changed(NamedTuple):
    """How many entries a change was about, and how many are on the list now."""

    number: int
    total: int


def entries(engine: Engine) -> list[SuppressedAddress]:
    """The list, newest first.

    Raises:
        PostroadError: the store can't be read.
    """
    with database.told("read"), engine.connect() as connection:
        return suppression.entries(connection)


def change(engine: Engine, act: Callable[[Connection], int]) -> Changed:
    """Change the list, and let sendmail's rules know; ``act`` returns how many entries it was about.

    Raises:
        PostroadError: the store can't be written.
        OSError: the map for sendmail can't be written.
    """
    with database.told("written"), database.writing(engine) as connection:
        number = act(connection)
    return Changed(number, suppression.publish(engine))


def fields(entry: SuppressedAddress) -> dict[str, Any]:
    """An entry with its times as text."""
    return {name: stamp(value) if isinstance(value, float) else value for name, value in asdict(entry).items()}


def address(text: str) -> str:
    """An address in lower case.

    Raises:
        PostroadError: it is none.
    """
    found = text.strip()
    local, at, name = found.rpartition("@")
    if not (local and at and name) or not suppression.is_plain(found):
        raise PostroadError(f"not an address: {found[:400]!r} (accepted: user@example.com)")
    return found.lower()


def domain(text: str | None) -> str:
    """A sender domain in lower case; ``suppression.ALL`` for none.

    Raises:
        PostroadError: it is none.
    """
    name = (text or "").strip().lower()
    if name and not is_name(name):
        raise PostroadError(f"not a domain: {name!r} (accepted: example.com)")
    return name


def word(text: str) -> str:
    """A reason as sendmail's rules may say it."""
    kept = "".join(char for char in text.lower() if char.isascii() and (char.isalnum() or char in "-_"))
    return kept[:32] or "imported"
