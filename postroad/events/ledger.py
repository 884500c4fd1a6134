"""What is remembered of messages between their lines, within bounds, and when it is settled what became of them.

When a message counts as accepted: ``from=`` is logged before the header checks, the size check and the milter have
had their say, and for transactions that the client breaks off, too. No line at a sensible log level says "250". What
there is: ``Milter accept: message``, what the signer said at the end of the message (MilterLogLevel 10). A refusal of
sendmail's own follows within the same millisecond, as ``to=`` lines without a mailer or as an error of the same
process. So acceptance settles for SETTLE seconds, or until a delivery or queueing proves it.
"""

from collections import OrderedDict
from typing import Any

from postroad.events import lines, model
from postroad.events.model import Event
from postroad.events.syslog import LogLine

SETTLE = 0.2
"""Seconds without a refusal after which a message that looks accepted is."""

REMEMBERED = 10_000
"""Messages."""

WAITING = 50_000
"""Recipients, of all messages together, that were deferred and may yet expire."""


class LoggedMessage:
    """What is remembered of one queue id."""

    __slots__ = (
        *(
            "accepted",
            "explained",
            "held",
            "line",
            "looks_accepted",
            "objection",
            "received",
            "redirected",
            "refusal",
            "told",
        ),
        *("waiting", "whole"),
    )

    def __init__(self) -> None:
        """Begin to remember."""
        self.received: dict[str, Any] = {}  # the fields of its from= line, as in Accepted
        self.held: list[tuple[LogLine, dict[str, Any]]] = []  # recipients that were refused before that line
        self.line: LogLine | None = None  # that line, until it is known what became of the message
        self.looks_accepted: float | None = None  # since when
        self.accepted = False
        self.refusal: tuple[LogLine, dict[str, Any]] | None = None  # of its content: the fields of Rejected
        self.told = False  # that was
        self.explained = False  # an event has told why it comes to nothing
        self.waiting: dict[str, None] = {}  # recipients of failed attempts
        self.objection: str | None = None  # to the server's TLS, that the next to= line won't tell
        self.whole: str | None = None  # the queue id of the message that it was split off
        self.redirected: bool | None = None  # of a bounce of sendmail's: whether it was said where it goes

    def about(self) -> dict[str, Any]:
        """The fields that every event of the message has."""
        return {"message_id": self.received.get("message_id"), "sender": self.received.get("sender")}


