"""A relay's HTTP API for the vendors' own clients: the server of the image on loopback, before a listener of the test's."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import Engine

from postroad.runtime.web import ApiKey, Settings
from postroad.secrets.api_keys import digest
from postroad.web import app, server
from postroad.web.services import Services
from tests.unit.api import SENDER, SETTINGS
from tests.unit.listener import Listener, Taken

SHOP, NOBODY, BOARD = "shop-" + "s" * 40, "nobody-" + "n" * 40, "board-" + "b" * 40
KEYS = (
    ApiKey("shop", digest(SHOP), ("send", "read", "suppressions"), SENDER, "app@mail.sender.example", "c2VjcmV0", SHOP),
    ApiKey("nobody", digest(NOBODY), ("webhooks",), SENDER, "", "", NOBODY),
    ApiKey("board", digest(BOARD), ("suppressions",), (), "", "", BOARD),
)
VENDORS = ("ses", "sendgrid", "mailgun", "postmark")


@dataclass
class Relay:
    """What the clients talk to, and what reached the relay's listener."""

    url: str
    listener: Listener
    engine: Engine
    said: list[str] = field(default_factory=list)

    @property
    def taken(self) -> list[Taken]:
        return self.listener.taken

    @property
    def messages(self) -> list[EmailMessage]:
        return [message(each.data) for each in self.taken]


def message(octets: bytes) -> EmailMessage:
    found = message_from_bytes(octets, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


@contextmanager
def serving(engine: Engine, listener: Listener, generation: Path, **changes: object) -> Iterator[str]:
    """The server, which answers at the URL while the block runs."""
    usual = replace(SETTINGS, port=0, keys=KEYS, vendors=VENDORS, submission=listener.port)
    given: Settings = replace(usual, **changes)  # type: ignore[arg-type]
    services = Services(given, generation)
    services.engine = lambda: engine  # type: ignore[method-assign]
    made = app.make(given, services.operations(), services.pages(), services.vendors)
    with server.listen(given) as socket:
        running = server.make(made, given, generation)
        thread = threading.Thread(target=asyncio.run, args=(running.serve([socket]),), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(20)
            services.close()
    assert not thread.is_alive()
