"""What tests of several rooms need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad.store import database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An event store of the test's own, SQLite, as the migrations make it."""
    made = database.connect(tmp_path / "events.db")
    database.upgrade(made)
    yield made
    made.dispose()
