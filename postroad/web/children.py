"""Commands that the console runs as processes of their own: they are the very commands, and take no memory here.

They get the container's variables, which the processes that the supervisor starts do not have.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroad import system
from postroad.errors import CommandError, PostroadError
from postroad.runtime.paths import HEALTH

COMMAND = (sys.executable, "-m", "postroad.cli")
SOURCE = Path(__file__).parents[2]
PROC = Path("/proc")
PATIENCE = 60.0
"""Seconds for a command."""
MOST_LINES = 5000


def environment() -> dict[str, str]:
    """The container's variables, as the supervisor has them, and where this package is."""
    try:
        supervisor = PROC / str(int(HEALTH.read_text().split()[1])) / "environ"
        pairs = (each.partition("=") for each in os.fsdecode(supervisor.read_bytes()).split("\0") if each)
        found = {name: value for name, _, value in pairs}
    except (OSError, ValueError, IndexError):
        found = dict(os.environ)
    return found | {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}


def run(*words: str, given: str = "", patience: float = PATIENCE) -> str:
    """What a command prints; ``given`` is its standard input.

    Raises:
        PostroadError: it says what is wrong.
    """
    code, out, err = answer(*words, given=given, patience=patience)
    if code:
        raise PostroadError(said(err) or f"postroad {words[0]} failed (exit {code})")
    return out


def answer(*words: str, given: str = "", patience: float = PATIENCE) -> tuple[int, str, str]:
    """A command's exit code, and what it prints on standard output and error.

    Raises:
        CommandError: it could not be started, or did not end in time.
    """
    return system.capture([*COMMAND, *words], stdin=given, env=environment(), timeout=patience)


def said(err: str) -> str:
    """What a command printed on standard error, without its name."""
    lines = (line.removeprefix("postroad: ").removeprefix("Error: ") for line in err.strip().splitlines())
    return "\n".join(line for line in lines if not line.startswith(("Usage:", "Try ")))


@dataclass
class Task:
    """A command that runs, or ran, beside the pages.

    Attributes:
        begun: when, in seconds since the epoch; ``by``: who began it.
        lines: what it has printed.
        error: what it printed on standard error; set once it has ended.
        code: its exit code; None as long as it runs.
    """

    begun: float
    by: str
    lines: list[str]
    error: str = ""
    code: int | None = None

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.code is None


class Runner:
    """Runs one command at a time, and keeps what the last one printed."""

    def __init__(self, *words: str, patience: float = PATIENCE, then: Callable[[Task], None] | None = None) -> None:
        """For this command; ``then`` is called, in a thread, before others see that it has ended."""
        self._words, self._patience, self._then = words, patience, then
        self._lock = threading.Lock()
        self.task: Task | None = None
        """The last one; None: there was none."""

    def begin(self, by: str, given: str = "") -> bool:
        """Run it, unless it runs; return whether it was begun."""
        with self._lock:
            if self.task is not None and self.task.runs:
                return False
            task = self.task = Task(time.time(), by, [])
        threading.Thread(target=self._run, args=(task, given), daemon=True, name=f"command {self._words[0]}").start()
        return True

    def _run(self, task: Task, given: str) -> None:
        def tell(line: str) -> None:
            if len(task.lines) < MOST_LINES:
                task.lines.append(line)

        code = -1
        try:
            code, errors = system.follow([*COMMAND, *self._words], environment(), given, tell, self._patience)
            task.error = said(errors)
        except CommandError as error:
            task.error = str(error)
        finally:
            try:
                if self._then:
                    self._then(task)
            finally:
                task.code = code  # last: whoever sees that it has ended finds what was kept


def objects(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The lines that are objects of JSON."""
    found = []
    for line in lines:
        try:
            each = json.loads(line)
        except ValueError:
            continue
        if isinstance(each, dict):
            found.append(each)
    return found
