"""What holds for every form and page of the console, also for those to come."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.routing import Route

from postroad.web import children
from postroad.web.desk import OPERATORS_PAGES, PAGES
from postroad.web.render import FOLDER
from postroad.web.services import Services
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.console import HERE, WITH, Browser

OPEN = {"/login", "/logout", "/console.css", "/console.js", "/console.svg"}
"""What needs no session, or has a test of its own."""


def routes(method: str) -> list[str]:
    services = Services(WITH, Path("/nowhere"))
    found = [each for each in services.pages() if isinstance(each, Route)]
    return [each.path for each in found if method in (each.methods or ()) and each.path not in OPEN]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a command was run")

    monkeypatch.setattr(children, "answer", refuse)
    monkeypatch.setattr(children.Runner, "begin", refuse)


def test_there_are_pages_and_forms() -> None:
    assert len(routes("GET")) > 10
    assert len(routes("POST")) > 10
    assert {path for path, _ in PAGES} <= set(routes("GET"))
    assert {path for path, _ in PAGES} > OPERATORS_PAGES


@pytest.mark.parametrize("path", routes("POST"))
@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, HERE),
        ("", HERE),
        ("x" * 43, HERE),
        ("own", {}),
        ("own", {"Origin": "http://evil.example"}),
        ("own", {"Origin": "null"}),
        ("own", HERE | {"Sec-Fetch-Site": "cross-site"}),
        ("own", {"Sec-Fetch-Site": "same-site"}),
        ("own", {"Sec-Fetch-Site": "none"}),
    ],
)
def test_every_form_needs_its_token_and_is_from_here(
    engine: Engine, path: str, token: str | None, headers: dict[str, str]
) -> None:
    browser = Browser(api.of(engine, WITH))
    data = {} if token is None else {"form": browser.session.form if token == "own" else token}
    answer = browser.client.post(path, data=data | {"x": "y"}, headers=headers, follow_redirects=False)
    assert answer.status_code == 403


@pytest.mark.parametrize("path", routes("POST"))
def test_no_form_is_for_viewers_or_strangers(engine: Engine, path: str) -> None:
    viewer = Browser(api.of(engine, WITH), Role.VIEWER)
    assert viewer.send(path).status_code == 403
    stranger = api.of(engine, WITH).client
    answer = stranger.post(path, data={"form": "x"}, headers=HERE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", routes("POST"))
@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_no_form_of_another_kind_counts(engine: Engine, path: str, kind: str) -> None:
    browser = Browser(api.of(engine, WITH))
    body = f"form={browser.session.form}".encode()
    answer = browser.client.post(path, content=body, headers=HERE | {"Content-Type": kind}, follow_redirects=False)
    assert answer.status_code == 403


@pytest.mark.parametrize("path", routes("GET"))
def test_no_page_is_for_strangers(engine: Engine, path: str) -> None:
    answer = api.of(engine, WITH).client.get(path.replace("{id:path}", "q1"), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "set-cookie" not in answer.headers


def test_nothing_is_marked_safe_and_no_template_turns_escaping_off() -> None:
    for path in FOLDER.glob("*.j2"):
        text = path.read_text()
        assert not re.findall(r"\|\s*safe\b|autoescape|Markup", text), path.name
        bare = re.sub(r'"[^"]*"', '""', re.sub(r"\{%.*?%\}", "", text))
        assert not re.findall(r"""<[^>]* [\w-]+=(?!["])""", bare), f"{path.name}: an attribute without quotes"
    for path in Path("postroad/web").glob("*.py"):
        assert "Markup(" not in path.read_text(), path.name


def test_what_is_shown_as_it_is_is_an_id_or_our_own() -> None:
    """``own`` lets a viewer see what it marks: each use is looked at here."""
    allowed = {
        "session.form", "path", "asked.q", "asked.since", "asked.until", "asked.domain", "asked.sender", "asked",
        "story.status", "story.queue_id", "story.message_id", "step.kind", "act", "id", "domain", "host",
        "entry.sender_domain", "record.state", "level", "each.level", "each.id",
    }  # fmt: skip
    found = {name for path in FOLDER.glob("*.j2") for name in re.findall(r"\{\{ ([\w.]+) \| own", path.read_text())}
    assert found <= allowed
