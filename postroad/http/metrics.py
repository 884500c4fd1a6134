"""What `/metrics` says: counters that are kept with the events, each event counted once, and what is so just now.

Labels come from closed sets and never hold an address.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy import Connection, Engine, func, insert, select, update

import postroad
from postroad import domains
from postroad.events.classify import RULES
from postroad.runtime import attempts, looks, plan, reasons, refusals, slowed
from postroad.runtime.paths import DOCTOR, HEALTH, QUEUE, RECEIVERS
from postroad.sendmail import queue
from postroad.store.schema import BRAKES, COUNTERS, OUTBOX, SUPPRESSIONS

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
HELP = {
    "accepted": "Messages that clients were answered 250 for.",
    "deliveries": "Attempts by recipient: delivered, deferred or bounced, the class of a failure, and who receives.",
    "late_bounces": "Bounces that came back after the receiver had taken the message.",
    "complaints": "Recipients who called a message spam, as feedback loops tell.",
    "returned": "What came back besides bounces and complaints.",
    "reported": "Messages (dmarc) and sessions (tls) that receivers reported, and whether they passed.",
    "rejects": "Refusals of clients, recipients and messages, by the rule that refused.",
    "tls_sessions": "TLS sessions as server or client.",
    "auth": "SMTP AUTH, by success.",
    "child_restarts": "Daemons that ended unasked.",
    "events_lost": "Events that could not be kept.",
    "event_gaps": "Times at which events may be missing.",
    "webhook_events": "Events for webhooks: delivered, dead (given up), lost (there was no room, or kept no longer).",
    "webhook_attempts_failed": "Posts to webhooks that were not taken.",
}
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


class Collector:
    """Reads the counters and looks at the queue, for prometheus-client's registry."""

    def __init__(self, engine: Engine, webhooks: Iterable[str] = ()) -> None:
        """Read from this store; the webhooks are those that are configured."""
        self._engine = engine
        self._always = {name: [",".join(each) for each in product(*sets)] for name, sets in VALUES.items()}
        self._always["deliveries"] = _deliveries()
        self._always["webhook_events"] = [f"{name},{end}" for name in webhooks for end in ("delivered", "dead", "lost")]
        self._always["webhook_attempts_failed"] = list(webhooks)

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the store can't be read.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(select(COUNTERS.c.name, COUNTERS.c.labels, COUNTERS.c.value)).all()
            states = select(BRAKES.c.state, func.count()).group_by(BRAKES.c.state)
            rates = {row[0]: row[1] for row in connection.execute(states)}
            dead = connection.execute(select(func.count()).select_from(SUPPRESSIONS)).scalar_one()
            waits = OUTBOX.c.due.is_not(None)
            outbox = connection.execute(
                select(OUTBOX.c.webhook, waits.label("waits"), func.count()).group_by(OUTBOX.c.webhook, "waits")
            ).all()
        values = {(row.name, row.labels): row.value for row in rows}
        for name, labels in LABELS.items():
            family = CounterMetricFamily(f"postroad_{name}", HELP[name], labels=labels)
            found = dict.fromkeys(self._always[name], 0)
            found |= {key[1]: value for key, value in values.items() if key[0] == name}
            for text, value in found.items():
                family.add_metric(text.split(",") if labels else [], value)
            yield family
        yield _delays(values)
        held = GaugeMetricFamily(
            "postroad_webhook_outbox_events", "Events that webhooks have not taken.", labels=["webhook", "state"]
        )
        for webhook, waiting, number in outbox:
            held.add_metric([webhook, "pending" if waiting else "dead"], number)
        yield held
        depth, oldest = queue.depth(QUEUE)
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        yield GaugeMetricFamily("postroad_queue_messages", "Messages in the queue.", value=depth)
        yield GaugeMetricFamily("postroad_queue_oldest_seconds", "Age of the oldest message in the queue.", value=age)
        yield from _attempts([each for each in attempts.under_way() if each.queue_id])
        yield from _slowed(slowed.read(RECEIVERS))
        yield GaugeMetricFamily("postroad_suppressed_addresses", "Addresses on the suppression list.", value=dead)
        domains = GaugeMetricFamily("postroad_bounce_rate_domains", "Sender domains above a rate.", labels=["state"])
        for state in ("warning", "braked"):
            domains.add_metric([state], rates.get(state, 0))
        yield domains
        yield from _checks()
        yield GaugeMetricFamily(
            "postroad_ready", "Whether the server is ready (1) or not (0).", value=health()[0] == "ready"
        )
        yield from _troubles(health()[1])
        build = GaugeMetricFamily("postroad_build_info", "Always 1.", labels=["version"])
        build.add_metric([postroad.__version__], 1)
        yield build


