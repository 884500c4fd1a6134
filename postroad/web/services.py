"""What the operations work with, and the list of them."""

import ssl
import threading
from pathlib import Path

from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.routing import Route

from postroad.runtime.web import Settings
from postroad.store import database
from postroad.web import hooks, reading, sending, suppressing, vendors
from postroad.web.console import Console
from postroad.web.keys import Keys
from postroad.web.operations import Budget, Operation
from postroad.web.sessions import Sessions
from postroad.web.submission import Submission

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
READS, SENDS, POSTS = 4, 8, 2
"""Calls at once. A thread that reads the store for long keeps no message waiting."""


class Services:
    """The event store and the way to the relay's listener."""

    def __init__(self, settings: Settings, generation: Path, sessions: Sessions | None = None) -> None:
        """Nothing is opened yet; ``sessions`` are those that last over a reload."""
        self._sessions = sessions or Sessions()
        self.settings = settings
        self.generation = generation
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._reads, self._sends, self._posts = (CapacityLimiter(number) for number in (READS, SENDS, POSTS))
        self.submission = Submission(
            settings.hostname, settings.submission, self._certificates, implicit=settings.implicit
        )

    def engine(self) -> Engine:
        """The event store.

        Raises:
            PostroadError: it can't be read, or its tables are not made yet.
        """
        with self._lock:
            if self._engine is None:
                self._engine = database.existing()
            return self._engine

    def operations(self) -> list[Operation]:
        """All operations of the API."""
        sender = sending.Sender(self.settings, self.engine, self.submission)
        return [
            *sending.operations(sender, self._sends),
            *reading.operations(self.engine, self._reads),
            *suppressing.operations(self.engine, self._reads),
            *hooks.operations(self.engine, self.generation, self._posts),
        ]

    def vendors(self, known: Keys, budget: Budget) -> list[Route]:
        """The paths of the vendors that the settings name."""
        sender = sending.Sender(self.settings, self.engine, self.submission)
        return vendors.routes(
            self.settings.vendors, known, budget, sender, self.engine, vendors.Limiters(self._reads, self._sends)
        )

    def pages(self) -> list[Route]:
        """The paths of the console; none where nobody could sign in."""
        if not self.settings.password and not self.settings.oidc:
            return []
        return Console(self.settings, self.engine, self._reads, self._sessions).routes()

    def close(self) -> None:
        """Let go of what is open."""
        self.submission.close()
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _certificates(self) -> set[bytes]:
        """Those that the relay's listener may have: the one in force, and the one before."""
        found = set()
        for path in self.generation.resolve().parent.glob("gen-*/tls/certificate.pem"):
            text = path.read_text("latin-1")
            found.add(ssl.PEM_cert_to_DER_cert(text[text.index(BEGIN) : text.index(END) + len(END)]))
        return found
