"""The console's test message: sent by the command, and followed on its own page."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad.runtime import log
from postroad.web import console_send
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.api import put
from tests.unit.console import HERE, HOSTILE, WITH, Browser, Commands

said: list[str] = []


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    said.clear()
    monkeypatch.setattr(log, "tell", lambda _, text, *__: said.append(text))
    monkeypatch.setattr(console_send, "STORED", 0.05)
    return Commands(tmp_path, monkeypatch)


@pytest.fixture
def browser(engine: Engine) -> Browser:
    return Browser(api.of(engine, WITH))


def test_it_is_sent_and_followed(engine: Engine, browser: Browser, commands: Commands) -> None:
    assert browser.get("/send").having("input", id="to", type="email")
    put(engine, "q1", "accepted")
    commands.answer("send", {"events": [{"event": "accepted", "queue_id": "q1"}]}, code=3)
    answer = browser.send("/send", to="You@rcpt.example", sender="app@sender.example")
    assert answer.headers["location"] == "/messages/q1"
    found = browser.get("/messages/q1")
    assert "Accepted as q1." in found.text
    assert found.having("div", id="live", data_live="5")
    assert commands.calls == [
        ["send", "--json", "--timeout", "2", "--from", "app@sender.example", "--", "you@rcpt.example"]
    ]
    assert '"action": "send", "message": "you@rcpt.example"' in said[0]


@pytest.mark.parametrize("events", [[], [{"event": "accepted", "queue_id": "q1"}]])
def test_what_is_not_heard_of_yet_is_looked_for(browser: Browser, commands: Commands, events: list[object]) -> None:
    commands.answer("send", {"events": events}, code=3)
    answer = browser.send("/send", to="you@rcpt.example")
    assert answer.headers["location"] == "/messages?q=you%40rcpt.example"
    assert "nothing was heard of it yet" in browser.get("/messages").text
    assert commands.calls == [["send", "--json", "--timeout", "2", "--", "you@rcpt.example"]]


def test_a_refusal_is_told_in_the_relays_words(browser: Browser, commands: Commands) -> None:
    commands.answer("send", {"events": [], "refused": "553 5.7.1 not your domain"}, code=1)
    assert "The relay refused it: 553 5.7.1 not your domain" in browser.sent("/send", to="you@rcpt.example").text
    assert said == []
    commands.answer("send", "", "postroad: no server runs here\n", 1)
    assert "no server runs here" in browser.sent("/send", to="you@rcpt.example").text


@pytest.mark.parametrize("fields", [{}, {"to": "you"}, {"to": "--help"}, {"to": "a@b.c", "sender": "x"}])
def test_what_is_no_address_is_not_sent_to(browser: Browser, commands: Commands, fields: dict[str, str]) -> None:
    assert "not an address" in browser.sent("/send", **fields).text
    assert commands.calls == []


def test_viewers_send_nothing(engine: Engine, commands: Commands) -> None:
    viewer = Browser(api.of(engine, WITH), Role.VIEWER)
    viewer.get("/send", 403)
    assert viewer.send("/send", to="you@rcpt.example").status_code == 403
    assert commands.calls == []


def test_a_form_of_another_site_sends_nothing(browser: Browser, commands: Commands) -> None:
    for form, headers in ((None, HERE), (browser.session.form, {"Origin": "http://evil.example"})):
        data = {"to": "you@rcpt.example"} | ({"form": form} if form else {})
        assert browser.client.post("/send", data=data, headers=headers).status_code == 403
    assert commands.calls == []


@pytest.mark.parametrize("value", HOSTILE)
def test_what_the_relay_says_is_text(browser: Browser, commands: Commands, value: str) -> None:
    pages = []
    for text in ("plain", value):
        commands.answer("send", {"events": [], "refused": text})
        pages.append(browser.sent("/send", to="you@rcpt.example").structure)
    assert pages[0] == pages[1]
    assert browser.get("/send?to=plain").structure == browser.get(f"/send?to={value[:300]!a}").structure
