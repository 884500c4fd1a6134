"""What all checks of one run share: the configuration, lookups, and the time there is."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

from postroad.config.model import Config
from postroad.dns import records, survey
from postroad.dns.records import Record
from postroad.dns.resolver import Resolver

T = TypeVar("T")
R = TypeVar("R")


class Late(Exception):  # noqa: N818 - nothing went wrong, it only takes long
    """A thread has not ended in time."""


class Task(threading.Thread, Generic[R]):
    """A function in a thread of its own, that keeps nobody waiting: not even the end of the process."""

    def __init__(self, function: Callable[[], R]) -> None:
        """Start it."""
        super().__init__(daemon=True)
        self._function = function
        self._result: list[R] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """What the thread does."""
        try:
            self._result.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
            self._error = error

    def result(self, timeout: float) -> R:
        """What it returned, or raise what it raised.

        Raises:
            Late: it has not ended within ``timeout`` seconds.
        """
        self.join(max(timeout, 0))
        if self._error:
            raise self._error
        if not self._result:
            raise Late
        return self._result[0]


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item at the same time; the results in the items' order, or the first exception."""
    tasks = [Task(partial(function, item)) for item in items]
    return [task.result(threading.TIMEOUT_MAX) for task in tasks]


@dataclass(frozen=True)
class CheckFacts:
    """What is true of this host, whatever is published.

    Attributes:
        addresses: the addresses the world sees it under; empty where that is not known.
        dkim: the TXT value of each key in use, by its name (``SELECTOR._domainkey.DOMAIN``); empty: it can't be read.
        how: in a sentence, how the addresses are known, or why they are not.
        coming: likewise, the TXT value of each next key, which signs as soon as its record is seen.
        past: likewise, of each key that signed before, with the days when it ceased to and when its record may go;
            an empty value: it may go now.
    """

    addresses: tuple[str, ...]
    dkim: Mapping[str, str]
    how: str = ""
    coming: Mapping[str, str] = field(default_factory=dict)
    past: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @property
    def records(self) -> dict[str, str]:
        """The TXT value of each key that is to be published."""
        past = {name: value for name, (value, _, _) in self.past.items()}
        return {name: value for name, value in {**self.dkim, **self.coming, **past}.items() if value}


class Context:
    """What a check may look at.

    Attributes:
        config: the configuration.
        resolver: lookups; each question is asked once for all checks.
        deadline: the end, as ``time.monotonic`` tells the time.
        short: only what tells much and costs little: the form that runs when the server has started.
    """

    def __init__(
        self,
        config: Config,
        resolver: Resolver,
        find_facts: Callable[[], CheckFacts],
        *,
        deadline: float,
        short: bool = False,
    ) -> None:
        """Begin to find the facts out, in the background."""
        self.config = config
        self.resolver = resolver
        self.deadline = deadline
        self.short = short
        self._facts = Task(find_facts)
        self._lock = threading.Lock()
        self._shared: dict[object, Task[Any]] = {}

    @property
    def left(self) -> float:
        """Seconds until the end; 0 after it."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def facts(self) -> CheckFacts:
        """What is true of this host; waits for it.

        Raises:
            Late: it is not known in time.
        """
        return self._facts.result(self.left)

    def shared(self, find: Callable[["Context"], R]) -> R:
        """What this function finds, found once for all checks.

        Raises:
            Late: it is not known in time.
        """
        with self._lock:
            task = self._shared.get(find) or self._shared.setdefault(find, Task(partial(find, self)))
        return cast("Task[R]", task).result(self.left)

    def record(self, name: str, rtype: str, version: str = "") -> Record | None:
        """The record to publish, by its name, its type and how it begins; None if there is nothing to publish."""
        found = (each for each in self.shared(wanted) if (each.name, each.type) == (name, rtype))
        return next((each for each in found if each.value.lower().startswith(version)), None)


def wanted(context: Context) -> list[Record]:
    """The records that ``postroad dns`` would have published."""
    known = records.RecordFacts(context.facts.addresses, context.facts.records)
    return records.expected(context.config, survey.look_up(context.config, known, context.resolver))
