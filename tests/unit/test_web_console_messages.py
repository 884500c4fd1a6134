"""The console's messages: what a search finds, and the story of one message as it happened."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.api import put
from tests.unit.console import HOSTILE, WITH, Browser
from tests.unit.handed import RECORDING


@pytest.fixture
def browser(engine: Engine) -> Browser:
    return Browser(api.of(engine, WITH))


def test_the_newest_messages_come_first_with_what_became_of_them(engine: Engine, browser: Browser) -> None:
    put(engine, "q1", "accepted", "delivered", ago=100)
    put(engine, "q2", "accepted", "bounced", recipient="gone@rcpt.example")
    found = browser.get("/messages")
    assert found.words.index("bounced userunknown gone@rcpt.example app@sender.example") < found.words.index(
        "delivered u@rcpt.example"
    )
    assert found.having("a", href="/messages/q1")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=GONE@rcpt.example", {"q2"}),
        ("q=app@sender.example", {"q1", "q2"}),
        ("q=q1", {"q1"}),
        ("q=<q1@x>", {"q1"}),
        ("q=q1@x", {"q1"}),
        ("status=bounced", {"q2"}),
        ("class=userunknown", {"q2"}),
        ("since=2001-01-01T00:00&until=2002-01-01T00:00", set()),
        ("since=2001-01-01T00:00", {"q1", "q2"}),
        ("relay=other", set()),
        ("q=nobody@rcpt.example", set()),
        ("q=%00", set()),
    ],
)
def test_a_search_finds(engine: Engine, browser: Browser, query: str, shown: set[str]) -> None:
    put(engine, "q1", "accepted", "delivered")
    put(engine, "q2", "accepted", "bounced", recipient="gone@rcpt.example")
    found = browser.get(f"/messages?{query}")
    links = {str(each["href"]).removeprefix("/messages/") for each in found.having("a", class_="delivered")}
    links |= {str(each["href"]).removeprefix("/messages/") for each in found.having("a", class_="bounced")}
    assert links == shown
    assert ("No message fits." in found.text) == (not shown)


def test_what_cannot_be_searched_for_is_told(browser: Browser) -> None:
    found = browser.get("/messages?status=lost&since=yesterday")
    assert "since: a time such as 2026-11-24T10:00:00Z" in found.text
    assert "status: " in found.text


def test_older_messages_are_a_page_further(engine: Engine, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.web.console_messages.MOST", 2)
    for number in range(3):
        put(engine, f"q{number}", "accepted", "delivered")
    first = browser.get("/messages?q=app@sender.example")
    (more,) = first.having("a", class_="button")
    second = browser.get(str(more["href"]))
    assert [each["href"] for each in second.having("a", class_="delivered")] == ["/messages/q0"]
    assert second.having("input", name="q", value="app@sender.example")


def test_the_story_tells_each_step_in_the_receivers_words(engine: Engine, browser: Browser) -> None:
    put(engine, "q1", "accepted", size=900, listener="smtp")
    put(engine, "q1", "signed", domain="sender.example", selector="s1")
    put(engine, "q1", "deferred", "bounced")
    found = browser.get("/messages/q1").words
    for words in (
        "Accepted from the client Listener: smtp Octets: 900",
        "Signed (DKIM) Domain: sender.example Selector: s1",
        "Not taken for now; it is tried again mx.rcpt.example 451 4.7.1 Greylisted",
        "Given up mx.rcpt.example 550 5.1.1 User unknown",
        "userunknown : There is no such mailbox: take the address off your lists.",
    ):
        assert words in found
    assert found.index("Signed") < found.index("Greylisted") < found.index("User unknown")


def test_an_attempt_has_the_tls_session_of_its_process(engine: Engine, browser: Browser) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 61))
    session = {
        "event": "tls", "time": stamp, "side": "client", "relay_host": "mx.rcpt.example", "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384", "tls_verify": "OK", "pid": 7,
    }  # fmt: skip
    others = [session | {"pid": 8, "tls_version": "TLSv1.0"}, session | {"side": "server", "tls_version": "TLSv1.1"}]
    writer.write(engine, Batch((session, *others), Position("j", 1)), RECORDING)
    put(engine, "q1", "accepted", "delivered", relay_host="mx.rcpt.example", pid=7)
    put(engine, "q2", "accepted", "delivered", relay_host="mx.rcpt.example", pid=9)
    assert "TLS: TLSv1.3 TLS_AES_256_GCM_SHA384 " in browser.get("/messages/q1").text
    assert "TLSv1" not in browser.get("/messages/q2").text


def test_a_message_without_an_end_is_followed_and_one_with_an_end_is_not(engine: Engine, browser: Browser) -> None:
    put(engine, "q1", "accepted", "deferred")
    put(engine, "q2", "accepted", "delivered")
    put(engine, "q3", "accepted", "deferred", ago=3 * 86400)
    assert browser.get("/messages/q1").having("div", data_live="5")
    assert not browser.get("/messages/q2").having("div", data_live="5")
    assert not browser.get("/messages/q3").having("div", data_live="5")


@pytest.mark.parametrize("what", ["q9", "%3Cscript%3E", "..%2F..%2Fetc", "%00", "%ff"])
def test_what_nobody_knows_is_not_found(browser: Browser, what: str) -> None:
    assert "Nothing is known of this." in browser.get(f"/messages/{what}", 404).text


def test_a_refusal_without_an_id_is_told_where_it_stands(engine: Engine, browser: Browser) -> None:
    put(engine, "q", "rejected", queue_id=None, message_id=None, reply="550 5.7.1 Relaying denied")
    found = browser.get("/messages")
    assert "rejected 550 5.7.1 Relaying denied u@rcpt.example" in found.words
    assert not [each for each in found.having("a") if str(each["href"]).startswith("/messages/")]


def test_a_viewer_sees_no_address(engine: Engine) -> None:
    browser = Browser(api.of(engine, WITH), Role.VIEWER)
    put(engine, "q1", "accepted", "redirected", recipient="gone@rcpt.example", redirected_to="o@t.example")
    put(engine, "q1", "bounced", recipient="gone@rcpt.example", reply="550 5.1.1 <gone@rcpt.example> unknown; ask gone")
    for path in ("/messages", "/messages/q1", "/messages?q=gone@rcpt.example"):
        found = browser.get(path)
        text = found.text
        assert "***@rcpt.example" in text
        assert not [part for part in ("gone@", "app@", "o@t", " gone ", "ask gone") if part in text]
    assert found.having("input", name="q", value="gone@rcpt.example"), "his own words stay"
    assert "<q1@x>" in browser.get("/messages/q1").text, "as in the log, a Message-ID is no address"


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_wrote_is_text(engine: Engine, value: str, language: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(("recipient", "sender", "relay_host", "relay_address", "dsn", "reply", "redirected_to",
                            "message_id", "client_name", "selector", "ruleset"), "plain")  # fmt: skip
    kinds = ("accepted", "signed", "redirected", "deferred", "bounced", "rejected", "notified")
    browser = Browser(api.of(engine, WITH), language=language)
    hostile: dict[str, Any] = dict.fromkeys(fields, value)
    put(engine, "plain1", *kinds, **fields)
    plain = browser.get("/messages"), browser.get("/messages/plain1")
    with engine.begin() as connection:
        connection.exec_driver_sql("delete from events")
    put(engine, "plain1", *kinds, **hostile)
    found = browser.get("/messages"), browser.get("/messages/plain1")
    assert [each.structure for each in found] == [each.structure for each in plain]


def test_the_search_itself_is_text(browser: Browser) -> None:
    for value in HOSTILE:
        answer = browser.client.get(
            "/messages", params=dict.fromkeys(("q", "status", "class", "since", "until", "relay", "cursor"), value)
        )
        assert answer.status_code == 200
        assert "<img" not in answer.text


@pytest.mark.parametrize("path", ["/messages", "/messages/q1"])
def test_nobody_reads_messages_without_a_session(engine: Engine, path: str) -> None:
    client = api.of(engine, WITH).client
    answer = client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_a_page_that_renews_itself_keeps_no_session_alive(browser: Browser) -> None:
    browser.session.used -= 100
    before = browser.session.used
    browser.client.get("/messages", headers={"Postroad-Live": "1"})
    assert browser.session.used == before
    browser.client.get("/messages")
    assert browser.session.used > before


def test_the_file_of_words_is_in_the_image(tmp_path: Path) -> None:
    assert "COPY templates " in (Path(__file__).parents[2] / "Dockerfile").read_text()
