"""From log lines to events. No I/O and no clock: the time is the lines' own.

A line of sendmail's tells of one moment and knows little else; the ledger remembers the last messages, so that the
event of a delivery carries the sender and the Message-ID that the line of its acceptance gave.
"""

from collections import OrderedDict
from collections.abc import Callable
from re import Match, Pattern
from typing import Any, ClassVar

from postroad.events import lines, model, own, redirections, relays, sessions
from postroad.events.ledger import Ledger, LoggedMessage, origin, raw
from postroad.events.model import Event
from postroad.events.pieces import UNFINISHED, Pieces
from postroad.events.sessions import Found
from postroad.events.syslog import LogLine

# what refuses the client's command at hand; any other ruleset that rejects speaks of the message's content
_OF_COMMANDS = frozenset(
    ("check_relay", "check_mail", "check_rcpt", "check_data", "check_vrfy", "check_expn", "check_etrn", "tls_client")
)
# what speaks of the server that sendmail delivers to: a to= line follows
_OF_DELIVERIES = frozenset({"tls_server", "tls_rcpt", "try_tls", "check_compat", "authinfo"})

# what sendmail answers while the milter can't be reached (F= of INPUT_MAIL_FILTER: R, T, 4)
_MILTER_ABSENT = {
    "rejecting commands": {"reply": "550 5.0.0 Command rejected", "dsn": "5.0.0"},
    "temp failing commands": {"reply": "451 4.3.2 Please try again later", "dsn": "4.3.2"},
    "closing connection": {"reply": "421 4.7.0 closing connection", "dsn": "4.7.0"},
}

_Result = list[Event] | None  # None: no event of its own, so the line passes as it is
_Method = Callable[["Parser", str, Found], _Result]


