"""The console's domains: records with their state, keys, the doctor's findings beside those of the time before."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad.runtime import log
from postroad.web import console_domains
from postroad.web.children import Task
from postroad.web.console_domains import FORMATS
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.console import HERE, HOSTILE, WITH, Browser, Commands, Page, until

RECORD = {
    "name": "example.com", "type": "TXT", "ttl": 3600, "value": "v=spf1 a:mail.example.com -all", "purpose": "SPF",
    "state": "to add", "zone": "example.com", "replaces": [], "notes": [],
}  # fmt: skip
KEY = {"domain": "example.com", "selector": "s1", "stage": "active", "name": "s1._domainkey.example.com", "note": ""}
FINDING = {"id": "spf", "level": "error", "message": "example.com has no SPF record", "seen": "", "fix": "", "key": "k"}


class World:
    def __init__(self, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands = Commands(folder, monkeypatch)
        self.commands.answer("dns", {"address": "Mail leaves from 192.0.2.1.", "records": [RECORD]})
        self.commands.answer("dkim list", {"keys": [KEY]})
        self.engine, self.kept = engine, folder / "console.json"
        self.said: list[str] = []
        monkeypatch.setattr(log, "tell", lambda _, text, *__: self.said.append(text))
        monkeypatch.setattr(console_domains, "CONSOLE", self.kept)

    def browser(self, role: Role = Role.OPERATOR) -> Browser:
        return Browser(api.of(self.engine, WITH), role)

    def findings(self, *found: dict[str, Any]) -> None:
        lines = [{"checks": ["spf", "dkim"]}, {"check": "spf", "findings": found}, {"check": "dkim", "findings": []}]
        self.commands.answer("doctor", "\n".join(map(json.dumps, lines)), code=1)


@pytest.fixture
def world(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, engine, monkeypatch)


def looked(browser: Browser) -> Page:
    """The page, once nothing is looked up any more."""
    until(lambda: not browser.get("/domains").having("div", id="live", data_live="1"))
    return browser.get("/domains")


def examined(browser: Browser) -> Page:
    assert browser.send("/domains/doctor").headers["location"] == "/domains#doctor"
    return looked(browser)


def test_records_are_looked_up_at_the_first_visit_and_shown_with_their_state(world: World) -> None:
    found = looked(world.browser())
    assert "Mail leaves from 192.0.2.1." in found.text
    assert "missing or wrong: 1 of 1" in found.text
    assert "to add SPF" in found.words
    (value,) = found.having("pre")
    assert found.having("button", data_copy=str(value["id"]), data_done="Copied", type="button")
    assert world.commands.calls == [["dns", "--json"], ["dkim", "list", "--json"]] or len(world.commands.calls) == 2


def test_records_that_are_there_are_fine(world: World) -> None:
    world.commands.answer("dns", {"records": [RECORD | {"state": "is there"}, RECORD | {"state": "is there"}]})
    assert "all are there" in looked(world.browser()).text


def test_what_replaces_what_and_why_is_told(world: World) -> None:
    changed = RECORD | {"state": "to change", "replaces": ["v=spf1 -all"], "notes": ["It has two records."]}
    world.commands.answer("dns", {"records": [changed, RECORD | {"state": "a new one"}]})
    found = looked(world.browser()).words
    assert "In place of: v=spf1 -all It has two records." in found
    assert "can't tell SPF" in found


def test_what_could_not_be_looked_up_is_told(world: World) -> None:
    world.commands.answer("dns", "", "postroad: no name server answers\n", 1)
    assert "no name server answers" in looked(world.browser()).text


def test_they_are_looked_up_again_when_somebody_asks(world: World) -> None:
    browser = world.browser()
    looked(browser)
    world.commands.answer("dns", {"records": [RECORD | {"state": "is there"}]})
    assert browser.send("/domains/look").headers["location"] == "/domains"
    assert "all are there" in looked(browser).text


@pytest.mark.parametrize("form", FORMATS)
def test_records_can_be_kept_as_a_file(world: World, form: str) -> None:
    browser = world.browser()
    world.commands.answer("dns", f"as {form}\n", "postroad: a remark\n", 1)
    answer = browser.client.get(f"/domains/records?format={form}&zone=example.com")
    assert answer.text == f"as {form}\n"
    assert answer.headers["content-disposition"] == f'attachment; filename="{FORMATS[form][0]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert world.commands.calls[-1] == ["dns", "--format", form, "--zone", "example.com"]


def test_a_file_that_can_t_be_made_says_why(world: World) -> None:
    world.commands.answer("dns", "", "postroad: a change batch covers one zone\n", 1)
    assert "a change batch covers one zone" in world.browser().get("/domains/records?format=route53", 503).text


@pytest.mark.parametrize(
    "query", ["", "format=table", "format=bind&zone=--help", "format=--json", "format=bind&zone=a%20b"]
)
def test_nothing_else_reaches_the_command_line(world: World, query: str) -> None:
    world.browser().get(f"/domains/records?{query}", 404)
    assert world.commands.calls == []


def test_keys_are_shown_and_the_next_one_is_made(world: World) -> None:
    world.commands.answer("dkim list", {"keys": [KEY, KEY | {"selector": "s2", "stage": "next", "note": "waits"}]})
    browser = world.browser()
    found = looked(browser).words
    assert "example.com s1 active: it signs" in found
    assert "s2 next: signs when its record is seen waits" in found
    world.commands.answer("dkim rotate", "s3._domainkey.example.com. TXT\n  v=DKIM1\n")
    found = browser.sent("/domains/rotate", domain="example.com").words
    assert "The next key of example.com waits for its record: s3._domainkey.example.com. TXT v=DKIM1" in found
    assert ["dkim", "rotate", "--domain", "example.com"] in world.commands.calls
    assert '"action": "dkim_rotate", "message": "example.com"' in world.said[-1]


def test_a_key_that_can_not_be_made_says_why(world: World) -> None:
    world.commands.answer("dkim rotate", "", "postroad: Postroad manages no key of example.org\n", 1)
    assert "manages no key of" in world.browser().sent("/domains/rotate", domain="example.org").text
    assert world.said == []


@pytest.mark.parametrize("domain", ["", "--help", "a b", "x" * 300])
def test_no_key_of_what_is_no_domain(world: World, domain: str) -> None:
    assert world.browser().send("/domains/rotate", domain=domain).status_code == 404
    assert world.commands.calls == []


def test_the_doctor_tells_what_it_found_the_worst_first(world: World) -> None:
    world.findings(FINDING | {"level": "ok", "message": "fine"}, FINDING | {"seen": "nothing", "fix": "publish it"})
    browser = world.browser()
    looked(browser)
    found = examined(browser).words
    assert found.index("error spf example.com has no SPF record nothing Do: publish it") < found.index("ok spf fine")
    assert "error: 1 warning: 0 info: 0 ok: 1" in found
    assert "asked by operator" in found
    assert '"action": "doctor"' in world.said[-1]


def test_what_it_finds_is_kept_and_compared_with_the_time_before(world: World) -> None:
    world.findings(FINDING, FINDING | {"id": "dkim", "key": "other", "message": "no key"})
    examined(world.browser())
    world.findings(FINDING | {"message": "example.com has no SPF record still"}, FINDING | {"id": "mx", "key": "m"})
    browser = world.browser()
    found = examined(browser).words
    assert found.count("new") == 1
    assert "mx new example.com" in found
    assert "No longer so error dkim no key" in found
    assert "Compared with" in world.browser().get("/domains").text, "another process knows it, too"


def test_progress_is_told(world: World) -> None:
    found = console_domains._progress(Task(1.0, "operator", ['{"checks": ["a", "b", "c"]}', '{"check": "a"}']))
    assert found == {"runs": True, "done": 1, "of": 3, "left": ["b", "c"], "error": "", "by": "operator"}
    assert console_domains._progress(None) is None
    assert console_domains._progress(Task(1.0, "operator", [], "no", 2)) is not None


def test_a_doctor_that_fails_says_why_and_forgets_nothing(world: World) -> None:
    world.findings(FINDING)
    browser = world.browser()
    examined(browser)
    world.commands.answer("doctor", "", "postroad: config.yaml: 1 problem\n", 2)
    found = examined(browser).text
    assert "config.yaml: 1 problem" in found
    assert "has no SPF record" in found


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"doctor": [1]}', '{"doctor": null}', "\xff"])
def test_a_file_of_something_else_is_no_finding(world: World, text: str) -> None:
    world.kept.write_text(text)
    assert console_domains.kept() is None


def test_a_volume_that_is_full_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_domains, "CONSOLE", Path("/proc/nowhere/console.json"))
    console_domains.keep(Task(1.0, "o", [json.dumps({"checks": []}), json.dumps({"findings": [FINDING]})], "", 1))
    assert "is not kept" in world.said[-1]


def test_a_viewer_sees_them_without_addresses_and_asks_for_nothing(world: World) -> None:
    world.commands.answer("dns", {"records": [RECORD | {"value": "v=DMARC1; rua=mailto:post@example.com"}]})
    viewer = world.browser(Role.VIEWER)
    assert "Nobody has looked yet." in viewer.get("/domains").text
    assert world.commands.calls == []
    for path in ("look", "doctor", "rotate"):
        assert viewer.send(f"/domains/{path}", domain="example.com").status_code == 403
    assert viewer.client.get("/domains/records?format=bind").status_code == 403
    operator = Browser(viewer.api)
    looked(operator)
    viewer = Browser(viewer.api, Role.VIEWER)
    found = viewer.get("/domains")
    assert "post@" not in found.text
    assert "@example.com" in found.text
    assert not [each for each in found.having("form") if each["action"] != "/logout"]


@pytest.mark.parametrize("path", ["look", "doctor", "rotate"])
def test_a_form_of_another_site_does_nothing(world: World, path: str) -> None:
    browser = world.browser()
    for form, headers in ((None, HERE), (browser.session.form, {"Origin": "http://evil.example"})):
        data = {"domain": "example.com"} | ({"form": form} if form else {})
        assert browser.client.post(f"/domains/{path}", data=data, headers=headers).status_code == 403
    assert world.commands.calls == []


@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_published_is_text(world: World, value: str) -> None:
    pages = []
    for said in ("plain", value):
        fields = dict.fromkeys(("name", "type", "value", "purpose", "zone"), said)
        record = RECORD | fields | {"replaces": [said], "notes": [said]}
        world.commands.answer("dns", {"address": said, "records": [record]}, said)
        world.commands.answer("dkim list", {"keys": [KEY | {"domain": said, "selector": said, "note": said}]})
        found = {"message": said, "seen": said, "fix": said, "key": said, "id": said}
        world.findings(FINDING | found | {"message": "x"})
        browser = world.browser()
        examined(browser)
        world.findings(FINDING | found)
        pages.append(examined(browser).structure)
        world.kept.unlink()
    assert pages[0] == pages[1]
