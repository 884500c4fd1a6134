"""The messages that wait: which, why, trying them again, deleting them."""

import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from postroad import system
from postroad.commands import running
from postroad.commands.running import NoServerError
from postroad.errors import PostroadError, plainly
from postroad.runtime import flushing, log, plan, slowed
from postroad.runtime.paths import CURRENT, HEALTH, LOG_SOCKET, QUEUE, RECEIVERS, SHAPER
from postroad.sendmail import queue
from postroad.sendmail.queue import QueuedMessage
from postroad.text import printable

TOGETHER = 500
"""Messages that the event store is asked about at once."""


def waiting_reasons(of_routes: Mapping[str, str]) -> dict[str, str]:
    """Why a message waits that was never tried, by its queue directory or by a recipient's domain.

    ``of_routes`` are those of the configuration; the receivers that get less at this moment are added.
    """
    return dict(of_routes) | slowed.waiting_reasons(RECEIVERS)


def with_reasons(found: Iterable[QueuedMessage]) -> Iterator[QueuedMessage]:
    """The messages; those tried once with the reason that the event store has, where it can be read.

    Until the second attempt sendmail keeps what it last refused in the session that the message came in: an attempt
    that puts a message off does not replace it (``giveresponse`` in deliver.c).
    """
    rest = iter(found)
    engine, readable = None, True
    try:
        while some := list(itertools.islice(rest, TOGETHER)):
            doubtful = [each.queue_id for each in some if each.attempts == 1 and each.reasons]
            told: Mapping[str, str] = {}
            if doubtful and readable:
                # not in memory where nothing is doubtful
                from postroad.store import database, queries  # noqa: PLC0415

                readable = False  # once: a server that is away takes its time
                with contextlib.suppress(PostroadError, OSError, ValueError), database.told("read"):
                    engine = engine or database.existing(patience=0)
                    with engine.connect() as connection:
                        told = queries.last_deferrals(connection, doubtful)
                    readable = True
            for each in some:
                said = told.get(each.queue_id)
                # in sendmail's form, as the reasons of all others
                yield replace(each, reasons=(f"Deferred: {said}", *each.reasons)) if said else each
    finally:
        if engine:
            engine.dispose()


def why(message: QueuedMessage, reasons: Mapping[str, str]) -> str:
    """Why it waits; ``reasons`` are those of ``waiting_reasons``."""
    return message.reason if message.attempts else _untried(message, reasons) or message.reason


def _untried(message: QueuedMessage, reasons: Mapping[str, str]) -> str:
    names = (message.path.parent.name, *sorted(message.domains))
    return next((reasons[name] for name in names if name in reasons), "")


def next_try(message: QueuedMessage, retry: timedelta, now: float, reasons: Mapping[str, str]) -> float | None:
    """About when it is tried again, in seconds since the epoch; None: never, or when the limits allow it."""
    if any(domain in reasons for domain in message.domains) or (not message.attempts and _untried(message, reasons)):
        return None
    return message.next_try(retry.total_seconds(), now)


def as_dict(message: QueuedMessage, retry: timedelta, now: float, reasons: Mapping[str, str]) -> dict[str, Any]:
    """A message for programs."""
    return {
        "queue_id": message.queue_id,
        "sender": message.sender,
        "recipients": list(message.recipients),
        "arrived": _iso(message.arrived),
        "age": age(message, now),
        "size": message.size,
        "reason": why(message, reasons) or None,
        "attempts": message.attempts,
        "last_try": _iso(message.last_try),
        "next_try": _iso(next_try(message, retry, now, reasons)),
        "priority": message.priority,
        "active": message.active,
        "note": message.note or None,
    }


def age(message: QueuedMessage, now: float) -> int | None:
    """Seconds since it was accepted."""
    return None if message.arrived is None else max(0, int(now) - message.arrived)


