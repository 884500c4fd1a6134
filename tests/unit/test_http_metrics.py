"""The series of `/metrics`: all are there from the start, and nothing that is counted makes a new one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric

from postroad.events.classify import RULES
from postroad.http import metrics
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime import health, looks, slowed
from postroad.runtime.reasons import NONE_SUCCEEDS, Cause, not_running
from postroad.store import counters, database
from tests.unit.handed import RECORDING

DOCS = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text()
EVENTS: list[dict[str, Any]] = [
    {"event": "accepted"},
    {"event": "delivered", "relay_host": "mx.google.com", "delay": 3},
    {"event": "rejected", "ruleset": "check_rcpt", "reply": "550 5.1.1 this address is suppressed (userunknown)"},
    {"event": "rejected", "ruleset": "check_mail", "reply": "451 x is taken for now, too much comes back: 3 of 20 bounced"},
    {"event": "rejected", "ruleset": "new"},
    {"event": "tls", "side": "client", "tls_version": "TLSv1.3"},
    {"event": "tls", "side": "server", "tls_version": "TLSv1.1"},
    {"event": "auth", "success": False},
    {"event": "stopped", "program": "shaper", "status": "ended with exit code 1"},
    {"event": "bounced", "late": True, "dsn": "5.1.1", "reply": "550 5.1.1 User unknown", "queue_id": "q1", "recipient": "a@y"},
    {"event": "accepted", "queue_id": "q2", "sender": "a@x"},
    {"event": "queued", "queue_id": "q2", "recipient": "a@y"},
    {"event": "bounced", "late": True, "dsn": "5.1.1", "reply": "550 5.1.1 User unknown", "queue_id": "q2", "recipient": "a@y"},
    {"event": "complained", "queue_id": "q2", "recipient": "a@y", "feedback": "abuse"},
    {"event": "returned", "what": "automatic"},
    {"event": "reported", "report": "dmarc", "dkim": False, "spf": True, "count": 1},
    {"event": "reported", "report": "tls", "result": "certificate-expired", "count": 1},
    {"event": "gap", "since": 1.0, "lost": 3},
]  # fmt: skip


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[metrics.Collector]:
    (tmp_path / "queue").mkdir()
    monkeypatch.setattr(health, "HEALTH", tmp_path / "health")
    monkeypatch.setattr(metrics, "QUEUE", tmp_path / "queue")
    monkeypatch.setattr(metrics, "DOCTOR", tmp_path / "doctor.json")
    engine = database.connect(tmp_path / "events.db")
    database.upgrade(engine)
    yield metrics.Collector(engine, ["hook"])
    engine.dispose()


def series(found: list[Metric]) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in found
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def test_all_series_are_there_before_the_first_event(collector: metrics.Collector) -> None:
    first = series(list(collector.collect()))
    assert not any(first.values())
    assert first["postroad_deliveries_total", "bounced", "userunknown", "google"] == 0
    assert first["postroad_webhook_events_total", "hook", "dead"] == 0
    failures = [
        {"event": kind, "class": reason, "relay_host": host}
        for kind in ("bounced", "deferred")
        for reason in RULES.reasons
        for host in ("mx1.mail.ru", "mx.rcpt.example")
    ]
    with database.writing(collector._engine) as connection:
        counters.add(connection, counters.count(failures))
    writer.write(collector._engine, Batch(tuple(EVENTS), Position("j", 1)), RECORDING)
    second = series(list(collector.collect()))
    assert second.keys() == first.keys()
    assert second["postroad_deliveries_total", "bounced", "userunknown", "mailru"] == 1
    assert second["postroad_child_restarts_total", "shaper"] == 1
    assert second["postroad_rejects_total", "suppressed"] == 1
    assert sum(second.values()) == len(failures) + len(EVENTS) + 2


def test_what_the_doctor_found_last(collector: metrics.Collector, tmp_path: Path) -> None:
    def found() -> dict[tuple[str, ...], float]:
        named = [metric for metric in collector.collect() if metric.name.startswith("postroad_doctor_")]
        assert len(named) == 2
        return {(sample.name, *sample.labels.values()): sample.value for each in named for sample in each.samples}

    assert found() == {}, "it has not looked yet: that is not the same as that all is well"
    standing = looks.Standing(errors=("a", "b"), warnings=1, unknown=("c",), since=1.0)
    looks.write(tmp_path / "doctor.json", looks.Look(5.0, {"dkim": standing, "mx": looks.Standing()}))
    name = "postroad_doctor_findings"
    expected: dict[tuple[str, ...], float] = {
        (name, "dkim", "error"): 2,
        (name, "dkim", "warning"): 1,
        (name, "dkim", "unknown"): 1,
        **{(name, "mx", level): 0.0 for level in ("error", "warning", "unknown")},
        ("postroad_doctor_last_look_timestamp_seconds",): 5,
    }
    assert found() == expected


def test_receivers_that_get_less(collector: metrics.Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RECEIVERS", tmp_path / "receivers")
    usual = (0.0, 0.0, "speeding", "450", 1, None, 0.0, 0)
    slowed.write(
        tmp_path / "receivers",
        [
            slowed.SlowedReceiver("gmail", "aspmx.l.google.com", "slowed", *usual, 5, ()),
            slowed.SlowedReceiver("a", "mx.a.example", "paused", *usual, 2, ()),
            slowed.SlowedReceiver("b", "mx.b.example", "paused", *usual, 1, ()),
        ],
    )
    samples = [sample for family in collector.collect() for sample in family.samples]
    found = {
        tuple(sample.labels.values()): sample.value for sample in samples if sample.name == "postroad_receivers_slowed"
    }
    assert {key: value for key, value in found.items() if value} == {("google", "slowed"): 1, ("other", "paused"): 2}
    assert ("yahoo", "paused") in found, "each is there at 0 from the start"
    waiting = [sample for sample in samples if sample.name == "postroad_receivers_waiting_messages" and sample.value]
    assert {sample.labels["provider"]: sample.value for sample in waiting} == {"google": 5, "other": 3}


def test_each_metric_is_in_the_documentation_and_no_other(collector: metrics.Collector) -> None:
    table = re.findall(r"^\| `postroad_.*", DOCS, re.MULTILINE)
    told = {name for row in table for name in re.findall(r"`(postroad_\w+)`", row)}
    made = {metric.name + ("_total" if metric.type == "counter" else "") for metric in collector.collect()}
    assert told == made
    (deliveries,) = (row for row in table if "postroad_deliveries_total" in row)
    assert f"({', '.join([*counters.PROVIDERS, 'other'])})" in deliveries


def test_each_cause_is_in_the_documentation() -> None:
    causes = DOCS.partition("`postroad_degraded` counts 1 for the cause")[2].partition("\n\n")[2].partition("\n\n")[0]
    cells = " ".join(re.findall(r"^\| (`[^|]+) \|", causes, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", cells)) == sorted(Cause)


def test_what_degrades_the_server_is_told_by_its_cause(collector: metrics.Collector, tmp_path: Path) -> None:
    def degraded() -> set[str]:
        (family,) = (metric for metric in collector.collect() if metric.name == "postroad_degraded")
        return {sample.labels["cause"] for sample in family.samples if sample.value}

    (tmp_path / "health").write_text("ready 1\n1 1 done\n")
    assert (degraded(), health.life()) == (set(), ("ready", []))
    (tmp_path / "health").write_text(f"degraded 1\n1 1 done\n{NONE_SUCCEEDS}\n")
    assert (degraded(), health.life()) == ({"deliveries"}, ("ready", []))
    both = [not_running("signer"), NONE_SUCCEEDS]
    (tmp_path / "health").write_text("\n".join(["degraded 1", "1 1 done", *both]))
    assert (degraded(), health.life()) == ({"daemon", "deliveries"}, ("degraded", both[:1]))
    assert health.read() == ("degraded", both)