def _troubles(texts: list[str]) -> Iterator[Metric]:
    """What the server is degraded by, in classes that are there at 0 from the start."""
    family = GaugeMetricFamily("postroad_degraded", "Whether the server is degraded, by cause.", labels=["cause"])
    causes = {reasons.cause_of(text) for text in texts}
    for cause in reasons.Cause:
        family.add_metric([cause], cause in causes)
    yield family


def _attempts(under_way: list[attempts.Attempt]) -> Iterator[Metric]:
    numbers = Counter(provider(each.host) for each in under_way)
    family = GaugeMetricFamily("postroad_attempts_active", "Attempts under way, by who receives.", labels=["provider"])
    for who in (*PROVIDERS, "other"):
        family.add_metric([who], numbers[who])
    yield family
    oldest = min((each.since for each in under_way), default=None)
    age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
    yield GaugeMetricFamily(
        "postroad_attempts_oldest_seconds", "For how long the oldest attempt is under way.", value=age
    )


def _slowed(receivers: list[slowed.SlowedReceiver]) -> Iterator[Metric]:
    """Receivers that get less, and the messages that wait for them."""
    found: Counter[tuple[str, str]] = Counter()
    waiting: Counter[str] = Counter()
    for each in receivers:
        found[provider(each.host), each.standing] += 1
        waiting[provider(each.host)] += each.waiting
    family = GaugeMetricFamily(
        "postroad_receivers_slowed", "Receivers that get less, as they have asked.", labels=["provider", "standing"]
    )
    held = GaugeMetricFamily("postroad_receivers_waiting_messages", "Messages that wait for them.", labels=["provider"])
    for who in (*PROVIDERS, "other"):
        for standing in ("slowed", slowed.PAUSED):
            family.add_metric([who, standing], found[who, standing])
        held.add_metric([who], waiting[who])
    yield family
    yield held


def _deliveries() -> list[str]:
    ends = ["delivered,", *(f"{kind},{name}" for kind in ("deferred", "bounced") for name in sorted(RULES.reasons))]
    return [f"{end},{who}" for end in ends for who in (*PROVIDERS, "other")]


def _checks() -> Iterator[Metric]:
    """What the doctor's last regular look found; no samples before the first."""
    last = looks.read(DOCTOR)
    findings = GaugeMetricFamily(
        "postroad_doctor_findings", "Findings of the doctor's last look that are not fine.", labels=["check", "level"]
    )
    for name, standing in last.checks.items():
        for level, number in (
            ("error", len(standing.errors)),
            ("warning", standing.warnings),
            ("unknown", len(standing.unknown)),
        ):
            findings.add_metric([name, level], number)
    yield findings
    at = GaugeMetricFamily("postroad_doctor_last_look_timestamp_seconds", "When the doctor looked last.", labels=[])
    if last.at:
        at.add_metric([], last.at)
    yield at


def _delays(values: Mapping[Key, int]) -> Metric:
    total, buckets = 0, []
    for bound in (*BUCKETS, "+Inf"):
        total += values.get(("delay", str(bound)), 0)
        buckets.append((str(bound), total))
    family = HistogramMetricFamily("postroad_delivery_seconds", "From acceptance to delivery, by recipient.")
    family.add_metric([], buckets, values.get(("delay_sum", ""), 0))
    return family


def health() -> tuple[str, list[str]]:
    """The supervisor's state, and why it is not ready: the image's health check says the same."""
    try:
        first, _, *found = HEALTH.read_text().splitlines()
        state, _, *pids = first.split()
    except (OSError, ValueError):
        return "stopped", ["the supervisor is not running"]
    found = [text for text in map(str.strip, found) if text]
    found = found or ([] if state == "ready" else [state])
    for pid in pids:
        try:
            life = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            life = "X"
        found += [reasons.gone(pid)] if life in "XZ" else []
    return state, found


def life() -> tuple[str, list[str]]:
    """Likewise, without what no restart mends: deliveries that fail."""
    state, found = health()
    others = [text for text in found if reasons.cause_of(text) not in reasons.DELIVERY]
    return (state, others) if others or not found else ("ready", [])
