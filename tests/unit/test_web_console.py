"""The console: who gets in, what a page may load, what strangers wrote is text, and what the overview tells."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine
from starlette.testclient import TestClient

from postroad.checks import port25
from postroad.errors import PostroadError
from postroad.runtime import health, log, looks
from postroad.store import counters
from postroad.web import console, console_domains, console_forms, console_messages, overview
from postroad.web.children import Task
from postroad.web.overview import Hour, bars
from postroad.web.passwords import FREE, LONGEST_WAIT, Password, Throttle
from postroad.web.render import FOLDER
from postroad.web.sessions import IDLE, LONGEST, MOST, Sessions
from postroad.web.words import CATALOGUE, language
from tests.unit import api
from tests.unit.api import put
from tests.unit.console import HASH, HERE, PASSWORD, WITH, Page, page, sign_in

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}\u202e"


@pytest.fixture(autouse=True)
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "tell", lambda _, text, *__: said.append(text))
    monkeypatch.setattr(health, "HEALTH", tmp_path / "health")
    monkeypatch.setattr(overview, "DOCTOR", tmp_path / "doctor.json")
    monkeypatch.setattr(overview, "QUEUE", tmp_path)
    monkeypatch.setattr(console_domains, "CONSOLE", tmp_path / "console.json")
    (tmp_path / "health").write_text("ready 1\n\n")
    return said


@pytest.fixture
def browser(engine: Engine) -> TestClient:
    return api.of(engine, WITH).client


# --- who gets in


def test_nobody_sees_anything_without_the_password(browser: TestClient) -> None:
    answer = browser.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert page(browser.get("/login")).text.count("Sign in") >= 2


def test_the_password_opens_the_console_until_somebody_signs_out(browser: TestClient, around: list[str]) -> None:
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/", f"max-age={LONGEST:.0f}"))
    found = page(browser.get("/"))
    assert "Overview" in found.text
    (form,) = [attributes["value"] for tag, attributes in found.tags if attributes.get("name") == "form"]
    assert browser.get("/login", follow_redirects=False).status_code == 303
    answer = browser.post("/logout", data={"form": form}, headers=HERE, follow_redirects=False)
    assert answer.headers["location"] == "/login"
    assert browser.get("/", follow_redirects=False).status_code == 303
    assert around == ['console {"by": "operator", "client_address": "127.0.0.1", "action": "signed_in"}']


def test_a_session_that_was_signed_out_is_no_more(browser: TestClient) -> None:
    sign_in(browser)
    token = browser.cookies["postroad"]
    (form,) = re.findall(r'name="form" value="([^"]+)"', browser.get("/").text)
    browser.post("/logout", data={"form": form}, headers=HERE)
    browser.cookies.set("postroad", token, domain="api.test")
    assert browser.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "given",
    ["", " ", PASSWORD + " ", PASSWORD.upper(), "x" * 300, pytest.param(HASH, id="its hash"), "\ud800", "\0"],
)
def test_another_password_opens_nothing(given: str) -> None:
    assert Password(HASH).fits(PASSWORD)
    assert not Password(HASH).fits(given)


def test_of_a_password_in_the_clear_a_hash_is_kept() -> None:
    kept = Password(PASSWORD)
    assert kept.fits(PASSWORD)
    assert PASSWORD not in str(vars(kept))


def test_the_other_password_makes_a_viewer(engine: Engine, around: list[str]) -> None:
    made = api.of(engine, replace(WITH, viewer_password=PasswordHasher(1, 64, 1).hash("a viewer's password")))
    assert sign_in(made.client, "a viewer's password").status_code == 303
    assert '"by": "viewer"' in around[-1]
    found = page(made.client.get("/"))
    assert not found.having("a", href="/settings")
    assert made.client.get("/settings").status_code == 403
    assert sign_in(made.client).status_code == 303
    assert made.client.get("/queue/confirm?do=drop").status_code == 404, "an operator may"
    assert sign_in(made.client, "another password").status_code == 401


def test_who_guesses_has_to_wait_longer_and_longer(browser: TestClient, around: list[str]) -> None:
    for _ in range(FREE):
        assert sign_in(browser, "wrong password").status_code == 401
    answer = sign_in(browser)  # the right one would come too late for who tries one after the other
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert "set-cookie" not in answer.headers
    assert around == ["web: a wrong password for the console from 127.0.0.1"] * FREE


def test_waits_are_by_network_and_end() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    for _ in range(FREE):
        assert throttle.wait("2001:db8::1") == 0
    assert throttle.wait("2001:db8::2") == 1, "one client has a whole /64"
    assert throttle.wait("2001:db8:0:1::2") == 0
    waits = []
    for _ in range(20):
        wait = throttle.wait("2001:db8::1")
        waits.append(wait)
        now += wait
        assert throttle.wait("2001:db8::1") == 0
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_WAIT
    throttle.forgive("2001:db8::1")
    assert throttle.wait("2001:db8::1") == 0


def test_addresses_that_guessed_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.web.passwords.MOST", 3)
    throttle = Throttle(lambda: 0.0)
    for _ in range(FREE):
        throttle.wait("192.0.2.1")
    assert throttle.wait("::ffff:192.0.2.1") == 1, "the same address"
    for number in range(3):
        throttle.wait(f"198.51.100.{number}")
    assert throttle.wait("192.0.2.1") == 0


def test_sessions_end_when_unused_when_old_and_when_there_are_many() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    first = sessions.begin()
    now = IDLE
    assert sessions.of(first)
    now = 2 * IDLE + 1
    assert sessions.of(first) is None
    second = sessions.begin()
    begun = now
    while now - begun <= LONGEST:
        assert sessions.of(second)
        now += IDLE
    assert sessions.of(second) is None
    third = sessions.begin()
    for _ in range(MOST):
        sessions.begin()
    assert sessions.of(third) is None


def test_another_password_ends_all_sessions() -> None:
    sessions = Sessions()
    sessions.belong_to("one")
    token = sessions.begin()
    sessions.belong_to("one")
    assert sessions.of(token)
    sessions.belong_to("two")
    assert sessions.of(token) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://api.test.evil.example"},
        {"Origin": "http://api.test", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_another_site_signs_nobody_in_or_out(browser: TestClient, headers: dict[str, str]) -> None:
    answer = browser.post("/login", data={"password": PASSWORD}, headers=headers, follow_redirects=False)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    sign_in(browser)
    (form,) = re.findall(r'name="form" value="([^"]+)"', browser.get("/").text)
    assert browser.post("/logout", data={"form": form}, headers=headers, follow_redirects=False).status_code == 403
    assert browser.get("/", follow_redirects=False).status_code == 200


@pytest.mark.parametrize("given", [{}, {"form": ""}, {"form": "x" * 43}])
def test_signing_out_needs_the_session_s_own_form(browser: TestClient, given: dict[str, str]) -> None:
    sign_in(browser)
    assert browser.post("/logout", data=given, headers=HERE, follow_redirects=False).status_code == 403
    assert browser.get("/", follow_redirects=False).status_code == 200


@pytest.mark.parametrize("site", ["same-origin"])
def test_a_browser_that_says_where_a_form_is_from_needs_no_origin(browser: TestClient, site: str) -> None:
    answer = browser.post(
        "/login", data={"password": PASSWORD}, headers={"Sec-Fetch-Site": site}, follow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"password=x"),
        ("application/json", b'{"password": "x"}'),
        ("application/x-www-form-urlencoded", b"password=" + b"x" * console_forms.LARGEST_FORM),
        ("application/x-www-form-urlencoded", b"&" * 1000),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b""),
    ],
)
def test_what_is_no_form_signs_nobody_in(browser: TestClient, kind: str, body: bytes) -> None:
    answer = browser.post("/login", content=body, headers=HERE | {"Content-Type": kind}, follow_redirects=False)
    assert answer.status_code in {401, 403}


@pytest.mark.parametrize("token", ["", "x", "x" * 5000, '";path=/', "ü"])
def test_a_made_up_cookie_opens_nothing(browser: TestClient, token: str) -> None:
    answer = browser.get("/", headers=[(b"Cookie", f"postroad={token}".encode())], follow_redirects=False)
    assert answer.status_code == 303


def test_behind_tls_the_cookie_is_for_this_host_alone_and_over_tls(engine: Engine) -> None:
    for more in ({"tls": True}, {"proxies": ("127.0.0.0/8",)}):
        cookie = sign_in(api.of(engine, replace(WITH, **more)).client).headers["set-cookie"]
        assert cookie.startswith("__Host-postroad=")
        assert "; Secure" in cookie
        assert "domain" not in cookie.lower()


def test_behind_a_proxy_its_last_word_tells_who_guesses(engine: Engine) -> None:
    browser = api.of(engine, replace(WITH, proxies=("127.0.0.0/8",))).client
    for number in range(FREE):
        assert sign_in(browser, "wrong", X_Forwarded_For=f"10.0.0.{number}, 203.0.113.7").status_code == 401
    assert sign_in(browser, "wrong", X_Forwarded_For="203.0.113.7").status_code == 429
    assert sign_in(browser, X_Forwarded_For="203.0.113.7, 203.0.113.8").status_code == 303


def test_without_a_proxy_nobody_says_who_he_is(browser: TestClient) -> None:
    for number in range(FREE):
        assert sign_in(browser, "wrong", X_Forwarded_For=f"10.0.0.{number}").status_code == 401
    assert sign_in(browser, "wrong", X_Forwarded_For="10.0.0.99").status_code == 429


def test_without_a_password_there_is_no_console(engine: Engine) -> None:
    client = api.of(engine).client
    assert {client.get(path).status_code for path in ("/", "/login", "/console.css")} == {404}


def test_a_session_is_no_key_and_a_key_no_session(browser: TestClient) -> None:
    assert browser.get("/", headers=api.bearer(api.ALL), follow_redirects=False).status_code == 303
    sign_in(browser)
    assert browser.get("/v1/stats").status_code == 401


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/console.js", "text/javascript"), ("/console.svg", "image/svg+xml"), ("/console.css", "text/css")],
)
def test_what_pages_load_is_what_it_says(browser: TestClient, path: str, kind: str) -> None:
    answer = browser.get(path)
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.content) < 15_000


def test_the_script_makes_no_markup_of_text(browser: TestClient) -> None:
    text = browser.get("/console.js").text
    assert not [
        word for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(") if word in text
    ]


def test_the_style_sheet_loads_nothing(browser: TestClient) -> None:
    answer = browser.get("/console.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert len(answer.content) < 15_000


# --- the overview


def shown(browser: TestClient, **headers: str) -> Page:
    sign_in(browser)
    return page(browser.get("/", headers={name.replace("_", "-"): value for name, value in headers.items()}))


def test_the_last_day_is_counted_and_judged(engine: Engine, browser: TestClient) -> None:
    for number in range(9):
        put(engine, f"q{number}", "accepted", "delivered", relay_host="gmail-smtp-in.l.google.com")
    put(engine, "gone", "accepted", "deferred", "bounced")
    put(engine, "old", "accepted", "bounced", ago=25 * 3600)
    found = shown(browser)
    text = " ".join(found.text.split())
    assert "Accepted 10 Delivered 9 Deferred (attempts) 1 Bounced 1 Rejected 0 Bounce rate 10.0%" in text
    assert "10 % or more: providers may stop you" in text
    assert "Complaint rate 0.00% below 0.1 %" in text
    assert "userunknown 0 0 1" in text
    assert {attributes["class"] for tag, attributes in found.tags if tag == "rect"} == {
        "delivered",
        "deferred",
        "bounced",
    }


def test_it_tells_how_soon_mail_was_delivered(engine: Engine, browser: TestClient) -> None:
    assert "Delivered within" not in shown(browser).text
    for number, delay in enumerate((0, 7, 45, 5000)):
        put(engine, f"q{number}", "accepted", "delivered", delay=delay)
    assert "10s 50.0% 1m 75.0% 5m 75.0% 1h 75.0%" in shown(browser).words
    assert set(overview.WITHIN) < set(counters.BUCKETS)


def test_relays_that_share_a_database_are_counted_apart(engine: Engine, browser: TestClient) -> None:
    put(engine, "q1", "accepted", "delivered")
    assert "By relay" not in shown(browser).text
    with engine.begin() as connection:
        connection.exec_driver_sql("insert into relays (id, name) values (7, 'relay-b')")
        connection.exec_driver_sql("update events set relay = 7")
    another = api.of(engine, WITH).client  # which has counted no hour yet: one that is over is read once
    assert "By relay Relay Delivered Deferred (attempts) Bounced relay-b 1 0 0" in shown(another).words


def test_before_the_first_message_it_leads_through_the_first_steps(engine: Engine, browser: TestClient) -> None:
    found = shown(browser)
    text = found.words
    assert text.index("Publish the records") < text.index("port 25 is open") < text.index("Send a first message")
    for path in ("/domains", "/domains#doctor", "/send"):
        assert found.having("a", href=path)
    assert "done" not in text
    put(engine, "q1", "accepted")
    assert "Publish the records" not in shown(browser).text


def test_steps_that_the_doctor_found_done_are_done(
    browser: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_domains, "CONSOLE", tmp_path / "console.json")
    missing = {"id": "spf", "level": "error", "message": "m", "record": {"name": "n", "type": "TXT", "value": "v"}}
    closed = {"id": port25.ID, "level": "error", "message": "m"}
    for findings, done in (([missing], 1), ([closed], 1), ([missing, closed], 0), ([closed | {"level": "ok"}], 2)):
        console_domains.keep(Task(1.0, "o", ["{}", json.dumps({"findings": findings})], "", 1))
        assert shown(browser).words.count("done") == done


def test_what_is_wrong_is_told(
    browser: TestClient, tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "health").write_text(f"degraded 1\n\n{HOSTILE}\n")
    found = looks.Look(1.0, {"spf": looks.Standing(errors=(HOSTILE,)), "dkim": looks.Standing()})
    monkeypatch.setattr(looks, "read", lambda _: found)
    put(engine, "q1", "accepted", "bounced", reply=HOSTILE, relay_host=HOSTILE, recipient=HOSTILE, sender=HOSTILE)
    told = shown(browser)
    assert told.text.count("<script>alert(1)</script>\"'&{{7*7}} ") == 2
    assert "\u202e" not in told.text


def test_a_store_that_cannot_be_read_leaves_the_rest_of_the_page() -> None:
    def fails() -> Engine:
        raise PostroadError(f"it is gone {HOSTILE}")

    told = shown(api.of(fails, WITH).client)
    assert "The event store can't be read: it is gone <script>" in told.text
    assert "This relay" in told.text


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("de,fr", "en"),
        ("de;q=1,ko;q=0.5", "ko"),
        ("ko;q=x", "en"),
        ("ko;q=9", "en"),
        ("ko;q=nan", "en"),
        ("*", "en"),
        ("\u202e" * 1000, "en"),
    ],
)
def test_the_language_is_the_browser_s(accepted: str, chosen: str) -> None:
    assert language(accepted) == chosen


def test_every_page_is_korean_for_who_reads_korean(browser: TestClient) -> None:
    assert "비밀번호" in page(browser.get("/login", headers={"Accept-Language": "ko-KR"})).text
    told = shown(browser, Accept_Language="ko-KR")
    assert "최근 24시간" in told.text
    assert ("html", {"lang": "ko"}) in told.tags


def test_the_catalogue_is_whole() -> None:
    for name, (english, korean) in CATALOGUE.items():
        assert english, name
        assert re.search(r"[가-힣]", korean), name
        assert english.count("{}") == korean.count("{}"), name


def test_no_word_is_there_twice_and_none_is_not_used() -> None:
    text = (FOLDER / "words.toml").read_text()
    names = re.findall(r"^(\w+) = ", text, flags=re.MULTILINE)
    assert sorted(names) == sorted(CATALOGUE)
    used = "".join(path.read_text() for path in FOLDER.glob("*.j2"))
    used += "".join(path.read_text() for path in Path(console.__file__).parent.glob("*.py"))
    groups = ("status_", "step_", "class_", "fact_", "rate_", "spam_", "stage_", "level_", "confirm_", "happens_")
    unused = [name for name in names if name not in used and not name.startswith(groups)]
    assert not unused


def test_no_word_has_the_name_of_a_dict_s_own() -> None:
    assert not [name for name in CATALOGUE if hasattr(dict, name)], "a template would find that instead"


def test_every_class_of_failure_has_its_advice() -> None:
    advised = {name.removeprefix("class_") for name in CATALOGUE if name.startswith("class_")}
    assert advised == set(console_messages.REASONS)


def test_the_chart_is_as_high_as_its_highest_hour() -> None:
    hours = [
        Hour(0, {"delivered": 3, "deferred": 1, "bounced": 0}),
        Hour(3600, {"delivered": 0, "deferred": 0, "bounced": 1}),
    ]
    found = bars(hours)
    assert [(bar.kind, bar.x, bar.y, bar.height) for bar in found] == [
        ("delivered", 0, 30.0, 90.0), ("deferred", 0, 0.0, 30.0), ("bounced", 20, 90.0, 30.0),
    ]  # fmt: skip
    assert bars([Hour(0, dict.fromkeys(overview.STACK, 0))]) == []
