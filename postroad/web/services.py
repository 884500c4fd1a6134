"""What the operations work with, and the list of them."""

import threading
from pathlib import Path

from anyio import CapacityLimiter
from sqlalchemy import Engine

from postroad.runtime.web import Settings
from postroad.store import database
from postroad.web import reading
from postroad.web.operations import Operation

READS, SENDS = 4, 8
"""Calls at once. A thread that reads the store for long keeps no message waiting."""


class Services:
    """The event store and the way to the relay's listener."""

    def __init__(self, settings: Settings, generation: Path) -> None:
        """Nothing is opened yet."""
        self.settings = settings
        self.generation = generation
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._reads = CapacityLimiter(READS)

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
        return reading.operations(self.engine, self._reads)

    def close(self) -> None:
        """Let go of what is open."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
