"""The console's queue: what waits and why, what is under way, and trying, deleting and ending it."""

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.routing import Route

from postroad.commands import attempts, queue
from postroad.commands.queue import Flush
from postroad.config.values import format_duration
from postroad.errors import PostroadError
from postroad.runtime import acceptance, slowed
from postroad.runtime.attempts import Attempt
from postroad.runtime.paths import RECEIVERS
from postroad.runtime.slowed import SlowedReceiver
from postroad.runtime.web import Settings
from postroad.sendmail.queue import QueuedMessage
from postroad.web.console_forms import Fields
from postroad.web.desk import Desk, NothingThereError, Visit
from postroad.web.words import Own

ROWS = 500
"""Messages that the page shows."""
DESCRIBED = 10
"""Messages that a confirmation names."""
LOOK = 0.5
"""Seconds between two looks at a run over the queue."""
ACTS = ("flush", "delete", "abort")
LARGEST = 64 * 1024
"""Octets of a form with the ids of messages."""


class Queue:
    """The pages."""

    def __init__(self, settings: Settings) -> None:
        """With the intervals and routes of these settings."""
        self._retry = timedelta(seconds=settings.retry)
        self._reasons = dict(settings.waiting_reasons)
        self._lock = threading.Lock()
        self._flush: Flush | None = None

    # --- what is shown

    def list(self, visit: Visit) -> Mapping[str, Any]:
        """What waits, the longest first; and what is under way, by receiver."""
        domain, sender = visit.query.one("domain"), visit.query.one("sender")
        found = queue.chosen(domain=domain or None, sender=sender or None)
        messages = list(queue.with_reasons(itertools.islice(found, ROWS)))
        more = sum(1 for _ in found)
        now = time.time()
        reasons = queue.waiting_reasons(self._reasons)
        messages.sort(key=lambda each: each.arrived or 0)
        return {
            "asked": {"domain": domain, "sender": sender},
            "messages": [self._row(visit, message, now, reasons) for message in messages],
            "more": more,
            "hosts": _by_host(attempts.under_way(), now),
            "slowed": [_slowed(visit, each, now) for each in slowed.read(RECEIVERS)],
            "accepting": acceptance.accepting(),
            "running": self._progress(),
        }

    def _row(self, visit: Visit, message: QueuedMessage, now: float, reasons: Mapping[str, str]) -> dict[str, Any]:
        fields = queue.as_dict(message, self._retry, now, reasons)
        first = message.recipients[0] if message.recipients else None
        seen = visit.seen({"sender": message.sender, "recipient": first, "status": fields["reason"] or ""})
        then = queue.next_try(message, self._retry, now, reasons)
        return {
            "id": Own(message.queue_id),
            "age": "?" if fields["age"] is None else _short(fields["age"]),
            "sender": "?" if message.sender is None else seen["sender"] or "<>",
            "recipients": [visit.seen({"recipient": each})["recipient"] for each in message.recipients[:5]],
            "others": max(0, len(message.recipients) - 5),
            "attempts": message.attempts,
            "active": message.active,
            "runs": message.runs,
            "next": None if then is None else "" if then <= now else _short(then - now),
            "reason": seen["status"],
            "note": message.note,
        }

    def _progress(self) -> tuple[int, int] | None:
        """How many have left the queue by the run that is under way, and of how many; None: there is none."""
        with self._lock:
            if self._flush is None:
                return None
            return len(self._flush.wanted) - len(self._flush.left()), len(self._flush.wanted)

    def confirm(self, visit: Visit) -> Mapping[str, Any]:
        """What will happen."""
        act = visit.query.one("do")
        if act not in ACTS:
            raise NothingThereError
        ids, domain, host = visit.query.all("id"), visit.query.one("domain"), visit.query.one("host")
        facts: dict[str, Any] = {"act": act, "ids": ids, "domain": domain, "host": host, "described": []}
        if act == "abort":
            under_way = _chosen_attempts(ids, host)
            facts |= {"number": len(under_way), "described": [_attempt(each) for each in under_way[:DESCRIBED]]}
        elif act == "flush":
            # by one id, by a domain, or all
            found = list(queue.chosen(ids=set(ids[:1]) or None, domain=domain or None))
            facts |= {"number": sum(message.runs for message in found), "ids": ids[:1]}
        else:
            found = list(queue.chosen(ids=set(ids)))
            facts |= {
                "number": len(found),
                "ids": [message.queue_id for message in found],
                "described": [queue.described(message, str) for message in found[:DESCRIBED]],
            }
        return facts

    # --- what is done

    def flush(self, visit: Visit, form: Fields) -> str:
        """Try messages now."""
        ids, domain = form.all("id"), form.one("domain")
        with self._lock:
            if self._flush is not None:
                raise PostroadError(visit.words["flush_under_way"])
            begun = Flush(domain=domain or None, queue_id=ids[0] if ids else None)
            if not begun.wanted:
                raise PostroadError(visit.words["queue_empty"])
            self._flush = begun
        threading.Thread(target=self._wait, args=(begun,), daemon=True, name="flush").start()
        visit.record("queue_flush", f"{len(begun.wanted)} messages{f' for {domain}' if domain else ''}")
        visit.session.tell("done", visit.words["flush_begun"].format(len(begun.wanted)))
        return "/queue"

    def _wait(self, begun: Flush) -> None:
        try:
            while not begun.ended():
                time.sleep(LOOK)
        finally:
            with self._lock:
                self._flush = None

    def delete(self, visit: Visit, form: Fields) -> str:
        """Delete messages."""
        found = list(queue.chosen(ids=set(form.all("id"))))
        untold: list[str] = []
        stay = queue.delete(found, lambda: untold.append(visit.words["log_full"]))
        gone = [message.queue_id for message in found if message not in stay]
        visit.record("queue_delete", " ".join(gone))
        visit.session.tell("done", visit.words["deleted"].format(len(gone), len(stay)))
        for text in untold:
            visit.session.tell("failed", text)
        return "/queue"

    def abort(self, visit: Visit, form: Fields) -> str:
        """End attempts."""
        found = _chosen_attempts(form.all("id"), form.one("host"))
        ended = attempts.abort(found)
        visit.record("queue_abort", "; ".join(ended))
        visit.session.tell("done", visit.words["aborted"].format(len(ended)))
        return "/queue"


