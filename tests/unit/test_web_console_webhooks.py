"""The console's webhooks: what waits, dead letters and posting them again, a test event's answer."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.journal.reader import Batch, Position
from postroad.recorder import writer
from postroad.runtime import handover, log, recording
from postroad.web import console_webhooks
from postroad.web.sessions import Role
from postroad.webhooks import outbox
from tests.unit import api
from tests.unit.console import HERE, HOSTILE, WITH, Browser, Commands
from tests.unit.handed import HOOK, recorded


class World:
    def __init__(self, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.folder = engine, folder
        self.commands = Commands(folder, monkeypatch)
        self.said: list[str] = []
        monkeypatch.setattr(log, "tell", lambda _, text, *__: self.said.append(text))
        monkeypatch.setattr(console_webhooks, "CURRENT", folder)
        self.configure(HOOK)

    def configure(self, *hooks: recording.Hook) -> None:
        (self.folder / recording.FILE).write_text(handover.dumps(recorded(webhooks=hooks)))

    def put(self, number: int = 1, hook: recording.Hook = HOOK, **fields: Any) -> None:
        """Events that wait for the webhook."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {"event": "delivered", "time": stamp, "recipient": "gone@rcpt.example", "sender": "app@sender.example"}
        events = tuple(event | {"queue_id": f"q{time.monotonic_ns()}{i}"} | fields for i in range(number))
        writer.write(self.engine, Batch(events, Position("j", 1)), recorded(webhooks=(hook,)))

    def die(self, error: str = "answered 500") -> list[str]:
        """Give up what waits; the ids."""
        for entry in outbox.due(self.engine, HOOK.name, 100):
            outbox.failed(self.engine, entry, error, -1.0, None)
        return [entry.uid for entry in outbox.dead(self.engine, None, 100)]

    def browser(self, role: Role = Role.OPERATOR) -> Browser:
        return Browser(api.of(self.engine, WITH), role)


@pytest.fixture
def world(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, engine, monkeypatch)


def test_each_webhook_is_shown_with_what_waits_and_its_last_error(world: World) -> None:
    world.put()
    world.die("answered 500 try later")
    world.put(2)
    found = world.browser().get("/webhooks")
    assert "https://app.example.com/" in found.text
    assert "Pending 2 Taken 0 Failed attempts 1 Dead letters 1 Lost 0" in found.words
    assert "answered 500 try later" in found.text
    assert found.having("div", id="live", data_live="5")


def test_without_webhooks_there_are_none(world: World) -> None:
    world.configure()
    found = world.browser().get("/webhooks")
    assert "No webhook is configured" in found.text
    assert "There is no dead letter." in found.text
    (world.folder / recording.FILE).unlink()
    assert "No webhook is configured" in world.browser().get("/webhooks").text


def test_what_is_left_of_one_that_is_gone_is_shown(world: World) -> None:
    world.put()
    world.configure()
    assert "app not configured any more" in world.browser().get("/webhooks").words


def test_dead_letters_are_posted_again_the_chosen_or_all_of_one(world: World) -> None:
    world.put(3)
    ids = world.die()
    browser = world.browser()
    assert browser.get("/webhooks").words.count("delivered gone@rcpt.example") == 3
    assert "Dead letters that wait to be posted again: 1." in browser.sent("/webhooks/replay", id=ids[0]).text
    assert len(outbox.dead(world.engine, None, 10)) == 2
    assert "Dead letters that wait to be posted again: 2" in browser.sent("/webhooks/replay", webhook="app").text
    assert outbox.dead(world.engine, None, 10) == []
    assert '"webhook_replay", "message": "2 dead letters of app"' in world.said[-1]


def test_nothing_chosen_posts_nothing(world: World) -> None:
    world.put()
    world.die()
    assert "Choose one at least." in world.browser().sent("/webhooks/replay").text
    assert "posted again: 0" in world.browser().sent("/webhooks/replay", webhook="other").text
    assert len(outbox.dead(world.engine, None, 10)) == 1


def test_a_test_event_tells_the_receivers_answer(world: World) -> None:
    answer = {"name": "app", "id": "u", "status": 204, "error": None, "seconds": 0.2}
    world.commands.answer("webhook test", {"answers": [answer]})
    browser = world.browser()
    assert "app took the test event: 204 in 0.2 s." in browser.sent("/webhooks/test", webhook="app").text
    assert world.commands.calls == [["webhook", "test", "--json", "--", "app"]]
    world.commands.answer("webhook test", {"answers": [answer | {"error": "answered 500"}]}, code=1)
    assert "did not take the test event: answered 500" in browser.sent("/webhooks/test", webhook="app").text
    world.commands.answer("webhook test", "", "postroad: no server runs here\n", 1)
    assert "no server runs here" in browser.sent("/webhooks/test", webhook="app").text


@pytest.mark.parametrize("name", ["", "other", "--json"])
def test_there_is_no_test_of_another(world: World, name: str) -> None:
    assert world.browser().send("/webhooks/test", webhook=name).status_code == 404
    assert world.commands.calls == []


def test_a_viewer_sees_no_address_and_no_url_and_posts_nothing(world: World) -> None:
    world.put()
    world.die("550 <gone@rcpt.example>")
    viewer = world.browser(Role.VIEWER)
    found = viewer.get("/webhooks")
    assert "***@rcpt.example" in found.text
    assert "gone" not in found.text
    assert "app.example.com" not in found.text
    for path in ("replay", "test"):
        assert viewer.send(f"/webhooks/{path}", webhook="app").status_code == 403
    assert not [each for each in found.having("form") if each["action"] == "/webhooks/test"]


@pytest.mark.parametrize("path", ["replay", "test"])
def test_a_form_of_another_site_does_nothing(world: World, path: str) -> None:
    world.put()
    world.die()
    browser = world.browser()
    for form, headers in ((None, HERE), (browser.session.form, {"Origin": "http://evil.example"})):
        data = {"webhook": "app"} | ({"form": form} if form else {})
        assert browser.client.post(f"/webhooks/{path}", data=data, headers=headers).status_code == 403
    assert len(outbox.dead(world.engine, None, 10)) == 1
    assert world.commands.calls == []


@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_wrote_is_text(world: World, value: str) -> None:
    pages = []
    for said in ("plain", value):
        world.put(recipient=said)
        world.die(said)
        world.configure(replace(HOOK, url=f"https://{said}"))
        world.commands.answer("webhook test", {"answers": [{"status": said, "error": said, "seconds": 1}]})
        browser = world.browser()
        pages.append((browser.get("/webhooks").structure, browser.sent("/webhooks/test", webhook="app").structure))
        browser.send("/webhooks/replay", webhook="app")
        with world.engine.begin() as connection:
            connection.exec_driver_sql("delete from outbox")
    assert pages[0] == pages[1]
