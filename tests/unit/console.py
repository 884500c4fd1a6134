"""A browser in a test of the console: it signs in, reads pages and sees that nothing in them runs, and sends forms."""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from postroad.web import children
from postroad.web.sessions import Role
from tests.unit import api

PASSWORD = "correct horse battery"
HASH = PasswordHasher(1, 64, 1).hash(PASSWORD)
WITH = replace(api.SETTINGS, password=HASH)
HERE = {"Origin": "http://api.test"}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</textarea></option></select></table><h1>x",
    "<!-- --!><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}${7*7}",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066\u200f",
    "\x1b]0;x\x07\x00\x08\r\n\r\nSet-Cookie: a=b",
    "&lt;b&gt;&#60;i&#62;",
    "=cmd|' /C calc'!A0",
    "x" * 3000,
    "\ufffe\ud7ff\U0001f600\u0301" * 5,
)  # fmt: skip
"""What strangers write where they can: in addresses, replies, names of hosts, records."""


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of the tags that have these."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    @property
    def structure(self) -> list[tuple[str, tuple[str, ...]]]:
        """The tags, with the names of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.tags]


def page(answer: Any) -> Page:
    """The page, of which nothing is loaded from elsewhere, and nothing runs but the one script."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    found = Page(answer.text)
    assert re.findall("<script[^>]*>(.*?)</script>", answer.text, re.DOTALL) == [""]
    for tag, attributes in found.tags:
        assert tag not in {"style", "iframe", "object", "embed", "base", "img"}
        if tag == "script":
            assert attributes == {"src": "/console.js", "defer": None}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "formaction"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
            assert not (attributes.get(name) or "/").startswith("//")
        if tag == "input" and attributes.get("type") not in {"hidden", "checkbox"}:
            assert [each for name, each in found.tags if name == "label" and each.get("for") == attributes["id"]], (
                attributes
            )
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", answer.text)
    return found


def sign_in(browser: TestClient, password: str = PASSWORD, **headers: str) -> Any:
    sent = HERE | {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.post("/login", data={"password": password}, headers=sent, follow_redirects=False)


class Browser:
    """Signed in, as an operator unless something else is said."""

    def __init__(self, made: api.Api, role: Role = Role.OPERATOR, language: str = "en") -> None:
        self.api, self.client = made, made.client
        sessions = made.services._sessions
        token = sessions.begin(role)
        found = sessions.of(token)
        assert found
        self.session = found
        self.client.cookies.set("postroad", token, domain="api.test")
        self.client.headers["Accept-Language"] = language

    def get(self, path: str, status: int = 200) -> Page:
        answer = self.client.get(path, follow_redirects=False)
        assert answer.status_code == status, answer.text
        return page(answer)

    def send(self, path: str, **fields: Any) -> Any:
        """The answer to a form."""
        given = {"form": self.session.form} | {name.rstrip("_"): value for name, value in fields.items()}
        return self.client.post(path, data=given, headers=HERE, follow_redirects=False)

    def sent(self, path: str, **fields: Any) -> Page:
        """The page to which a form leads."""
        answer = self.send(path, **fields)
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])


FAKE = """
import json, sys
table = json.load(open({table!r}))
words = sys.argv[1:]
given = sys.stdin.read()
open({calls!r}, "a").write(json.dumps([words, given]) + "\\n")
out, err, code = table.get(" ".join(words[:2]), table.get(words[0], ["", "unknown", 9]))
print(out, end="")
print(err, end="", file=sys.stderr)
sys.exit(code)
"""


class Commands:
    """Stands in for the command line: it answers by a table, and notes what it was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._table, self._calls = folder / "table.json", folder / "calls"
        self._answers: dict[str, tuple[str, str, int]] = {}
        script = folder / "postroad.py"
        script.write_text(FAKE.format(table=str(self._table), calls=str(self._calls)))
        monkeypatch.setattr(children, "COMMAND", (sys.executable, str(script)))
        monkeypatch.setattr(children, "environment", lambda: dict(os.environ))

    def answer(self, words: str, out: object, err: str = "", code: int = 0) -> None:
        """Let a command, named by its first word or two, print this."""
        self._answers[words] = out if isinstance(out, str) else json.dumps(out), err, code
        self._table.write_text(json.dumps(self._answers))

    @property
    def calls(self) -> list[list[str]]:
        """The words of each call."""
        return [words for words, _ in self._lines()]

    @property
    def given(self) -> list[str]:
        """The standard input of each call."""
        return [given for _, given in self._lines()]

    def _lines(self) -> list[Any]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []


def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
