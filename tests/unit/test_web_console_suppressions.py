"""The console's suppression list: found, added, removed, taken from a file and given as one; by operators alone."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from postroad import system
from postroad.events import own
from postroad.feedback import listing, suppression
from postroad.feedback.suppression import SuppressedAddress
from postroad.runtime import log
from postroad.store import database
from postroad.web.sessions import Role
from tests.unit import api
from tests.unit.console import HERE, HOSTILE, WITH, Browser


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text, *__: found.append(text))
    monkeypatch.setattr(suppression, "SUPPRESSED", tmp_path / "suppressed")
    monkeypatch.setattr(system, "write_database", lambda *_: None)
    return found


@pytest.fixture
def browser(engine: Engine) -> Browser:
    return Browser(api.of(engine, WITH))


def put(engine: Engine, *addresses: str, **fields: Any) -> None:
    usual: dict[str, Any] = {"reason": "userunknown", "expires": None, "detail": "550 5.1.1 gone", "sender_domain": ""}
    entries = [SuppressedAddress(each, added=100.0 + i, **usual | fields) for i, each in enumerate(addresses)]
    with database.writing(engine) as connection:
        suppression.add(connection, entries)


def on_list(engine: Engine) -> dict[tuple[str, str], SuppressedAddress]:
    return {(each.recipient, each.sender_domain): each for each in listing.entries(engine)}


def test_the_list_has_reason_and_evidence_the_newest_first(engine: Engine, browser: Browser) -> None:
    put(engine, "old@x.example", "new@x.example")
    found = browser.get("/suppressions").words
    assert "Entries: 2" in found
    assert found.index("new@x.example userunknown 550 5.1.1 gone 1970-01-01") < found.index("old@x.example")
    assert "for good" in found


def test_a_search_finds_a_part_of_an_address(engine: Engine, browser: Browser) -> None:
    put(engine, "one@x.example", "two@y.example")
    found = browser.get("/suppressions?q=ONE@")
    assert "one@x.example" in found.text
    assert "two@y.example" not in found.text
    assert "No such address" in browser.get("/suppressions?q=nobody").text


def test_a_long_list_has_pages(engine: Engine, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.web.console_suppressions.MOST", 2)
    put(engine, *(f"a{number}@x.example" for number in range(5)))
    first = browser.get("/suppressions?q=@x")
    (link,) = first.having("a", class_="button", href="/suppressions?q=%40x&offset=2")
    second = browser.get(str(link["href"]))
    assert "a2@x.example" in second.text
    assert "a4@x.example" not in second.text
    assert second.having("a", href="/suppressions?q=%40x&offset=0")
    assert second.having("a", href="/suppressions?q=%40x&offset=4")
    for offset in ("-1", "x", "9" * 30, "²"):
        browser.get(f"/suppressions?offset={offset}")


def test_addresses_are_added(engine: Engine, browser: Browser, said: list[str]) -> None:
    put(engine, "there@x.example")
    found = browser.sent(
        "/suppressions/add", addresses=" New@X.example\r\nthere@x.example\r\n\r\n", reason="asked us", days="30",
        sender_domain="",
    )  # fmt: skip
    assert "Added: 1 of 2. Suppressed now: 2." in found.text
    entry = on_list(engine)["new@x.example", ""]
    assert (entry.reason, round((entry.expires or 0) - entry.added)) == ("askedus", 30 * 86400)
    assert said == [own.console("operator", "127.0.0.1", "suppress_add", "2 addresses: new@x.example, there@x.example")]
    browser.sent("/suppressions/add", addresses="new@x.example", sender_domain="Sender.example")
    assert on_list(engine)["new@x.example", "sender.example"].expires is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"addresses": "no address"}, "not an address"),
        ({"addresses": "\r\n"}, "Give one address at least."),
        ({"addresses": "a@x.example", "days": "0"}, "Days are a number"),
        ({"addresses": "a@x.example", "days": "many"}, "Days are a number"),
        ({"addresses": "a@x.example", "days": "36501"}, "Days are a number"),
        ({"addresses": "a@x.example", "sender_domain": "no domain"}, "not a domain"),
        ({}, "Give one address at least."),
    ],
)
def test_what_can_t_be_added_is_told(
    engine: Engine, browser: Browser, said: list[str], fields: dict[str, str], told: str
) -> None:
    assert told in browser.sent("/suppressions/add", **fields).text
    assert on_list(engine) == {}
    assert said == []


def test_an_entry_is_removed_for_its_own_sender_domain_alone(engine: Engine, browser: Browser, said: list[str]) -> None:
    put(engine, "a@x.example")
    put(engine, "a@x.example", sender_domain="sender.example")
    assert "a@x.example gets mail again." in browser.sent("/suppressions/remove", address="a@x.example").text
    assert set(on_list(engine)) == {("a@x.example", "sender.example")}
    assert "is not on the list" in browser.sent("/suppressions/remove", address="a@x.example").text
    browser.sent("/suppressions/remove", address="a@x.example", sender_domain="sender.example")
    assert on_list(engine) == {}
    assert [line for line in said if '"suppress_remove", "message": "a@x.example for sender.example"' in line]


def test_what_is_exported_can_be_imported(engine: Engine, browser: Browser, said: list[str]) -> None:
    put(engine, "a@x.example", detail="=1+1")
    put(engine, "b@x.example", sender_domain="sender.example")
    before = on_list(engine)
    answer = browser.client.get("/suppressions/export")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="suppressions.csv"'
    assert "'=1+1" in answer.text, "a spreadsheet takes it for text"
    with database.writing(engine) as connection:
        suppression.remove(connection, ["a@x.example", "b@x.example"])
    assert "Added: 2 of 2" in browser.sent("/suppressions/import", list=answer.text).text
    assert on_list(engine) == before
    assert [line.partition('"action": "')[2].partition('"')[0] for line in said] == [
        "suppress_export", "suppress_import",
    ]  # fmt: skip


def test_ses_lists_are_imported(engine: Engine, browser: Browser) -> None:
    text = '{"SuppressedDestinationSummaries": [{"EmailAddress": "a@x.example", "Reason": "BOUNCE"}]}'
    browser.sent("/suppressions/import", list=text, sender_domain="sender.example")
    assert set(on_list(engine)) == {("a@x.example", "sender.example")}


@pytest.mark.parametrize("text", ["no address", "{", '{"a": 1}', f'a@x.example,"{"x" * 200_000}"'])
def test_what_is_no_list_is_told_and_adds_nothing(engine: Engine, browser: Browser, text: str) -> None:
    assert browser.sent("/suppressions/import", list=text).having("p", class_="notice failed")
    assert on_list(engine) == {}


def test_a_viewer_changes_nothing_exports_nothing_and_sees_no_address(engine: Engine, said: list[str]) -> None:
    put(engine, "gone@x.example", detail="550 <gone@x.example> gone is unknown")
    viewer = Browser(api.of(engine, WITH), Role.VIEWER)
    found = viewer.get("/suppressions")
    assert "***@x.example" in found.text
    assert "gone" not in found.text
    assert not found.having("form", method="post", action="/suppressions/add")
    assert viewer.get("/suppressions/export", 403)
    for path in ("add", "remove", "import"):
        fields = {"addresses": "a@x.example", "address": "gone@x.example", "list": "a@x.example"}
        assert viewer.send(f"/suppressions/{path}", **fields).status_code == 403
    assert set(on_list(engine)) == {("gone@x.example", "")}
    assert said == []


@pytest.mark.parametrize("path", ["add", "remove", "import"])
def test_a_form_of_another_site_does_nothing(engine: Engine, browser: Browser, path: str) -> None:
    put(engine, "gone@x.example")
    fields = {"addresses": "a@x.example", "address": "gone@x.example", "list": "a@x.example"}
    for form, headers in ((None, HERE), (browser.session.form, {"Origin": "http://evil.example"})):
        data = fields | ({"form": form} if form else {})
        assert browser.client.post(f"/suppressions/{path}", data=data, headers=headers).status_code == 403
    assert set(on_list(engine)) == {("gone@x.example", "")}


@pytest.mark.parametrize("value", HOSTILE)
def test_what_strangers_wrote_is_text(engine: Engine, browser: Browser, value: str) -> None:
    pages = []
    for said in ("plain", value):
        address = "".join(char for char in said if suppression.is_plain(char))[:200] + "@x.example"
        put(engine, address, reason=said[:32], detail=said)
        pages.append(browser.get("/suppressions").structure)
        with database.writing(engine) as connection:
            suppression.remove(connection, [address])
    assert pages[0] == pages[1]
    for path in ("add", "remove", "import"):
        fields = dict.fromkeys(("addresses", "address", "list", "sender_domain", "reason", "days"), value)
        assert browser.send(f"/suppressions/{path}", **fields).status_code in {303, 403}
        browser.get("/suppressions")
    browser.client.get("/suppressions", params={"q": value})
