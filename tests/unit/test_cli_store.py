"""Commands on an event store of the test's own: what they print, what they change, their exit codes."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from postroad import system
from postroad.cli import brake as brake_command
from postroad.cli import webhook
from postroad.events import own
from postroad.events.model import BounceRate
from postroad.events.syslog import format_datagram, parse_datagram
from postroad.feedback import brake, suppression
from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime import handover, recording
from postroad.store import database
from postroad.webhooks import outbox
from tests.unit.commands import run
from tests.unit.handed import HOOK, SUPPRESSION, recorded

DAY = 86400.0
GONE = "550 5.1.1 User unknown"
SETTINGS = recorded(suppression=recording.SuppressionRules(90 * DAY, "all", (), None, 1.0), webhooks=(HOOK,))


@pytest.fixture(autouse=True)
def published(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[bytes, bytes]]:
    """The maps that are written for sendmail; the store is the one in force."""
    maps: list[dict[bytes, bytes]] = []
    monkeypatch.setattr(database, "existing", lambda: engine)
    monkeypatch.setattr(suppression, "SUPPRESSED", tmp_path / "suppressed")
    monkeypatch.setattr(brake, "BRAKED", tmp_path / "braked")
    monkeypatch.setattr(system, "write_database", lambda _, records: maps.append(records))
    (tmp_path / recording.FILE).write_text(handover.dumps(SETTINGS))
    monkeypatch.setattr(webhook, "CURRENT", tmp_path)
    return maps


def put(engine: Engine, queue_id: str, *kinds: str, at: float | None = None, **fields: Any) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 if at is None else at))
    about = {"queue_id": queue_id, "message_id": f"<{queue_id}@x>", "sender": "app@sender.example"}
    events = []
    for kind in kinds:
        event = {
            "event": kind,
            "time": stamp,
            **about,
            **({} if kind == "accepted" else {"recipient": "u@rcpt.example"}),
        }
        if kind in {"bounced", "deferred"}:
            event |= {"dsn": GONE[4:9], "reply": GONE, "relay_host": "mx.rcpt.example"}
        events.append(event | fields)
    writer.write(engine, Batch(tuple(events), Position("j", 1)), SETTINGS)


# --- trace and stats


def test_where_relays_share_the_store_each_row_has_its_relay_and_there_are_totals(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "bounced")
    put(engine, "q3", "accepted", sender="app@other.example")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO relays (id, name) VALUES (2, 'mail-0'), (3, 'mail-1')"))
        connection.execute(text("UPDATE events SET relay = CASE queue_id WHEN 'q2' THEN 3 ELSE 2 END"))
    monkeypatch.setattr(database, "is_server", lambda _: True)
    assert "app@sender.example → u@rcpt.example  at mail-1" in run("trace", "q2").out
    assert json.loads(run("trace", "q1", "--json").out)["messages"][0]["relay"] == "mail-0"
    rows = [line.split() for line in run("stats").out.splitlines()[2:]]
    assert rows[-1] == ["total", "all", "3", "1", "0", "1", "0", "50.0%", "-"]
    assert ["sender.example", "all", "2", "1", "0", "1", "0", "50.0%", "-"] in rows
    assert ["sender.example", "mail-1", "1", "0", "0", "1", "0", "100.0%", "-"] in rows
    assert ["other.example", "mail-0", "1", "0", "0", "0", "0", "-", "-"] in rows
    assert len(rows) == 5
    by_relay = [line.split()[:2] for line in run("stats", "--by", "relay").out.splitlines()[2:]]
    assert by_relay == [["mail-0", "2"], ["mail-1", "1"], ["total", "3"]]
    found = json.loads(run("stats", "--json").out)
    assert found["total"]["accepted"] == 3
    assert [each["relay"] for each in found["groups"][0]["relays"]] == ["mail-0", "mail-1"]


def test_a_message_is_told_from_its_acceptance_to_its_end(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "bounced")
    code, out, _ = run("trace", "q2")
    assert code == 0
    assert "bounced (userunknown, hard)  q2  <q2@x>" in out
    assert "app@sender.example → u@rcpt.example" in out
    assert f"bounced   mx.rcpt.example {GONE}" in out
    assert "q1" not in out
    found = json.loads(run("trace", "u@rcpt.example", "--json").out)["messages"]
    assert [(each["queue_id"], each["status"], each["class"]) for each in found] == [
        ("q1", "delivered", None),
        ("q2", "bounced", "userunknown"),
    ]
    assert found[1]["first"].endswith("Z")
    assert len(json.loads(run("trace", "u@rcpt.example", "--json", "--limit", "1").out)["messages"]) == 1


def test_what_came_back_is_told_in_the_story_of_its_message(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q1", "bounced", late=True)
    put(engine, "q1", "complained", feedback="abuse", reporter="fbl.rcpt.example")
    put(engine, "q1", "returned", what="automatic", status="Out of office")
    out = run("trace", "q1").out
    assert "bounced (userunknown, hard)  q1" in out
    assert f"bounced   late mx.rcpt.example {GONE}" in out
    assert "complained abuse fbl.rcpt.example" in out
    assert "returned  automatic Out of office" in out
    (row,) = [line.split() for line in run("stats").out.splitlines()[2:]]
    assert row[-2:] == ["100.0%", "100.00%"]


def test_each_recipient_of_a_redirected_message_is_told_with_the_address_it_went_to(engine: Engine) -> None:
    """sendmail logs the delivery of the first of them only."""
    for recipient in ("u@rcpt.example", "two@other.example"):
        put(engine, "q1", "redirected", recipient=recipient, redirected_to="qa@rcpt.example")
    put(engine, "q1", "accepted", "bounced")
    put(engine, "q1", "delivered", recipient="not-redirected@rcpt.example")
    out = run("trace", "q1").out
    assert "app@sender.example → u@rcpt.example, redirected to qa@rcpt.example\n" in out
    assert "app@sender.example → two@other.example, redirected to qa@rcpt.example\n" in out
    assert "redirected qa@rcpt.example" in out
    found = json.loads(run("trace", "q1", "--json").out)["messages"]
    assert [(each["recipient"], each["redirected_to"], each["status"], each["class"]) for each in found] == [
        ("u@rcpt.example", "qa@rcpt.example", "bounced", "userunknown"),
        ("two@other.example", "qa@rcpt.example", "bounced", "userunknown"),
        ("not-redirected@rcpt.example", None, "delivered", None),
    ]
    assert [event["event"] for event in found[1]["events"]] == ["redirected", "accepted", "bounced"]
    (alone,) = json.loads(run("trace", "two@other.example", "--json").out)["messages"]
    assert (alone["recipient"], alone["status"]) == ("two@other.example", "bounced")


def test_two_recipients_of_which_one_is_rewritten_as_the_other_share_the_delivery(engine: Engine) -> None:
    put(engine, "q1", "redirected", recipient="old@rcpt.example", redirected_to="u@rcpt.example")
    put(engine, "q1", "accepted", "delivered")
    old, new = json.loads(run("trace", "q1", "--json").out)["messages"]
    assert (old["redirected_to"], old["status"]) == ("u@rcpt.example", "delivered")
    assert (new["redirected_to"], new["status"]) == (None, "delivered")


def test_a_refused_recipient_has_no_part_in_what_the_others_came_to(engine: Engine) -> None:
    put(engine, "q1", "rejected", recipient="gone@rcpt.example", reply="550 5.1.1 gone")
    put(engine, "q1", "accepted", "delivered")
    gone, other = json.loads(run("trace", "q1", "--json").out)["messages"]
    assert (gone["recipient"], gone["sender"], gone["status"]) == (
        "gone@rcpt.example",
        "app@sender.example",
        "rejected",
    )
    assert [event["event"] for event in gone["events"]] == ["rejected"]
    assert (other["recipient"], other["status"]) == ("u@rcpt.example", "delivered")
    assert "rejected  q1" in run("trace", "gone@rcpt.example").out


def test_what_is_not_known_is_exit_code_1() -> None:
    assert run("trace", "x@y.example") == (1, "nothing is known of x@y.example\n", "")
    code, out, _ = run("trace", "x@y.example", "--json")
    assert (code, json.loads(out)) == (1, {"messages": [], "gaps": []})


def test_a_gap_is_told_beside_what_is_known(engine: Engine) -> None:
    put(engine, "q1", "accepted")
    gap = {
        "event": "gap",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "since": time.time() - 60,
        "lost": 3,
    }
    writer.write(engine, Batch((gap,), Position("j", 2)), SETTINGS)
    assert "3 events may be missing between" in run("trace", "q1").out


def test_the_counts_by_sender_domain_hour_and_provider(engine: Engine) -> None:
    for number in range(18):
        put(engine, f"q{number}", "accepted", "delivered", relay_host="mx.google.com")
    put(engine, "q18", "accepted", "bounced")
    put(engine, "q19", "accepted", "bounced", at=time.time() - 2 * DAY)
    (row,) = json.loads(run("stats", "--json").out)["groups"]
    assert (row["sender_domain"], row["delivered"], row["bounced"]) == ("sender.example", 18, 1)
    assert row["bounce_rate"] == pytest.approx(1 / 19, abs=1e-4)
    assert json.loads(run("stats", "--since", "3d", "--json").out)["groups"][0]["bounced"] == 2
    out = run("stats", "--by", "provider").out
    assert "google" in out
    assert "the last 1d" in out or "the last 24h" in out
    assert ":00Z" in run("stats", "--by", "hour").out
    assert run("stats", "--since", "yesterday").code == 2


# --- suppress


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("suppress", "list", "--json").out)["suppressions"]
    return found


def test_an_address_is_added_listed_and_removed(published: list[dict[bytes, bytes]]) -> None:
    assert run("suppress", "add", "U@x.example", "v@x.example", "--reason", "Asked us!", "--days", "2").out == (
        "2 of 2 added; 2 addresses are suppressed\n"
    )
    assert published[-1] == {b"u@x.example": b"askedus", b"v@x.example": b"askedus"}
    assert run("suppress", "add", "u@x.example", "--domain", "One.Example").code == 0
    assert published[-1][b"u@x.example/one.example"] == b"manual"
    entries = {(each["recipient"], each["sender_domain"]): each for each in listed()}
    assert entries["u@x.example", "one.example"]["expires"] is None
    assert entries["u@x.example", ""]["expires"] is not None
    only = run("suppress", "list", "--domain", "one.example").out
    assert "u@x.example" in only
    assert "v@x.example" not in only
    assert run("suppress", "remove", "u@x.example", "--domain", "one.example").code == 0
    assert run("suppress", "remove", "U@x.example").code == 0
    assert run("suppress", "remove", "u@x.example").code == 1
    assert [each["recipient"] for each in listed()] == ["v@x.example"]
    assert published[-1] == {b"v@x.example": b"askedus"}


@pytest.mark.parametrize("address", ["u", "@x.example", "u@", "u v@x.example", "ü@x.example", "u" * 320 + "@x.example"])
def test_what_is_no_address_is_refused_and_nothing_is_added(address: str) -> None:
    assert run("suppress", "add", "good@x.example", address).error.startswith("not an address:")
    assert listed() == []
    assert run("suppress", "list").out == "no address is suppressed\n"


@pytest.mark.parametrize("words", [("add", "u@x.example"), ("list",), ("remove", "u@x.example"), ("export",)])
def test_what_is_no_domain_is_refused(words: tuple[str, ...]) -> None:
    code, _, error = run("suppress", *words, "--domain", "no domain")
    assert (code, error) == (1, "not a domain: 'no domain' (accepted: example.com)")


def test_lists_of_others_are_imported() -> None:
    assert run("suppress", "import", given="u@x.example\nv@x.example,complaint\n\n").code == 0
    assert {each["recipient"]: each["reason"] for each in listed()} == {
        "u@x.example": "imported",
        "v@x.example": "complaint",
    }
    csv = "Email,LastUpdateTime,sender_domain\nw@x.example,2026-01-02T03:04:05Z,one.example\n"
    assert run("suppress", "import", given=csv).code == 0
    ses = {"SuppressedDestinationSummaries": [
        {"EmailAddress": "y@x.example", "Reason": "BOUNCE", "LastUpdateTime": 1767323045.5},
        {"EmailAddress": "z@x.example", "Reason": "COMPLAINT", "LastUpdateTime": "2026-01-02T03:04:05+00:00"},
    ]}  # fmt: skip
    assert run("suppress", "import", "--domain", "two.example", given=json.dumps(ses)).code == 0
    found = {each["recipient"]: each for each in listed()}
    assert (found["w@x.example"]["added"], found["w@x.example"]["sender_domain"]) == (
        "2026-01-02T03:04:05Z",
        "one.example",
    )
    assert (found["y@x.example"]["reason"], found["y@x.example"]["sender_domain"]) == ("bounce", "two.example")
    assert found["z@x.example"]["added"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("name,reason\nx,y\n", "no column of addresses"),
        ("recipient,added\nu@x.example,soon\n", "not a time: soon"),
        ("u@x.example\nnobody\n", "not an address"),
        ("{}", "not the JSON of"),
        ('{"SuppressedDestinationSummaries": [{}]}', "not the JSON of"),
        ("{", "not the JSON of"),
    ],
)
def test_a_file_that_is_no_list_adds_nothing(given: str, said: str) -> None:
    code, _, error = run("suppress", "import", given=given)
    assert (code, said in error) == (1, True), error
    assert listed() == []


# --- brake


def test_a_braked_domain_is_listed_and_released(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("brake", "list").out == "no domain's rate of bounces or complaints is too high\n"
    for number in range(20):
        put(engine, f"q{number}", "accepted", "bounced" if number < 3 else "delivered")
    with database.writing(engine) as connection:
        brake.update_states(connection, brake.BOUNCES, recording.BrakeRules(0.1, 0.05, DAY, 20), time.time())
    out = run("brake", "list").out
    assert "sender.example" in out
    assert "15.00%" in out
    (found,) = json.loads(run("brake", "list", "--json").out)["domains"]
    assert (found["state"], found["bounced"], found["ended"], found["bounce_rate"]) == ("braked", 3, 20, 0.15)
    told: list[str] = []
    monkeypatch.setattr(brake_command, "tell", lambda _, text, **__: told.append(text))
    brake.publish(engine)
    assert (tmp_path / "braked").read_text() == "sender.example\t3 of 20 bounced\n"
    assert run("brake", "release", "other.example") == (1, "none of them is braked\n", "")
    assert told == []
    assert run("brake", "release", "Sender.Example").code == 0
    assert (tmp_path / "braked").read_text() == ""
    event = own.read(parse_datagram(format_datagram("warning", told[0]), 0.0))
    assert isinstance(event, BounceRate)
    assert (event.state, event.sender_domain) == ("released", "sender.example")
    assert run("brake", "list").out == "no domain's rate of bounces or complaints is too high\n"


# --- webhook


def test_webhooks_and_what_they_did_not_take(engine: Engine) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "bounced")
    (state,) = json.loads(run("webhook", "list", "--json").out)["webhooks"]
    assert (state["name"], state["pending"], state["dead"], state["types"]) == ("app", 2, 0, ["delivered", "bounced"])
    assert run("webhook", "dead").out == "there is no dead letter\n"
    assert run("webhook", "replay", "--all").code == 1
    first, second = outbox.due(engine, "app", 10)
    outbox.delivered(engine, first)
    assert outbox.failed(engine, second, "answered 500 \x1b[31m", 0.0, None)
    out = run("webhook", "list").out
    assert "answered 500" in out
    assert "\x1b" not in out
    assert HOOK.url in out
    (letter,) = json.loads(run("webhook", "dead", "--json").out)["dead"]
    assert (letter["id"], letter["type"], letter["attempts"]) == (second.uid, "postroad.message.bounced.v1", 1)
    assert second.uid in run("webhook", "dead", "--webhook", "app").out
    assert run("webhook", "dead", "--webhook", "other").out == "there is no dead letter\n"
    assert run("webhook", "replay").code == 2
    assert run("webhook", "replay", "--all", second.uid).code == 2
    assert run("webhook", "replay", "unknown-id").code == 1
    assert run("webhook", "replay", second.uid) == (0, "1 dead letters wait to be posted again\n", "")
    assert len(outbox.due(engine, "app", 10)) == 1


def test_a_webhook_that_is_configured_no_more_is_listed_while_events_wait(engine: Engine, tmp_path: Path) -> None:
    put(engine, "q1", "delivered")
    (tmp_path / recording.FILE).write_text(handover.dumps(recorded(suppression=SUPPRESSION)))
    (state,) = json.loads(run("webhook", "list", "--json").out)["webhooks"]
    assert (state["name"], state["url"], state["pending"]) == ("app", None, 1)
    assert "(not configured)" in run("webhook", "list").out
    assert run("webhook", "test").out == "no webhook is configured\n"
    assert "no webhook of that name: app (known: none)" in run("webhook", "test", "app").error


def test_without_a_server_there_are_no_webhooks(tmp_path: Path) -> None:
    (tmp_path / recording.FILE).unlink()
    assert run("webhook", "list").error.startswith("no server runs here")