class Parser:
    """Turns lines into events, in order. Whoever feeds it also calls ``expire`` at ``deadline``."""

    def __init__(self, *, message_size: int | None = None, redirect_to: str = "") -> None:
        """Begin without memory; the settings may be changed at any time.

        Args:
            message_size: sendmail's MaxMessageSize in bytes, if any: a client that announces more is refused without a
                line that says so.
            redirect_to: the mailbox that all mail goes to, if there is one. The signer says so of clients' mail, and is
                not shown the bounces.
        """
        self.message_size, self.redirect_to = message_size, redirect_to
        self._pieces = Pieces()
        self._ledger = Ledger()
        self._relays = relays.Relays()
        # lists of recipients that broke off inside of an address; None: it can't be told where
        self._lists: OrderedDict[tuple[int | None, str], tuple[str, LogLine] | None] = OrderedDict()

    @property
    def deadline(self) -> float | None:
        """When ``expire`` has something to say, in seconds since the epoch, should no line come before."""
        return self._ledger.deadline

    def feed(self, line: LogLine) -> list[Event]:
        """The events that this line brings about, after those that are settled by its time. Never raises."""
        events = self._ledger.expire(line.time)
        if line.program == "sendmail":
            for whole in self._pieces.feed(line):
                events += self._sendmail(whole)
        elif line.program == "signer":
            events += self._signer(line)
        elif line.program == "uplink":
            events += [] if self._relays.learn(line.text) else [raw(line)]
        elif line.program == "postroad":  # our own, from a process beside the supervisor
            events.append(own.read(line))
            self._learn(events[-1])
        else:
            events.append(raw(line))
        return events + self._ledger.forget()

    def expire(self, now: float) -> list[Event]:
        """The events that are settled by ``now`` (seconds since the epoch) without another line."""
        return self._ledger.expire(now)

    def flush(self) -> list[Event]:
        """All that is held back, when no more lines come."""
        events: list[Event] = []
        for whole in self._pieces.flush():
            events += self._sendmail(whole)
        events += [raw(held[1]) for held in self._lists.values() if held]
        self._lists.clear()
        return events + self._ledger.forget(keep=0)

    def _learn(self, event: Event) -> None:
        """A message from another relay: sendmail's lines about it will not say whose it is."""
        if isinstance(event, model.TakenOver) and event.queue_id:
            message = self._ledger.message(event.queue_id)
            message.accepted = True
            message.received = {"message_id": event.message_id, "sender": event.sender}

    def _signer(self, line: LogLine) -> list[Event]:
        if match := lines.DKIM_SIGNED.fullmatch(line.text):
            about = self._ledger.message(match["id"]).about() | origin(line)
            return [model.Signed(**about, queue_id=match["id"], domain=match["domain"], selector=match["selector"])]
        if found := redirections.read(line.text):
            queue_id, pairs = found
            about = self._ledger.message(queue_id).about() | origin(line) | {"queue_id": queue_id}
            return [model.Redirected(**about, recipient=each, redirected_to=target) for each, target in pairs.items()]
        return [raw(line)]

    def _sendmail(self, line: LogLine) -> list[Event]:
        queue_id, text = lines.split_queue_id(lines.unescape(line.text))
        events: _Result = None
        if text.startswith("ruleset="):
            events = self._ruleset(line, queue_id, text)
        elif queue_id is not None and text.startswith("to="):
            events = self._to(line, queue_id, text)
        elif queue_id is not None and text.startswith("from="):
            events = self._from(line, queue_id, text)
        elif queue_id is not None:
            for pattern, method in self._OF_MESSAGES:
                if match := pattern.fullmatch(text):
                    events = method(self, queue_id, Found(line, queue_id, match)) if method else []
                    break
        return [sessions.read(line, queue_id, text) or raw(line)] if events is None else events

    def _from(self, line: LogLine, queue_id: str, text: str) -> _Result:
        sender, match = lines.sender(text)
        if match is None:
            return None
        size, recipients = int(match["size"]), int(match["recipients"])
        message = self._ledger.message(queue_id)
        message.received = Found(line, queue_id, match).client | {
            "message_id": match["message_id"],
            "sender": sender,
            "protocol": match["protocol"],
            "listener": match["listener"],
            "size": size,
            "recipients": recipients,
        }
        held = self._ledger.release(queue_id)
        came_to = self._came_to(line, queue_id, message)
        return came_to if came_to is None and not held else held + (came_to or [])

    def _came_to(self, line: LogLine, queue_id: str, message: LoggedMessage) -> _Result:
        """What a ``from=`` line says of the transaction itself."""
        size, recipients = message.received["size"], message.received["recipients"]
        if message.refusal is not None:
            return []
        if recipients and message.received["message_id"] is not None:
            message.line = line
            return []
        # the transaction came to nothing
        if message.explained:
            return []
        if self.message_size is not None and size > self.message_size and not recipients:
            reply = f"552 5.2.3 Message size exceeds fixed maximum message size ({self.message_size})"
            return [self._ledger.rejected(line, queue_id, {"reply": reply, "dsn": "5.2.3", "size": size})]
        return None

    def _to(self, line: LogLine, queue_id: str, text: str) -> _Result:
        key = (line.pid, queue_id)
        if key in self._lists and self._lists[key] is None:
            return None
        held = self._lists.pop(key, None)
        text = (held[0] if held else "") + text.removeprefix("to=")
        found = lines.addresses(text)
        broken = text.find(lines.BROKEN_LIST)
        # past such a mark an open quote may have been closed by what the receiving server said
        if found is None or 0 <= broken < found[1] - len(", "):
            return self._broken_list(line, key, text, certain=found is None and text.count(lines.BROKEN_LIST) == 1)
        recipients: list[str | None] = [lines.mailbox(address) for address in found[0]]
        match = lines.TO.fullmatch(text[found[1] :].removeprefix(lines.MORE))
        if match is None:
            return None
        message = self._ledger.message(queue_id)
        if match["mailer"] is None and not message.accepted:  # nothing was tried: the message itself is refused
            return self._ledger.refused(line, queue_id, recipients, match["status"])
        outcome = _outcome(match)
        if outcome is None:
            return None
        kind, fields = outcome
        host, address = self._relays.of(line.pid, fields["relay_host"], fields["relay_address"])
        fields |= {"relay_host": host, "relay_address": address}
        if message.objection and (kind is model.Deferred or fields.get("status") == lines.LOCAL_ERROR):
            # what the line has itself is left from before, or says nothing
            fields |= {"status": message.objection, "dsn": lines.reply_dsn(message.objection) or fields["dsn"]}
        message.objection = None
        for name in ("reply", "status"):
            fields[name] = relays.plain(fields[name]) if fields.get(name) else None
        fields |= origin(line) | message.about() | {"queue_id": queue_id}
        events = self._ledger.accept(message.whole or queue_id, line.time)
        events += self._redirected_bounce(line, queue_id, recipients)
        for recipient in recipients or [None]:
            if recipient is not None:
                (self._ledger.wait if kind is model.Deferred else self._ledger.end_wait)(message, recipient)
            events.append(kind(**fields | _out_of_reach(fields, recipient), recipient=recipient))
        return events

    def _redirected_bounce(self, line: LogLine, queue_id: str, recipients: list[str | None]) -> list[Event]:
        """Where a bounce of sendmail's goes instead, before the first of what becomes of it."""
        message = self._ledger.message(queue_id)
        if message.redirected is not False or not self.redirect_to:
            return []
        message.redirected = True
        about = origin(line) | message.about() | {"queue_id": queue_id, "redirected_to": self.redirect_to}
        return [model.Redirected(**about, recipient=each) for each in recipients if each is not None]

    def _broken_list(self, line: LogLine, key: tuple[int | None, str], text: str, *, certain: bool) -> _Result:
        """Hold a list of recipients that sendmail broke at a quoted comma: the address goes on in the next line.

        Where it can't be told for ``certain`` where it broke, nothing that this delivery logs is believed any more.
        """
        events: list[Event] = []
        if certain:
            self._lists[key] = text.partition(lines.BROKEN_LIST)[0] + ",", line
        else:
            self._lists[key] = None
            events.append(raw(line))
        if len(self._lists) > UNFINISHED and (oldest := self._lists.popitem(last=False)[1]):
            events.append(raw(oldest[1]))
        return events

    def _ruleset(self, line: LogLine, queue_id: str | None, text: str) -> _Result:
        found = lines.rejection(text, _OF_COMMANDS)
        if found is not None and queue_id is not None and found.ruleset == "tls_rcpt":
            # the to= line of the recipient follows, and has no reason
            self._ledger.message(queue_id).objection = found.reply
            return []
        if found is None or found.ruleset in _OF_DELIVERIES:
            return None
        fields: dict[str, Any] = {"reply": found.reply, "dsn": lines.reply_dsn(found.reply), "ruleset": found.ruleset}
        name, address = lines.peer(found.peer)
        if address is not None:
            fields |= {"client_name": name, "client_address": address}
        if queue_id is not None and found.ruleset not in _OF_COMMANDS:
            self._ledger.refuse(line, queue_id, fields)
            return []
        if found.ruleset in {"check_mail", "check_rcpt"}:
            fields["sender" if found.ruleset == "check_mail" else "recipient"] = lines.mailbox(found.argument)
        return self._refused_command(line, queue_id, fields)

    def _refused_command(self, line: LogLine, queue_id: str | None, fields: dict[str, Any]) -> _Result:
        """MAIL or RCPT is refused; the events, of which a recipient's may come later."""
        if queue_id is None or "recipient" not in fields:
            return [self._ledger.rejected(line, queue_id, fields)]
        self._ledger.hold(line, queue_id, fields)
        return []

    def _milter_refused_address(self, queue_id: str, found: Found) -> _Result:
        rest = found.match["rest"]
        read = lines.addresses(rest)
        if read is None or len(read[0]) != 1 or not rest.startswith("reject=", read[1]):
            return None
        reply = rest[read[1] + len("reject=") :]
        field = "recipient" if found.match["field"] == "to" else "sender"
        fields = {field: lines.mailbox(read[0][0]), "reply": reply, "dsn": lines.reply_dsn(reply)}
        return self._refused_command(found.line, queue_id, fields)

    def _milter_refused(self, queue_id: str, found: Found) -> _Result:
        reply = found.match["reply"]
        self._ledger.refuse(found.line, queue_id, {"reply": reply, "dsn": lines.reply_dsn(reply)})
        return []

    def _milter_accepted(self, queue_id: str, found: Found) -> _Result:
        if self._ledger.message(queue_id).line is not None:
            self._ledger.looks_accepted(queue_id, found.line.time)
        return []

    def _milter_absent(self, queue_id: str, found: Found) -> _Result:
        return [self._ledger.rejected(found.line, queue_id, _MILTER_ABSENT[found.match["then"]])]

    def _too_big(self, queue_id: str, found: Found) -> _Result:
        reply = f"552 5.2.3 Message exceeds maximum fixed size ({found.match['limit']})"
        self._ledger.refuse(found.line, queue_id, {"reply": reply, "dsn": "5.2.3", "size": int(found.match["size"])})
        return []

    def _too_many(self, queue_id: str, found: Found) -> _Result:
        fields = {"reply": "452 4.5.3 Too many recipients", "dsn": "4.5.3"}
        return [self._ledger.rejected(found.line, queue_id, fields)]

    def _user_error(self, queue_id: str, found: Found) -> _Result:
        if found.line.level != "notice":
            return None
        if (mailbox := lines.NO_MAILBOX.match(found.match[0])) is None:
            return [self._ledger.rejected(found.line, queue_id, {"reply": found.match[0]})]
        # the rule that says so is no check_rcpt: its line has neither the address nor the code
        fields = {
            "recipient": lines.mailbox(mailbox["address"]),
            "dsn": "5.1.1",
            "reply": f"550 5.1.1 {found.match[0]}",
        }
        return self._refused_command(found.line, queue_id, fields)

    def _lost(self, queue_id: str, found: Found) -> _Result:
        return self._disconnected(queue_id, found, {"status": f"{found.match['status']} {found.match['stage']}"})

    def _collect(self, queue_id: str, found: Found) -> _Result:
        read = lines.addresses(found.match["rest"])
        if read is None:
            return None
        sender = ",".join(lines.mailbox(address) for address in read[0])
        status = found.match["rest"][read[1] :].removeprefix("info=")
        if bare := lines.BARE.fullmatch(status):
            fields = found.client | {"sender": sender, "reply": f"550 5.6.0 {bare['what']}", "dsn": "5.6.0"}
            return [self._ledger.rejected(found.line, queue_id, fields)]
        return self._disconnected(queue_id, found, {"sender": sender, "status": status})

    def _disconnected(self, queue_id: str, found: Found, fields: dict[str, Any]) -> _Result:
        message = self._ledger.message(queue_id)
        message.explained = True
        fields = origin(found.line) | found.client | message.about() | fields
        return [model.Disconnected(**fields, queue_id=queue_id)]

    def _syserr(self, queue_id: str, found: Found) -> _Result:
        if loop := lines.LOOP.fullmatch(found.match[0]):
            self._ledger.message(queue_id).objection = (
                f"MX list for {loop['domain']} points back to this server: its DNS is wrong"
                if loop["domain"]
                else f"mail loops back: {loop['host']} is this server's own address, or 127.0.0.1: its DNS is wrong"
            )
        line = self._ledger.message(queue_id).line
        if line is not None and line.pid == found.line.pid:
            self._ledger.doubt(queue_id)
        return None

    def _split(self, queue_id: str, found: Found) -> _Result:
        received = self._ledger.message(queue_id).received
        for part_id in found.match["ids"].split("; "):
            part = self._ledger.message(part_id)
            part.received, part.accepted, part.whole = received, True, queue_id
        return []

    def _notified(self, queue_id: str, found: Found) -> _Result:
        message, match = self._ledger.message(queue_id), found.match
        about = origin(found.line) | message.about() | {"queue_id": queue_id, "status": match["status"]}
        events: list[Event] = []
        if lines.EXPIRED.fullmatch(match["status"]):  # no to= line says that it is over
            recipients: list[str | None] = [*message.waiting]
            for recipient in recipients or [None]:
                events.append(model.Bounced(**about, recipient=recipient, dsn="4.4.7"))
                if recipient is not None:
                    self._ledger.end_wait(message, recipient)
        notification = self._ledger.message(match["id"])
        notification.received, notification.accepted, notification.redirected = {"sender": ""}, True, False
        return [*events, model.Notified(**about, notification=match["what"], notification_id=match["id"])]

    _OF_MESSAGES: ClassVar[tuple[tuple[Pattern[str], _Method | None], ...]] = (
        (lines.MILTER_CHATTER, None),
        (lines.MILTER_ACCEPTED, _milter_accepted),
        (lines.MILTER_REFUSED, _milter_refused),
        (lines.MILTER_REFUSED_ADDRESS, _milter_refused_address),
        (lines.MILTER_ABSENT, _milter_absent),
        (lines.NOTIFIED, _notified),
        (lines.TOO_BIG, _too_big),
        (lines.TOO_MANY, _too_many),
        (lines.LOST, _lost),
        (lines.TIMEOUT, _lost),
        (lines.COLLECT, _collect),
        (lines.PREMATURE_END, None),
        (lines.SYSERR, _syserr),
        (lines.SPLIT, _split),
        (lines.USER_ERROR, _user_error),
    )


