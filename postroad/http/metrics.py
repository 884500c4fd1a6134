"""What `/metrics` says: counters that are kept with the events, each event counted once, and what is so just now.

Labels come from closed sets and never hold an address.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy import Connection, Engine, Table, func, select

import postroad
from postroad.events.classify import RULES
from postroad.runtime import attempts, health, looks, reasons, slowed
from postroad.runtime.paths import DOCTOR, QUEUE, RECEIVERS
from postroad.sendmail import queue
from postroad.store import counters
from postroad.store.schema import BRAKES, COMPLAINT_BRAKES, COUNTERS, OUTBOX, SUPPRESSIONS

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
BRAKED = {"postroad_bounce_rate_domains": BRAKES, "postroad_complaint_rate_domains": COMPLAINT_BRAKES}


class Collector:
    """Reads the counters and looks at the queue, for prometheus-client's registry."""

    def __init__(self, engine: Engine, webhooks: Iterable[str] = ()) -> None:
        """Read from this store; the webhooks are those that are configured."""
        self._engine = engine
        self._always = {name: [",".join(each) for each in product(*sets)] for name, sets in counters.VALUES.items()}
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
            braked = {name: _states(connection, table) for name, table in BRAKED.items()}
            dead = connection.execute(select(func.count()).select_from(SUPPRESSIONS)).scalar_one()
            waits = OUTBOX.c.due.is_not(None)
            outbox = connection.execute(
                select(OUTBOX.c.webhook, waits.label("waits"), func.count()).group_by(OUTBOX.c.webhook, "waits")
            ).all()
        values = {(row.name, row.labels): row.value for row in rows}
        for name, labels in counters.LABELS.items():
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
        for name, states in braked.items():
            domains = GaugeMetricFamily(name, "Sender domains above a rate.", labels=["state"])
            for state in ("warning", "braked"):
                domains.add_metric([state], states.get(state, 0))
            yield domains
        yield from _checks()
        yield GaugeMetricFamily(
            "postroad_ready", "Whether the server is ready (1) or not (0).", value=health.read()[0] == "ready"
        )
        yield from _troubles(health.read()[1])
        build = GaugeMetricFamily("postroad_build_info", "Always 1.", labels=["version"])
        build.add_metric([postroad.__version__], 1)
        yield build


def _states(connection: Connection, table: Table) -> dict[str, int]:
    """How many domains are in which state."""
    rows = connection.execute(select(table.c.state, func.count()).group_by(table.c.state))
    return {row[0]: row[1] for row in rows}


def _troubles(texts: list[str]) -> Iterator[Metric]:
    """What the server is degraded by, in classes that are there at 0 from the start."""
    family = GaugeMetricFamily("postroad_degraded", "Whether the server is degraded, by cause.", labels=["cause"])
    causes = {reasons.cause_of(text) for text in texts}
    for cause in reasons.Cause:
        family.add_metric([cause], cause in causes)
    yield family


def _attempts(under_way: list[attempts.Attempt]) -> Iterator[Metric]:
    numbers = Counter(counters.provider(each.host) for each in under_way)
    family = GaugeMetricFamily("postroad_attempts_active", "Attempts under way, by who receives.", labels=["provider"])
    for who in (*counters.PROVIDERS, "other"):
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
        found[counters.provider(each.host), each.standing] += 1
        waiting[counters.provider(each.host)] += each.waiting
    family = GaugeMetricFamily(
        "postroad_receivers_slowed", "Receivers that get less, as they have asked.", labels=["provider", "standing"]
    )
    held = GaugeMetricFamily("postroad_receivers_waiting_messages", "Messages that wait for them.", labels=["provider"])
    for who in (*counters.PROVIDERS, "other"):
        for standing in ("slowed", slowed.PAUSED):
            family.add_metric([who, standing], found[who, standing])
        held.add_metric([who], waiting[who])
    yield family
    yield held


def _deliveries() -> list[str]:
    ends = ["delivered,", *(f"{kind},{name}" for kind in ("deferred", "bounced") for name in sorted(RULES.reasons))]
    return [f"{end},{who}" for end in ends for who in (*counters.PROVIDERS, "other")]


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


def _delays(values: Mapping[counters.Key, int]) -> Metric:
    total, buckets = 0, []
    for bound in (*counters.BUCKETS, "+Inf"):
        total += values.get(("delay", str(bound)), 0)
        buckets.append((str(bound), total))
    family = HistogramMetricFamily("postroad_delivery_seconds", "From acceptance to delivery, by recipient.")
    family.add_metric([], buckets, values.get(("delay_sum", ""), 0))
    return family
