"""What the console's first page weighs and takes with many events in the store, and the memory of its process."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine, text

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays
from tests.integration.test_console_browser import FIRST_PAGE, OPERATOR, PATHS, chromium, folder
from tests.integration.test_postgresql import PostgresRelays, engine, store
from tests.integration.test_postgresql import start_relay as start_sharing

__all__ = ["chromium", "engine", "folder", "start_sharing", "store"]

EVENTS = int(os.environ.get("POSTROAD_CONSOLE_EVENTS", "20000"))
"""Events in the store; ``make console-figures`` has a million."""
KEPT = 30 * 86400
"""Seconds that they are spread over: the default of ``events.keep``."""
MEMORY = 60 << 20
"""Octets that the process may take."""
LOADS = 20
WEB = {"listen": "0.0.0.0:8080", "password_file": "/secrets/console"}

FILL = f"""
INSERT INTO events
    (time, kind, queue_id, message_id, sender, recipient, sender_domain, recipient_domain, reason, hard, provider, data)
SELECT
    :now - {KEPT}.0 * i / {EVENTS},
    CASE WHEN i % 3 = 0 THEN 'accepted' WHEN i % 100 = 1 THEN 'bounced' WHEN i % 20 = 1 THEN 'deferred'
        WHEN i % 3 = 1 THEN 'delivered' ELSE 'signed' END,
    'q' || (i / 3), '<' || (i / 3) || '@sender.example>', 'app@sender.example', 'user' || (i / 3) || '@rcpt.example',
    'sender.example', 'rcpt.example', CASE WHEN i % 100 = 1 THEN 'userunknown' END, i % 100 = 1,
    CASE WHEN i % 3 = 1 THEN 'gmail' END,
    '{{"event": "delivered", "time": "2026-11-26T12:00:00.000Z", "program": "sendmail", "queue_id": "q' || (i / 3)
        || '", "relay_host": "mx.rcpt.example", "dsn": "2.0.0", "reply": "250 2.0.0 Ok: queued as 7F691D5E283"}}'
FROM SERIES
"""
IN_SQLITE = FILL.replace(
    "FROM SERIES",
    f"FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {EVENTS}) SELECT i FROM n)",
)
IN_POSTGRESQL = FILL.replace("FROM SERIES", f"FROM generate_series(1, {EVENTS}) AS i")
INSIDE = """
import sqlite3, sys, time
with sqlite3.connect("/var/lib/postroad/events/events.db", timeout=60) as connection:
    connection.execute(sys.stdin.read(), {"now": time.time()})
"""
PSS = (
    "for each in /proc/[0-9]*; do case $(tr '\\0' ' ' < $each/cmdline 2>/dev/null) in */python3' -m postroad.web '*)"
    " sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' $each/smaps_rollup;; esac; done"
)
"""Prints the memory of the process in KiB, its part of what it shares with others among it."""


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def shown(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\nconsole, {line}\n")

    return shown


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(IN_POSTGRESQL), {"now": time.time()})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE events"))


def visit(relay: PostroadContainer, chromium: Browser, show: Callable[[str], None], where: str) -> None:
    """Load the first page again and again, then each page once."""
    context = chromium.new_context(base_url=f"https://{relay.address}:8080", ignore_https_errors=True)
    page = context.new_page()
    page.goto("/login")
    page.fill("#password", OPERATOR)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(len(answer.body())))
    page.goto("/", wait_until="networkidle")
    assert "Accepted" in page.locator("main").inner_text()
    assert sum(sizes) < FIRST_PAGE
    assert len(sizes) <= 4
    octets, requests = sum(sizes), len(sizes)
    entry = "performance.getEntriesByType('navigation')[0]"
    first, usable = [], []
    for _ in range(LOADS):
        page.goto("/")
        first.append(page.evaluate(f"{entry}.responseStart"))
        usable.append(page.evaluate(f"{entry}.domContentLoadedEventEnd"))
    show(
        f"first page, {EVENTS:,} events in {where}: {octets:,} octets in {requests} requests; median of {LOADS}:"
        f" first octet after {statistics.median(first):.0f} ms, usable after {statistics.median(usable):.0f} ms"
    )
    for path in PATHS:
        page.goto(path)
    context.close()


def test_many_events_in_sqlite(
    start_relay: Relays, chromium: Browser, folder: Path, show: Callable[[str], None]
) -> None:
    relay = start_relay(web=WEB, mounts={str(folder): "/secrets"})
    code, said = relay.shell("postroad stats")
    assert code == 0, said
    script = f"/opt/postroad/venv/bin/python3 -c '{INSIDE}' <<'END'\n{IN_SQLITE}\nEND"
    code, said = relay.shell(script)
    assert code == 0, said
    visit(relay, chromium, show, "SQLite")
    memory = int(relay.shell(PSS)[1]) * 1024
    show(f"memory of its process after a visit to each page: {memory / 2**20:.1f} MiB")
    assert memory < MEMORY


def test_many_events_in_postgresql(
    start_sharing: PostgresRelays, engine: Engine, chromium: Browser, folder: Path, show: Callable[[str], None]
) -> None:
    fill(engine)
    start_sharing.mounts[str(folder)] = "/secrets"
    relay = start_sharing(web=WEB)
    visit(relay, chromium, show, "PostgreSQL")


def test_without_it_there_is_no_process(start_relay: Relays) -> None:
    assert start_relay().shell(PSS)[1] == ""
