"""Hands the messages of a queue to another relay, one after the other, and can be cut short at any moment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from postroad.evacuation import control, places
from postroad.evacuation.leaving import GONE, KIND, Aside, Leaving
from postroad.evacuation.taking import RefusedError
from postroad.events import own
from postroad.events.model import Evacuated
from postroad.sendmail import queue
from postroad.sendmail.queue import QueuedMessage


class Receiver(Protocol):
    """The relay that takes the messages. Its methods raise OSError where it can't be reached any more."""

    @property
    def relay(self) -> str:
        """The id of its queue."""

    @property
    def host(self) -> str:
        """Where it is reached: a name or an address, and a port."""

    @property
    def name(self) -> str:
        """What it calls itself."""

    def offer(self, token: str, group: str, octets: bytes, body: Path) -> str:
        """Hand over a message, or hear that it was taken; return what it is called there.

        Raises:
            RefusedError: it is not taken, and won't be by an earlier offer either.
        """

    def ask(self, token: str) -> str | None:
        """What a message is called there; None: it was not taken, and won't be by an earlier offer either."""

    def done(self, token: str) -> None:
        """Say that the message is deleted here, and need not be known there any more."""

    def inherit(self, token: str, name: str) -> None:
        """Have it keep what an entry of ours says."""


@dataclass(frozen=True)
class Left:
    """A message that has left.

    Attributes:
        message: as it was here.
        message_id: the value of its Message-ID.
        relay: what the relay that has it calls itself.
        queue_id: what the message is called there.
    """

    message: QueuedMessage
    message_id: str | None
    relay: str
    queue_id: str


def event(left: Left) -> str:
    """The line for the log about a message that has left."""
    fields = {
        "queue_id": left.message.queue_id,
        "message_id": left.message_id,
        "sender": left.message.sender,
        "to_relay": left.relay[:255],
        "to_queue_id": left.queue_id,
        "recipients": len(left.message.recipients),
    }
    return own.handed_over(Evacuated, fields)


@dataclass
class Result:
    """What became of the messages.

    Attributes:
        left: how many the other relay has.
        stayed: why messages stayed in the queue, by their id.
        busy: ids of messages that somebody works on.
        doubtful: messages that were offered to another relay, which alone knows whether it has them.
    """

    left: int = 0
    stayed: dict[str, str] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    doubtful: list[Aside] = field(default_factory=list)


class Evacuation:
    """One run over a queue. No other may be under way on it: ``places.alone``."""

    def __init__(self, root: Path, receiver: Receiver, tell: Callable[[Left], None]) -> None:
        """Prepare it.

        Args:
            root: the queue's folder.
            receiver: who takes the messages.
            tell: what to do with each message that has left.
        """
        self._root, self._receiver, self._tell = root, receiver, tell
        self._own = places.identity(root)
        self._leaving = Leaving(root)

    def run(self, until: Callable[[], bool]) -> Result:
        """Hand over what is there now; ``until`` says when to stop.

        Raises:
            OSError: the other relay can't be reached any more, or files can't be moved. Run it again.
        """
        result = Result()
        self.resume(result)
        self._leaving.tidy()
        for path in queue.control_files(self._root):
            if until():
                break
            self._hand_over(path, result)
        self._leaving.tidy()
        return result

    def resume(self, result: Result) -> None:
        """Finish what an earlier run began."""
        for aside in list(self._leaving.messages(GONE)):
            self._forget(aside)  # this relay may have the entry of the one that took it
        for aside in list(self._leaving.messages()):
            with queue.lock(aside.path) as held:
                if held:
                    self._resume(aside, result)

    def take_back(self, result: Result) -> None:
        """End what an earlier run began: what this relay does not have goes back into the queue."""
        for aside in list(self._leaving.messages(GONE)):
            if aside.receiver == self._receiver.relay:
                self._forget(aside)
        for aside in list(self._leaving.messages()):
            if aside.receiver != self._receiver.relay:
                continue
            with queue.lock(aside.path) as held:
                if not held:
                    continue
                if name := self._receiver.ask(places.token(self._own, aside.queue_id)):
                    self._gone(aside, name)
                    result.left += 1
                else:
                    self._leaving.put_back(aside)
        self._leaving.tidy()

    def _resume(self, aside: Aside, result: Result) -> None:
        if aside.receiver == self._receiver.relay:
            self._offer(aside, result)
        elif name := self._receiver.ask(places.token(self._own, aside.queue_id)):
            self._gone(aside, name)  # the relay that took it has left for this one since
            result.left += 1
        else:
            result.doubtful.append(aside)

    def _hand_over(self, path: Path, result: Result) -> None:
        queue_id = path.name[2:]
        if path.name.startswith(KIND):
            return  # resume() has seen to it
        with queue.lock(path) as held:
            message = None if held is None else queue.read(path)
            if message is None:
                return  # it was delivered meanwhile
            if not held:
                result.busy.add(queue_id)
            elif path.name.startswith("tf"):
                return  # what a process that died was accepting: nobody was answered 250 for it
            elif reason := self._why_not(message):
                result.stayed[queue_id] = reason
            else:
                receiver = self._receiver
                aside = self._leaving.set_aside(path, message.body, receiver.relay, receiver.host)
                self._offer(aside, result)

    def _why_not(self, message: QueuedMessage) -> str:
        """Why a message can't be handed over; empty: it can."""
        if message.note:
            return message.note
        if places.origin(places.token(self._own, message.queue_id)) is None:
            return "its name is none that sendmail gives"
        try:
            control.read(message.path.read_bytes())
        except control.ControlError as error:
            return str(error)
        return ""

    def _offer(self, aside: Aside, result: Result) -> None:
        try:
            name = self._receiver.offer(
                places.token(self._own, aside.queue_id), aside.group, aside.path.read_bytes(), aside.body
            )
        except RefusedError as error:
            self._leaving.put_back(aside)
            result.stayed[aside.queue_id] = str(error)
            return
        self._gone(aside, name)
        result.left += 1

    def _gone(self, aside: Aside, name: str) -> None:
        message = queue.read(aside.path)
        message_id = control.read(aside.path.read_bytes()).message_id
        aside = self._leaving.gone(aside)
        if message:
            self._tell(Left(message, message_id, self._receiver.name, name))
        self._forget(aside)

    def _forget(self, aside: Aside) -> None:
        self._receiver.done(places.token(self._own, aside.queue_id))
        self._leaving.forget(aside)
