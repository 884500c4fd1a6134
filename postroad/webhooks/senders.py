"""The threads that post events to webhooks, one per webhook, so that none waits for another's receiver.

They run in the recorder; what is not posted when it ends stays in the outbox. Of the relays that share a database, one
at a time posts for a webhook.
"""

import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from postroad.runtime.log import Tell
from postroad.runtime.recording import Hook
from postroad.store import leases
from postroad.store.leases import Lease
from postroad.text import counted
from postroad.webhooks import outbox
from postroad.webhooks.outbox import OutboxEvent
from postroad.webhooks.post import CONNECTIONS, Receiver, ReceiverAnswer

POLL = 5.0
"""Seconds between two checks for due entries; new events are posted at once."""
LONGEST_ATTEMPT = 30.0
"""Seconds after which an attempt is aborted, whatever the receiver does."""
LONGEST_PAUSE = 60.0
"""The most seconds between two attempts at a receiver that accepts nothing, unless it asks for more."""
LEASE = LONGEST_ATTEMPT + 5.0
"""Seconds that the webhook's lease must still last when a post begins."""
GONE = 410


class Sender:
    """Posts the due entries of one webhook, several at a time."""

    def __init__(self, engine: Engine, hook: Hook, source: str, tell: Tell, relay: int = 1) -> None:
        """Prepare to post from this store; ``tell`` logs: it gets a level and a message.

        ``relay`` is the number of the relay's journal, under which it holds the webhook's lease.
        """
        self._engine = engine
        self._name = hook.name
        self._patience = hook.give_up_after
        self._receiver = Receiver(hook, source)
        self._tell = tell
        self._lease = Lease(engine, f"webhook {hook.name}", relay)
        self._ending, self._ended = threading.Event(), threading.Event()
        self._new = threading.Event()
        self._open: list[tuple[OutboxEvent, ReceiverAnswer]] = []  # posted, but not yet recorded in the store
        self._failures = 0  # consecutive rounds in which nothing was accepted
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix=f"webhook-{self._name}")

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=f"webhook-{self._name}", daemon=True).start()

    def wake(self) -> None:
        """Tell the thread that there are new events."""
        self._new.set()

    def end(self) -> None:
        """Finish the posts under way, start no more, and release the webhook to other relays."""
        self._ending.set()
        self._new.set()

    def wait(self, seconds: float) -> None:
        """Wait for the end of the thread, at most this long."""
        self._ended.wait(seconds)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._new.clear()
            try:
                pause = self.round()
            except SQLAlchemyError:  # the recorder reports it
                pause = POLL
            except Exception:  # noqa: BLE001 - a bug here must not end the thread
                traceback.print_exc()
                pause = LONGEST_PAUSE
            if self._failures:
                self._rest(pause)
            elif pause and not self._ending.is_set():
                self._new.wait(pause)
        with suppress(SQLAlchemyError):
            self._settle()
            self._lease.release()
        self._ended.set()

    def _rest(self, seconds: float) -> None:
        """Pause for this long, but keep the lease: without it another relay would post at once."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._ending.wait(min(left, leases.RENEWED)):
            with suppress(SQLAlchemyError):
                self._lease.held(0.0)

    def round(self) -> float:
        """Post some due entries; return the seconds until the next round.

        Raises:
            SQLAlchemyError: the store can't be read or written.
        """
        self._settle()
        if not self._lease.held(LEASE):
            self._failures = 0
            return POLL
        entries = outbox.due(self._engine, self._name, 1 if self._failures else CONNECTIONS)
        if not entries:
            return outbox.until_due(self._engine, self._name, POLL)
        waiting = {self._pool.submit(self._receiver.post, each.uid, each.time, each.event): each for each in entries}
        late = wait(waiting, LONGEST_ATTEMPT).not_done
        while late:
            self._receiver.abort()
            late = wait(late, 1).not_done  # a post may have started again on a new connection
        answers = [(entry, future.result()) for future, entry in waiting.items()]
        self._open = list(answers)
        self._settle()
        return self._judge([answer for _, answer in answers])

    def _settle(self) -> None:
        """Record the outcome of the posts. Nothing is posted before that succeeds, or events would be posted twice."""
        while self._open:
            self._note(*self._open[-1])
            self._open.pop()

    def _note(self, entry: OutboxEvent, answer: ReceiverAnswer) -> None:
        if answer.taken:
            outbox.delivered(self._engine, entry)
            return
        patience = 0.0 if answer.status == GONE else self._patience  # the receiver wants no more events
        if outbox.failed(self._engine, entry, answer.error, patience, answer.retry_after):
            self._report_dead(1, answer.error)

    def _judge(self, answers: Sequence[ReceiverAnswer]) -> float:
        errors = [answer for answer in answers if not answer.taken]
        if len(errors) < len(answers):
            if self._failures:
                self._tell("info", f"webhook {self._name} accepts events again")
            self._failures = 0
            return 0.0
        if not self._failures:
            self._tell("err", f"webhook {self._name} accepts no events, they wait in the outbox: {errors[0].error}")
        self._failures += 1
        if gone := outbox.give_up(self._engine, self._name, self._patience, errors[0].error):
            self._report_dead(gone, errors[0].error)
        asked = max((answer.retry_after or 0.0 for answer in errors), default=0.0)
        return min(outbox.LONGEST_DELAY, max(asked, min(LONGEST_PAUSE, outbox.delay(self._failures))))

    def _report_dead(self, number: int, error: str) -> None:
        events = counted(number, "event is a dead letter", "events are dead letters")
        self._tell("err", f"{events} of webhook {self._name}, `postroad webhook replay` posts again: {error}")


def start(engine: Engine, hooks: Sequence[Hook], source: str, tell: Tell, relay: int = 1) -> list[Sender]:
    """Start a sender for each of these webhooks."""
    found = [Sender(engine, hook, source, tell, relay) for hook in hooks]
    for sender in found:
        sender.start()
    return found


def end(senders: Sequence[Sender], seconds: float) -> None:
    """End all senders, and wait for them at most this long."""
    deadline = time.monotonic() + seconds
    for sender in senders:
        sender.end()
    for sender in senders:
        sender.wait(deadline - time.monotonic())
