"""The HTTP API in a test: settings, keys, and a client of the application."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from starlette.testclient import TestClient

from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime.signing import SenderDomain
from postroad.runtime.web import ApiKey, Settings
from postroad.secrets.api_keys import digest
from postroad.web import app
from postroad.web.services import Services
from tests.unit.handed import RECORDING

SHOP, READER, ALL = "shop-" + "s" * 40, "reader-" + "r" * 40, "all-" + "a" * 40
SENDER = (SenderDomain("sender.example", True),)
KEYS = (
    ApiKey("shop", digest(SHOP), ("send",), SENDER, "app@mail.sender.example", "c2VjcmV0"),
    ApiKey("reader", digest(READER), ("read",), SENDER, "", ""),
    ApiKey("all", digest(ALL), ("read", "suppressions", "webhooks"), (), "", ""),
)
SETTINGS = Settings(
    hostname="mail.sender.example", host="127.0.0.1", port=8080, tls=False, proxies=(), keys=KEYS, submission=587,
    implicit=False, message_size=1_000_000,
)  # fmt: skip


@dataclass
class Api:
    """A client of the application."""

    client: TestClient
    services: Services

    def close(self) -> None:
        self.services.submission.close()

    def get(self, path: str, key: str = ALL, **given: Any) -> Any:
        return self.client.get(path, headers=bearer(key), **given)

    def post(self, path: str, body: Any, key: str = SHOP, **given: Any) -> Any:
        return self.client.post(path, json=body, headers=bearer(key), **given)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def of(
    engine: Engine | Callable[[], Engine],
    settings: Settings = SETTINGS,
    generation: Path = Path("/nowhere"),
    client: str = "127.0.0.1",
) -> Api:
    """The API on a store of the test's own."""
    services = Services(settings, generation)
    services.engine = engine if callable(engine) else lambda: engine  # type: ignore[method-assign]
    made = app.make(settings, services.operations(), services.pages())
    client_of = TestClient(made, base_url="http://api.test", client=(client, 40000), raise_server_exceptions=False)
    return Api(client_of, services)


def put(engine: Engine, queue_id: str, /, *kinds: str, ago: float = 60.0, **fields: Any) -> None:
    """Store events of a message; all but ``accepted`` are about ``recipient``."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
    about = {"queue_id": queue_id, "message_id": f"<{queue_id}@x>", "sender": "app@sender.example"}
    events = []
    for kind in kinds:
        event = {"event": kind, "time": stamp, **about, "recipient": "u@rcpt.example"}
        if kind in {"bounced", "deferred"}:
            reply = "550 5.1.1 User unknown" if kind == "bounced" else "451 4.7.1 Greylisted"
            event |= {"dsn": reply[4:9], "reply": reply, "relay_host": "mx.rcpt.example"}
        event |= fields
        if kind == "accepted":
            del event["recipient"]
        events.append(event)
    writer.write(engine, Batch(tuple(events), Position("j", 1)), RECORDING)