def _chosen_attempts(ids: Sequence[str], host: str) -> Sequence[Attempt]:
    if not ids and not host:
        raise NothingThereError
    return [each for each in attempts.under_way(host or None) if not ids or each.queue_id in ids]


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.queue_id} {attempt.host} [{attempt.address}]: {attempts.command_of(attempt)}"


def _slowed(visit: Visit, receiver: SlowedReceiver, now: float) -> dict[str, Any]:
    """A receiver that gets less, and why."""
    paused = receiver.standing == slowed.PAUSED
    return {
        "name": receiver.name,
        "connections": None if paused else receiver.connections,
        "a_minute": None if paused or receiver.rate is None else f"{receiver.rate * 60:.3g}",
        "next": _short(max(0.0, receiver.until - now)) if paused else None,
        "waiting": receiver.waiting,
        "reason": receiver.reason,
        "reply": visit.seen({"status": receiver.reply})["status"],
    }


def _by_host(found: Sequence[Attempt], now: float) -> Sequence[Mapping[str, Any]]:
    """The attempts by receiver, the receiver with the most first."""
    hosts: dict[str, list[Attempt]] = defaultdict(list)
    for each in found:
        hosts[each.host].append(each)
    return [
        {
            "host": host,
            "number": len(own),
            "attempts": [
                {
                    "id": Own(each.queue_id),
                    "address": each.address,
                    "age": _short(now - each.since),
                    "command": attempts.command_of(each),
                    "sent": each.sent,
                }
                for each in own
            ],
        }
        for host, own in sorted(hosts.items(), key=lambda each: (-len(each[1]), each[0]))
    ]


def _short(seconds: float) -> Own:
    """A duration in its greatest unit or two."""
    whole = max(1, min(int(seconds), 10**9))
    for unit in (86400, 3600, 60):
        if whole >= 2 * unit:
            whole -= whole % (unit // 24 if unit == 86400 else unit // 60)
            break
    return Own(format_duration(timedelta(seconds=whole)))


def routes(desk: Desk) -> Sequence[Route]:
    """The paths of these pages."""
    pages = Queue(desk.settings)
    return [
        desk.show("/queue", "queue.html.j2", pages.list),
        desk.show("/queue/confirm", "confirm_queue.html.j2", pages.confirm, operators=True),
        desk.act("/queue/flush", pages.flush, "/queue"),
        desk.act("/queue/delete", pages.delete, "/queue", largest=LARGEST),
        desk.act("/queue/abort", pages.abort, "/queue"),
    ]