class Ledger:
    """The last messages by queue id; the longest unused one is forgotten first."""

    def __init__(self) -> None:
        """Begin without any."""
        self._messages: OrderedDict[str, LoggedMessage] = OrderedDict()
        self._due: dict[str, float] = {}  # queue id: when it is settled what became of the message; soonest first
        self._waiting = 0

    @property
    def deadline(self) -> float | None:
        """When ``expire`` has something to say, in seconds since the epoch."""
        return next(iter(self._due.values()), None)

    def message(self, queue_id: str) -> LoggedMessage:
        """The message of that id, from now on if there was none."""
        message = self._messages.get(queue_id)
        if message is None:
            message = self._messages[queue_id] = LoggedMessage()
        else:
            self._messages.move_to_end(queue_id)
        return message

    def expire(self, now: float) -> list[Event]:
        """The events that are settled by ``now``, in seconds since the epoch."""
        events: list[Event] = []
        for queue_id, due in list(self._due.items()):
            if now < due <= now + SETTLE:  # a clock that was set back makes nothing wait
                break
            events += self._settle(queue_id)
        return events

    def forget(self, keep: int = REMEMBERED) -> list[Event]:
        """Forget the messages above that number; the events are what was held back of them."""
        events: list[Event] = []
        while len(self._messages) > keep:
            queue_id = next(iter(self._messages))
            events += self._settle(queue_id)
            message = self._messages.pop(queue_id)
            self._waiting -= len(message.waiting)
            if message.line:
                events.append(raw(message.line))
        return events

    def hold(self, line: LogLine, queue_id: str, fields: dict[str, Any]) -> None:
        """A recipient is refused; the ``from=`` line, which says whose message it is, follows in most cases at once."""
        message = self.message(queue_id)
        message.explained = True
        message.held.append((line, fields))
        self._settle_later(queue_id, line.time)

    def release(self, queue_id: str) -> list[Event]:
        """The events of the recipients that were refused, with what is known of the message now."""
        message = self.message(queue_id)
        held, message.held = message.held, []
        return [self.rejected(line, queue_id, fields) for line, fields in held]

    def looks_accepted(self, queue_id: str, now: float) -> None:
        """The milter says that it is; it will be, unless it is refused."""
        self.message(queue_id).looks_accepted = now
        self._settle_later(queue_id, now)

    def doubt(self, queue_id: str) -> None:
        """Something went wrong while it was accepted: only a delivery or queueing proves now that it was."""
        self.message(queue_id).looks_accepted = None
        self._due.pop(queue_id, None)

    def accept(self, queue_id: str, now: float) -> list[Event]:
        """It is accepted: the event, if that is news."""
        message = self.message(queue_id)
        self._due.pop(queue_id, None)
        line, message.line, message.accepted = message.line, None, True
        if line is None:
            return []
        fields = origin(line) | message.received | {"queue_id": queue_id, "time": message.looks_accepted or now}
        return [model.Accepted(**fields)]

    def refuse(self, line: LogLine, queue_id: str, fields: dict[str, Any]) -> None:
        """Its content is refused, why is in the fields of Rejected; the recipients should follow (``refused``)."""
        message = self.message(queue_id)
        if message.refusal is None and not message.accepted:
            message.refusal = line, fields
            self._settle_later(queue_id, line.time)

    def refused(self, line: LogLine, queue_id: str, recipients: list[str | None], status: str | None) -> list[Event]:
        """Its content is refused for these recipients; ``status`` is why, where ``refuse`` did not say."""
        self._due.pop(queue_id, None)
        message = self.message(queue_id)
        message.line, message.told = None, True
        fields = message.refusal[1] if message.refusal else {"reply": status}
        return [self.rejected(line, queue_id, fields | {"recipient": recipient}) for recipient in recipients or [None]]

    def rejected(self, line: LogLine, queue_id: str | None, fields: dict[str, Any]) -> Event:
        """The event of a refusal, with what is known of the message."""
        known: dict[str, Any] = {}
        if queue_id is not None:
            message = self.message(queue_id)
            message.explained = True
            known = {name: message.received.get(name) for name in ("client_name", "client_address")} | message.about()
        return model.Rejected(**(origin(line) | known | fields), queue_id=queue_id)

    def wait(self, message: LoggedMessage, recipient: str) -> None:
        """Remember that a delivery to the recipient was deferred, if there is room."""
        if self._waiting < WAITING and recipient not in message.waiting:
            message.waiting[recipient] = None
            self._waiting += 1

    def end_wait(self, message: LoggedMessage, recipient: str) -> None:
        """Nothing more is to be delivered to the recipient."""
        if recipient in message.waiting:
            del message.waiting[recipient]
            self._waiting -= 1

    def _settle_later(self, queue_id: str, now: float) -> None:
        self._due.pop(queue_id, None)  # the order of the dictionary is that of the times
        self._due[queue_id] = now + SETTLE

    def _settle(self, queue_id: str) -> list[Event]:
        self._due.pop(queue_id, None)
        message, held = self.message(queue_id), self.release(queue_id)
        if message.refusal is not None and not message.told:
            return held + self.refused(message.refusal[0], queue_id, [], None)
        return held if message.looks_accepted is None else held + self.accept(queue_id, message.looks_accepted)


def origin(line: LogLine) -> dict[str, Any]:
    """The fields of an event that say when it was and who said so."""
    return {"time": line.time, "program": line.program, "pid": line.pid}


def raw(line: LogLine) -> model.Raw:
    """The line as it is."""
    queue_id, message = lines.split_queue_id(line.text)
    return model.Raw(**origin(line), level=line.level, queue_id=queue_id, message=message)
