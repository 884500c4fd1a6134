"""Counters that are kept with the events, each event counted once; `/metrics` and the console show them.

Labels come from closed sets and never hold an address.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, insert, update

from postroad import domains
from postroad.events.classify import RULES
from postroad.runtime import plan, refusals
from postroad.store.schema import COUNTERS

PROVIDERS = {
    "google": ("google.com", "googlemail.com"),
    "microsoft": ("outlook.com", "hotmail.com"),
    "yahoo": ("yahoodns.net",),
    "icloud": ("icloud.com", "apple.com"),
    "naver": ("naver.com",),
    "kakao": ("daum.net", "hanmail.net", "kakao.com"),
    "qq": ("qq.com",),
    "yandex": ("yandex.ru", "yandex.net"),
    "mailru": ("mail.ru",),
}
"""Who receives, by the suffix of the MX host; everybody else is ``other``."""
VERSIONS = ("TLSv1.2", "TLSv1.3")
RULESETS = frozenset(("check_relay", "check_mail", "check_rcpt", "check_data", "check_eoh", "tls_client", "milter"))
FEEDBACK = ("abuse", "fraud", "not-spam", "opt-out", "virus", "other")
RETURNED = ("delayed", "delivered", "automatic", "challenge", "forwarded", "unreadable", "unknown", "repeated")
BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
"""Upper bounds of the delay from acceptance to delivery, in seconds; sendmail logs whole ones."""
LABELS = {
    "accepted": (),
    "deliveries": ("result", "class", "provider"),
    "late_bounces": ("class",),
    "complaints": ("feedback",),
    "returned": ("what",),
    "reported": ("report", "result"),
    "rejects": ("reason",),
    "tls_sessions": ("side", "version"),
    "auth": ("success",),
    "child_restarts": ("program",),
    "events_lost": (),
    "event_gaps": (),
    "webhook_events": ("webhook", "result"),
    "webhook_attempts_failed": ("webhook",),
}
VALUES: dict[str, tuple[Iterable[str], ...]] = {
    "accepted": (),
    "late_bounces": (sorted(RULES.reasons),),
    "complaints": (FEEDBACK,),
    "returned": (RETURNED,),
    "reported": (("dmarc", "tls"), ("pass", "fail")),
    "rejects": ((*RULESETS, *refusals.CLASSES.values(), "other"),),
    "tls_sessions": (("client", "server"), (*VERSIONS, "other")),
    "auth": (("yes", "no"),),
    "child_restarts": (plan.DAEMONS,),
    "events_lost": (),
    "event_gaps": (),
}
"""All that labels can be: each series is there at 0 from the start, or Prometheus would not see its first growth."""
Key = tuple[str, str]
"""A counter's name, and its labels' values joined by commas."""


def provider(host: str | None) -> str:
    """Who receives, by the name of its MX host."""
    name = (host or "").lower().rstrip(".")
    for found, suffixes in PROVIDERS.items():
        if any(domains.is_within(name, suffix) for suffix in suffixes):
            return found
    return "other"


def count(events: Iterable[Mapping[str, Any]]) -> Counter[Key]:
    """How much each counter grows by these events, which have their ``class``."""
    grown: Counter[Key] = Counter()
    for event in events:
        kind = event["event"]
        if key := _of_one(event):
            grown[key] += int(event.get("count", 1))
        elif kind in {"delivered", "deferred", "bounced"}:
            grown["deliveries", f"{kind},{event.get('class', '')},{provider(event.get('relay_host'))}"] += 1
            if kind == "delivered" and isinstance(delay := event.get("delay"), int):
                grown["delay_sum", ""] += delay
                grown["delay", str(next((bound for bound in BUCKETS if delay <= bound), "+Inf"))] += 1
        elif kind == "rejected":
            ruleset = str(event.get("ruleset"))
            grown["rejects", event.get("class") or (ruleset if ruleset in RULESETS else "other")] += 1
        elif kind == "tls":
            version = event.get("tls_version")
            grown["tls_sessions", f"{event.get('side')},{version if version in VERSIONS else 'other'}"] += 1
        elif kind == "auth":
            grown["auth", "yes" if event.get("success") else "no"] += 1
        elif kind == "stopped" and event.get("program") in plan.DAEMONS:
            grown["child_restarts", event["program"]] += "killed by" in event.get(
                "status", ""
            ) or "exit code" in event.get("status", "")
        elif kind == "gap":
            grown["event_gaps", ""] += 1
            grown["events_lost", ""] += int(event.get("lost") or 0)
    return +grown


def _of_one(event: Mapping[str, Any]) -> Key | None:
    """The one counter that an event of these kinds lets grow; None: it is of another kind."""
    match event["event"]:
        case "bounced" if event.get("late"):  # no attempt of ours
            return "late_bounces", event.get("class", "")
        case "accepted":
            return "accepted", ""
        case "complained":
            feedback = str(event.get("feedback"))
            return "complaints", feedback if feedback in FEEDBACK else "other"
        case "returned":
            what = str(event.get("what"))
            return "returned", what if what in RETURNED else "unreadable"
        case "reported":
            good = event.get("dkim") or event.get("spf") or event.get("result") == "success"
            return "reported", f"{'dmarc' if event.get('report') == 'dmarc' else 'tls'},{'pass' if good else 'fail'}"
    return None


def add(connection: Connection, grown: Mapping[Key, int]) -> None:
    """Let the counters grow."""
    for (name, labels), number in grown.items():
        which = (COUNTERS.c.name == name) & (COUNTERS.c.labels == labels)
        if not connection.execute(update(COUNTERS).where(which).values(value=COUNTERS.c.value + number)).rowcount:
            connection.execute(insert(COUNTERS).values(name=name, labels=labels, value=number))
