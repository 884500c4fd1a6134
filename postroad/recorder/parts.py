"""A thread that agrees with other relays on the limits of routes, and tells the shaper what this relay may have."""

import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from postroad.runtime import sharing
from postroad.runtime.log import Tell
from postroad.runtime.paths import PARTS
from postroad.runtime.sharing import Parts
from postroad.store import relays
from postroad.store.budgets import Budgets

EVERY = 2.0
"""Seconds between two rounds: so soon a relay has more where others need less."""
COMPLAIN = 600.0
"""Seconds before the same is told to the log again."""
LEAVES = 3
"""Tries to let go of the parts: the shaper may end just then."""


class PartsAgreement:
    """Asks the shaper, agrees in the database, tells the shaper."""

    def __init__(self, engine: Engine, holder: int, tell: Tell, path: Path = PARTS) -> None:
        """Take part as this ``holder``, the number of the relay's journal.

        Args:
            engine: the store.
            holder: that number.
            tell: gets a level and a message for the log.
            path: where the shaper hears.
        """
        self._engine = engine
        self._budgets = Budgets(engine, holder)
        self._path = path
        self._tell, self._told = tell, 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._try(self.agree)
            if self._end.wait(EVERY):
                any(self._try(self.leave) for _ in range(LEAVES))
                return

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (SQLAlchemyError, OSError, ValueError):  # the recorder tells of the database, the shaper of its limits
            pass
        except Exception:  # noqa: BLE001 - a bug in here must not end the thread
            traceback.print_exc()
        else:
            return True
        return False

    def agree(self) -> None:
        """One round.

        Raises:
            SQLAlchemyError: the store can't be asked.
            OSError, ValueError: the shaper can't, as while it begins anew.
        """
        began = sharing.now()
        report = sharing.tell(self._path, Parts(began, None))
        parts = self._budgets.agree(report)
        if report.uses:
            sharing.tell(self._path, Parts(began, parts))
        if self._budgets.silent and time.monotonic() >= self._told:
            self._told = time.monotonic() + COMPLAIN
            self._tell("warning", self._complaint())

    def _complaint(self) -> str:
        with self._engine.connect() as connection:
            names = relays.names(connection)
        held = "; ".join(
            f"{names.get(holder, holder)}: {', '.join(f'{amount} of {name}' for name, amount in sorted(parts.items()))}"
            for holder, parts in self._budgets.silent.items()
        )
        return (
            f"relays that share the limits of routes were not heard of for over {sharing.LASTS:g} s; in case they are"
            f" only cut off, what they keep is the others' after {sharing.KEEPS / 60:g} minutes, and of one that is"
            f" gone for good once `postroad relays forget NAME` says so: {held}"
        )

    def leave(self) -> None:
        """Let go of this relay's parts: the shaper has none from now on.

        Raises:
            SQLAlchemyError, OSError, ValueError: as ``agree``.
        """
        try:
            report = sharing.tell(self._path, Parts(sharing.now(), ()))
        except (ConnectionRefusedError, FileNotFoundError):
            report = None  # it has ended, and another begins without parts
        self._budgets.leave(report)

    def stop(self, patience: float) -> None:
        """Let go of the parts, and wait for it so many seconds."""
        self._end.set()
        with contextlib.suppress(RuntimeError):  # it had not begun
            self._thread.join(patience)
