"""Looks at something again and again while something else goes on."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Watcher(ABC):
    """Looks in a thread of its own, from ``with`` to its end."""

    def __init__(self, every: float = 0.5) -> None:
        """Prepare it; ``every`` are the seconds between two looks."""
        self.every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.look()
