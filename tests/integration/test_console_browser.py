"""The console of the image in a real browser: each page's task as a person does it, by keyboard, at phone size, in Korean."""

import re
import shutil
import smtplib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from postroad.testing import PostroadContainer
from tests.integration.authority import Authority
from tests.integration.conftest import RELAYS, Relays, letter, send, wait_until
from tests.internet.internet import Internet

OPERATOR, VIEWER = "correct horse battery", "another horse battery"
HOOKS, HOLDS = "hooks.console.example", "mx.console-holds.example"
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1100, "height": 800}
PATHS = ("/", "/messages", "/queue", "/suppressions", "/domains", "/webhooks", "/send", "/settings")
CHROMIUM = Path(__file__).with_name("chromium")
FIRST_PAGE = 150_000
"""Octets of the first page with all that it loads."""


@pytest.fixture(scope="module")
def folder(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("console")
    made.chmod(0o755)
    Authority(image, made).issue("good")
    texts = {"console": OPERATOR, "viewer": VIEWER, "hook": "whsec_" + "b2xk" * 8}
    for name, text in texts.items():
        (made / name).write_text(f"{text}\n")
        (made / name).chmod(0o444)
    return made


@pytest.fixture(scope="module")
def relay(image: str, internet: Internet, folder: Path, request: pytest.FixtureRequest) -> Iterator[PostroadContainer]:
    """A relay with some mail: delivered, bounced, held up."""
    internet.add_hooks(HOOKS)
    internet.add_watch(HOLDS, behaviour="holds")
    internet.publish(HOLDS.partition(".")[2], "MX", f"10 {HOLDS}.")
    (folder / "ca-hooks.pem").write_bytes(internet.ca_certificate())
    hook = {
        "name": "app", "url": f"https://{HOOKS}/ok", "secret_file": "/secrets/hook", "ca_file": "/secrets/ca-hooks.pem",
        "allow_private": True,
    }  # fmt: skip
    relays = Relays(image, internet)
    with relays.stack:
        request.node.stash[RELAYS] = relays.started
        made = relays(
            tls={"certificate_file": "/secrets/good.pem", "key_file": "/secrets/good.key"},
            web={
                "listen": "0.0.0.0:8080",
                "password_file": "/secrets/console",
                "viewer_password_file": "/secrets/viewer",
            },
            events={"webhooks": [hook]},
            delivery={"queue": {"retry": "4h"}},
            doctor={"receivers": ["rcpt.example"], "dnsbls": [], "ntp": []},
            mounts={str(folder): "/secrets"},
        )
        send(made, letter())
        bounced = send(made, letter(To="unknown@rcpt.example"))
        made.wait_for(bounced, "bounced")
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert shutil.which("chromium"), "Debian's chromium is not installed: make browser"
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


Opens = Callable[..., Page]


@pytest.fixture
def opens(relay: PostroadContainer, chromium: Browser) -> Iterator[Opens]:
    """Opens the console in a window of its own; at its end, no page had an error."""
    contexts, errors = [], []

    def open_(password: str | None = OPERATOR, **settings: Any) -> Page:
        usual: dict[str, Any] = {"viewport": WIDE, "locale": "en-US"}
        # the certificate is of an authority that this browser does not know
        context = chromium.new_context(
            base_url=f"https://{relay.address}:8080", ignore_https_errors=True, **usual | settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: errors.append(said.text) if said.type == "error" and "status of" not in said.text else None,
        )
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
        page.goto("/login")
        if password is not None:
            page.fill("#password", password)
            page.keyboard.press("Enter")
            page.wait_for_url("**/")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


def reach(page: Page, text: str) -> None:
    """Go by the Tab key to what has this text, and press it."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"the keyboard does not reach {text}")


def test_somebody_signs_in_looks_around_and_signs_out_by_keyboard_alone(opens: Opens) -> None:
    page = opens(None)
    field = page.locator("#password")
    expect(field).to_be_focused()
    page.keyboard.type("a wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("That is not the password.")
    expect(field).to_be_focused()  # a moment after it is there
    page.keyboard.type(OPERATOR)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for name in ("Messages", "Queue", "Suppressions", "Domains", "Webhooks", "Send a test", "Settings"):
        reach(page, name)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(page.locator("nav [aria-current]")).to_have_text(name)
    reach(page, "Sign out")
    page.wait_for_url("**/login")
    page.goto("/queue")
    page.wait_for_url("**/login")


def test_a_test_message_is_followed_to_its_end_without_a_reload(opens: Opens) -> None:
    page = opens()
    page.get_by_role("link", name="Send a test").click()
    page.get_by_label("To", exact=True).fill("user@rcpt.example")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/messages/*")
    page.evaluate("window.same = true")
    expect(page.locator("li.delivered")).to_contain_text("Taken by the receiving server", timeout=30_000)
    expect(page.locator("li.signed")).to_contain_text("Selector")
    expect(page.locator("li.delivered")).to_contain_text("TLSv1.3")
    assert page.evaluate("window.same") is True
    expect(page.locator("#live")).not_to_have_attribute("data-live", "5")


def test_a_bounce_is_found_and_says_what_to_do_and_its_address_gets_mail_again(opens: Opens) -> None:
    page = opens()
    page.goto("/messages")
    page.get_by_label("Address, queue id or Message-ID").fill("unknown@rcpt.example")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="bounced").first.click()
    expect(page.locator(".advice").first).to_contain_text("There is no such mailbox: take the address off your lists.")
    expect(page.locator("li.bounced blockquote").first).to_contain_text("550")
    page.get_by_role("link", name="Suppressions").click()
    row = page.locator("tr", has_text="unknown@rcpt.example")
    expect(row).to_contain_text("userunknown")
    row.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("unknown@rcpt.example gets mail again.")
    expect(page.locator("tr", has_text="unknown@rcpt.example")).to_have_count(0)


def test_addresses_are_suppressed_from_a_file_and_mail_to_them_is_refused(
    opens: Opens, relay: PostroadContainer, tmp_path: Path
) -> None:
    page = opens()
    page.goto("/suppressions")
    (tmp_path / "list.csv").write_text("recipient,reason\nleft@rcpt.example,unsubscribed\n")
    page.get_by_label("Choose a file").set_input_files(tmp_path / "list.csv")
    expect(page.get_by_label("The list", exact=True)).to_have_value(re.compile("left@rcpt.example"))
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("status")).to_contain_text("Added: 1 of 1")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(relay, letter(To="left@rcpt.example"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert "left@rcpt.example,unsubscribed" in Path(download.value.path()).read_text()


def test_an_attempt_is_ended_and_its_message_deleted(opens: Opens, relay: PostroadContainer) -> None:
    send(relay, letter(To=f"user@{HOLDS.partition('.')[2]}"))
    page = opens()
    page.goto("/queue")
    summary = page.locator("summary", has_text=HOLDS)
    expect(summary).to_be_visible(timeout=30_000)  # the page renews itself
    summary.click()
    page.get_by_role("link", name="End all with this receiver…").click()
    expect(page.locator("main")).to_contain_text("Their messages stay in the queue, and are tried again.")
    page.get_by_role("button", name="End attempts").click()
    expect(page.get_by_role("status").first).to_contain_text("Attempts that were ended: 1")
    row = page.locator("tr", has_text=f"user@{HOLDS.partition('.')[2]}")
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete the chosen ones…").click()
    expect(page.locator("main")).to_contain_text("Messages that are deleted for good: 1. Nobody gets them")
    page.get_by_role("button", name="Delete messages").click()
    expect(page.get_by_role("status").first).to_contain_text("1 deleted, 0 kept")
    expect(row).to_have_count(0)
    events = wait_until(lambda: [each for each in relay.events() if each.get("action") == "queue_delete"])
    assert (events[-1]["by"], bool(events[-1]["client_address"])) == ("operator", True)


def test_records_are_shown_with_their_state_and_copied(opens: Opens) -> None:
    page = opens(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/domains")
    record = page.locator("article", has_text="DMARC").first
    expect(record).to_be_visible(timeout=60_000)
    value = record.locator("pre").text_content()
    button = record.get_by_role("button").last
    button.click()
    expect(button).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == value
    with page.expect_download() as download:
        page.get_by_role("link", name="bind").click()
    assert "IN\tTXT" in re.sub(r" +", "\t", Path(download.value.path()).read_text())


def test_the_doctor_is_asked_and_what_it_finds_is_compared(opens: Opens) -> None:
    page = opens()
    for _ in range(2):
        page.goto("/domains")
        page.get_by_role("button", name="Ask the doctor now").click()
        expect(page.locator("#progress")).to_be_visible()
        expect(page.locator("#progress")).to_have_count(0, timeout=60_000)
        expect(page.locator(".findings li").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("Compared with")


def test_a_webhook_takes_a_test_event(opens: Opens) -> None:
    page = opens()
    page.goto("/webhooks")
    page.get_by_role("button", name="Post a test event").click()
    expect(page.get_by_role("status")).to_contain_text("app took the test event")


def test_settings_tell_where_values_come_from_and_a_configuration_is_checked(opens: Opens) -> None:
    page = opens()
    page.goto("/settings")
    row = page.locator("tr", has_text="hostname").first
    expect(row).to_contain_text(re.compile("line|POSTROAD_"))
    page.get_by_label("YAML", exact=True).fill("hostname: mail.sender.example\ndomain: [x]\n")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("main")).to_contain_text("A start would refuse it:", timeout=30_000)
    expect(page.get_by_label("YAML", exact=True)).to_have_value(re.compile("domain:"))


def test_a_viewer_sees_no_address_on_any_page(opens: Opens) -> None:
    page = opens(VIEWER)
    for path in PATHS[:-2]:
        page.goto(path)
        text = page.locator("body").inner_text()
        assert not re.findall(r"(?<![*\w])[\w.+-]+@[\w.-]+\.example", text), path
    page.goto("/messages")
    expect(page.locator("main")).to_contain_text("***@rcpt.example")
    assert page.goto("/settings").status == 403  # type: ignore[union-attr]


def test_what_a_stranger_wrote_runs_nowhere(opens: Opens, relay: PostroadContainer) -> None:
    hostile = '"<img src=x onerror=alert(1)>"@rcpt.example'
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail("app@sender.example")
        code, _ = smtp.docmd("RCPT", f"TO:<{hostile}>")
        if code == 250:  # else its refusal is what the console shows
            message = letter()
            message.replace_header("Message-ID", '<"><script>alert(1)</script>@sender.example>')
            smtp.data(message.as_string())
    page = opens()
    wait_until(lambda: page.goto("/messages") and "onerror" in page.locator("main").inner_text())
    assert page.locator("main img, main script").count() == 0
    link = page.locator("tr", has_text="onerror").first.get_by_role("link")
    if link.count():
        link.click()
        expect(page.locator("main")).to_contain_text("onerror=alert(1)")
        assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("locale", "viewport"), [("en-US", WIDE), ("ko-KR", PHONE)])
def test_every_page_is_fit_for_everybody(opens: Opens, locale: str, viewport: dict[str, int], scheme: str) -> None:
    page = opens(locale=locale, viewport=viewport, color_scheme=scheme)
    axe, found = Axe(), []
    for path in PATHS:
        page.goto(path)
        wrong = [each for each in axe.run(page).response["violations"] if each["impact"] in {"serious", "critical"}]
        found += [(path, each["id"], [node["target"] for node in each["nodes"]][:3]) for each in wrong]
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
        if locale == "ko-KR":
            assert re.search(r"[가-힣]", page.get_by_role("heading", level=1).inner_text()), path
    assert found == []


def test_the_first_page_is_small_and_quick(opens: Opens, capsys: pytest.CaptureFixture[str]) -> None:
    page = opens()
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(len(answer.body())))
    page.goto("/", wait_until="networkidle")
    usable = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    with capsys.disabled():
        sys.stdout.write(
            f"\nconsole, first page: {sum(sizes)} octets, {len(sizes)} requests, usable in {usable:.0f} ms\n"
        )
    assert sum(sizes) < FIRST_PAGE
    assert len(sizes) <= 4
