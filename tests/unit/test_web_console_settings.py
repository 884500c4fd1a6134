"""The console's settings: where each value comes from, secrets hidden; and a check of another configuration."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from postroad.config import in_force
from postroad.config.load import read_all
from postroad.web import children
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.console import HERE, HOSTILE, WITH, Browser, Commands

VALUES = [
    {"key": "hostname", "value": "mail.example.com", "source": "POSTROAD_HOSTNAME"},
    {"key": "domains[0].name", "value": "example.com", "source": "line 2"},
    {"key": "domains[0].subdomains", "value": False, "source": None},
    {"key": "tls.on_smtp", "value": True, "source": None},
]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path, monkeypatch)
    made.answer("check --values", {"values": VALUES})
    return made


@pytest.fixture
def browser(engine: Engine, commands: Commands) -> Browser:
    return Browser(api.of(engine, WITH))


def test_what_is_set_is_shown_with_where_it_comes_from(browser: Browser, commands: Commands) -> None:
    found = browser.get("/settings").words
    assert 'hostname "mail.example.com" POSTROAD_HOSTNAME' in found
    assert 'domains[0].name "example.com" line 2' in found
    assert "tls.on_smtp" not in found
    assert "tls.on_smtp true default" in browser.get("/settings?all=1").words
    assert commands.calls[0] == ["check", "--values", "--json"]


def test_without_values_there_are_none(browser: Browser, commands: Commands) -> None:
    commands.answer("check --values", {"values": []})
    assert "Nothing is set." in browser.get("/settings").text


def test_a_configuration_that_can_t_be_read_is_told(browser: Browser, commands: Commands) -> None:
    commands.answer("check --values", "", "postroad: config.yaml: 1 problem\nAt 'domains': missing\n", 2)
    found = browser.get("/settings").text
    assert "At 'domains': missing" in found


def test_another_configuration_is_checked_and_stays_in_the_form(browser: Browser, commands: Commands) -> None:
    said = "warning: /dev/stdin is old\npostroad: /dev/stdin: 2 problems\nAt 'a': wrong\nAt 'b': wrong\n"
    commands.answer("check -", "", said, 2)
    answer = browser.send("/settings/check", yaml="a: 1\r\nb: <x>\r\n")
    assert answer.status_code == 200
    assert "A start would refuse it:" in answer.text
    for line in ("YAML: 2 problems", "At &#39;a&#39;: wrong", "At &#39;b&#39;: wrong", "YAML is old", "b: &lt;x&gt;"):
        assert line in answer.text
    assert commands.given[0] == "a: 1\nb: <x>\n"
    commands.answer("check -", "mail.example.com: relaying for nobody\n", "")
    assert "A start would take it." in browser.send("/settings/check", yaml="a: 1").text


def test_viewers_have_no_settings(engine: Engine, commands: Commands) -> None:
    viewer = Browser(api.of(engine, WITH), Role.VIEWER)
    viewer.get("/settings", 403)
    assert viewer.send("/settings/check", yaml="a: 1").status_code == 403
    assert not viewer.get("/messages").having("a", href="/settings")
    assert commands.calls == []


def test_a_form_of_another_site_checks_nothing(browser: Browser, commands: Commands) -> None:
    for form, headers in ((None, HERE), (browser.session.form, {"Origin": "http://evil.example"})):
        data = {"yaml": "a: 1"} | ({"form": form} if form else {})
        assert browser.client.post("/settings/check", data=data, headers=headers).status_code == 403
    assert commands.calls == []


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_text(browser: Browser, commands: Commands, value: str) -> None:
    pages = []
    for said in ("plain", value.replace("\n", " ").replace("\r", " ")):
        commands.answer("check --values", {"values": [{"key": "a", "value": said, "source": said}]})
        commands.answer("check -", "", f"postroad: {said}\nwarning: {said}\n", 2)
        pages.append((browser.get("/settings").structure, browser.send("/settings/check", yaml=said).text.count("<")))
    assert pages[0] == pages[1]


# --- the command


def test_each_value_has_its_source_and_secrets_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "hostname: mail.example.com\ndomains:\n  - name: example.com\n"
        "events:\n  store: postgresql://user@db.example/mail\n"
    )
    (tmp_path / "retry").write_text("7m")
    environ = {"POSTROAD_LOG__REDACT": "hash", "POSTROAD_DELIVERY__QUEUE__RETRY_FILE": str(tmp_path / "retry")}
    loaded = read_all(tmp_path / "config.yaml", environ, tmp_path / "none")
    found = {each.key: each for each in in_force.values(loaded)}
    assert (found["hostname"].value, found["hostname"].source) == ("mail.example.com", "line 1")
    assert (found["domains[0].name"].value, found["domains[0].name"].source) == ("example.com", "line 3")
    assert (found["log.redact"].value, found["log.redact"].source) == ("hash", "POSTROAD_LOG__REDACT")
    assert found["delivery.queue.retry"].value == "***"
    assert str(tmp_path / "retry") in (found["delivery.queue.retry"].source or "")
    assert found["delivery.queue.give_up_after"].source is None
    assert found["events.store"].value == "postgresql://***@db.example/mail"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("socks5://me:secret@proxy.example:1080", "socks5://***@proxy.example:1080"),
        (["http://a:b@c", {"d": "http://e:f@g"}], ["http://***@c", {"d": "http://***@g"}]),
        ("app@example.com", "app@example.com"),
        (7, 7),
    ],
)
def test_accounts_in_urls_are_hidden(value: object, shown: object) -> None:
    assert in_force._shown(value) == shown


def test_the_command_reads_standard_input_and_tells_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTROAD_IMAGE", raising=False)  # which tests of the image are told by, and no key has
    text = "hostname: mail.example.com\ndomains: [example.com]\n"
    found = json.loads(children.run("check", "-", "--values", "--json", given=text))["values"]
    assert {"key": "hostname", "value": "mail.example.com", "source": "line 1"} in found
    assert 'hostname: "mail.example.com"  (line 1)\n' in children.run("check", "-", "--values", given=text)
    code, _, err = children.answer("check", "-", given="hostname: mail.example.com\n")
    assert code == 2
    assert "/dev/stdin" in err