def _iso(seconds: float | None) -> str | None:
    """As the events write times; None for what is no time."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def chosen(
    *, ids: Container[str] | None = None, domain: str | None = None, sender: str | None = None
) -> Iterator[QueuedMessage]:
    """The messages that fit: one of the ids, if any are given; a recipient in the domain; the sender."""
    wanted = domain.lower().lstrip("@").rstrip(".") if domain else None
    of = None if sender is None else sender.removeprefix("<").removesuffix(">").lower()
    try:
        for message in queue.messages(QUEUE):
            if ids is not None and message.queue_id not in ids:
                continue
            if wanted is not None and wanted not in message.domains:
                continue
            if of is not None and (message.sender is None or message.sender.lower() != of):
                continue
            yield message
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not running.is_running():
            raise NoServerError from error
        raise PostroadError(f"{QUEUE} can't be read by uid {os.getuid()}: {error.strerror}") from error


def daemon() -> plan.Process:
    """The running sendmail's plan, for its command and environment.

    Raises:
        PostroadError: no server runs here.
    """
    try:
        os.kill(int(HEALTH.read_text().split()[1]), 0)
        return next(process for process in plan.load(CURRENT / plan.FILE).processes if process.name == "sendmail")
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise NoServerError from error


class QueueRun:
    """One run of sendmail's over the queue, or a part of it; it goes on by itself should we be interrupted."""

    def __init__(self, process: plan.Process, which: list[str]) -> None:
        """Start it: ``which`` are sendmail's -q options."""
        self.code: int | None = None
        """Its exit code, once it has ended."""
        argv = (process.argv[0], "-C", str(CURRENT / "sendmail.cf"), *which)
        # quiet: what it prints may hold what others wrote; the log has it, too
        self._pid = system.spawn(argv, process.env, quiet=True)

    def ended(self) -> bool:
        """Whether it is over."""
        if self.code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None


def in_group(message: QueuedMessage) -> bool:
    """Whether only the shaper lets it go."""
    return message.path.parent.name.startswith(queue.GROUP)


class FlushRequest:
    """Messages of routes with limits that the shaper is to try now, as far as their limits allow."""

    def __init__(self, ids: Iterable[str] | None) -> None:
        """Tell it; None stands for all.

        Raises:
            PostroadError: it does not listen.
        """
        self._ended = False
        self._shaper = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._shaper.settimeout(5)
            self._shaper.connect(str(SHAPER))
            self._shaper.sendall(flushing.request(ids))
            self._shaper.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._shaper.close()
            raise PostroadError(
                f"{SHAPER}: the shaper does not answer ({plainly(error)}); see the server's log"
            ) from error
        self._shaper.setblocking(False)

    def ended(self) -> bool:
        """Whether they were tried, or it is clear that they have to wait."""
        if not self._ended:
            try:
                self._ended = not self._shaper.recv(1)
            except BlockingIOError:
                return False
            except OSError:
                self._ended = True
            if self._ended:
                self._shaper.close()
        return self._ended


class Flush:
    """Messages that are tried now: by a run of sendmail's, and by the shaper what waits for a route's limits."""

    def __init__(
        self, *, domain: str | None = None, queue_id: str | None = None, process: plan.Process | None = None
    ) -> None:
        """Try all, or those with a recipient in the domain, or the one with this id.

        Raises:
            PostroadError: no server runs here, or it can't be told.
        """
        process = process or daemon()
        found = chosen(ids={queue_id} if queue_id else None, domain=domain)
        apart = {message.queue_id: in_group(message) for message in found if message.runs}
        self.wanted = set(apart)
        """The ids of the messages."""
        shaped = {each for each, is_apart in apart.items() if is_apart}
        narrowed = [f"-qI{queue_id}"] if queue_id else [f"-qR@{domain.lower().lstrip('@')}"] if domain else []
        # f: sendmail would else go on in the background, and what it has not ended yet would count as still waiting
        self._run = QueueRun(process, ["-qf", *narrowed]) if self.wanted - shaped else None
        self._request = FlushRequest(shaped) if shaped else None

    def ended(self) -> bool:
        """Whether all were tried, or it is clear that they have to wait."""
        ends = [each.ended() for each in (self._run, self._request) if each]
        return all(ends)

    def left(self) -> set[str]:
        """The ids of those that wait still."""
        return self.wanted & queue.waiting(QUEUE)

    @property
    def code(self) -> int | None:
        """The exit code of sendmail's run, where there was one, and it has ended."""
        return self._run.code if self._run else None


def delete(found: Iterable[QueuedMessage], untold: Callable[[], None]) -> list[QueuedMessage]:
    """Delete these, telling the log of each; return those that somebody works on.

    ``untold`` is called once where the log takes no lines.
    """
    stay = []
    told = LOG_SOCKET.exists()  # else no server runs here, and so no log
    for message in found:
        held = queue.delete(message)
        if held is False:
            stay.append(message)
        elif held and told:
            told = log.tell("notice", f"queue: deleted {described(message, printable)}", patience=1.0)
            if not told:
                untold()
    return stay


def described(message: QueuedMessage, show: Callable[[object], str]) -> str:
    """A message in a line, made safe by ``show``."""
    recipients = ", ".join(message.recipients[:20])
    more = f" and {len(message.recipients) - 20} more" if len(message.recipients) > 20 else ""
    return show(f"{message.queue_id} from <{message.sender or ''}> to {recipients or 'unknown recipients'}{more}")