def _out_of_reach(fields: dict[str, Any], recipient: str | None) -> dict[str, str]:
    """The status of a domain whose MX host has no address, or none that can be had or reached; else nothing."""
    status = fields.get("status") or ""
    if failed := lines.LOOKUP_FAILED.fullmatch(status):
        return {"status": f"{status}: {lines.IPV6_ONLY.format(host=failed['host'])}"}
    found = lines.NO_ADDRESS.fullmatch(status)
    domain = (recipient or "").rpartition("@")[2].lower()
    by_mx = not (fields["mailer"] or "").startswith(("smarthost", "route"))
    if found is None or not by_mx or not domain or found["host"].lower() == domain:
        return {}
    return {"status": lines.NO_RECORD.format(host=found["host"], domain=domain)}


def _outcome(match: Match[str]) -> tuple[type[model.RecipientEvent], dict[str, Any]] | None:
    """What a ``to=`` line says became of its recipients: the kind of event, and the fields that the line has."""
    dsn: str | None = match["dsn"]
    reply, status = lines.reply_and_status(match["reply"], match["status"], dsn)
    if reply and dsn and reply[0] in "45" and reply[0] != dsn[0] and lines.reply_dsn(reply) != dsn:
        reply = None  # that of an earlier recipient: sendmail mixes them up when the connection breaks
    host, address = lines.peer(match["peer"])
    fields: dict[str, Any] = {
        "mailer": match["mailer"],
        "relay_host": host,
        "relay_address": address,
        "dsn": dsn,
        "delay": lines.seconds(match["delay"]),
        "attempt_delay": lines.seconds(match["attempt_delay"]),
    }
    if status == "Sent" or status.startswith("Sent ("):
        return model.Delivered, fields | {"reply": status[len("Sent (") :].removesuffix(")") or None}
    if status == "queued":
        return model.Queued, fields
    if status.startswith("Deferred"):
        why: str | None = status.removeprefix("Deferred").removeprefix(": ")
        if not why and not reply and dsn == "4.4.2" and host:  # sendmail has no words for it after DATA
            why = lines.CUT.format(host=host)
        return model.Deferred, fields | {"reply": reply, "status": None if why in {reply, ""} else why}
    if status in {"quarantined", "discarded"}:
        return None
    kind = model.Deferred if status in lines.TEMPORARY else model.Bounced
    return kind, fields | {"reply": reply, "status": status}
