"""Event stores of former versions."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from postroad.store import database


def made_by(path: Path, revision: str, *statements: str) -> Engine:
    """A store as a migration left it, with what these statements put in."""
    engine = database.connect(path)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(text(statement))
    return engine
