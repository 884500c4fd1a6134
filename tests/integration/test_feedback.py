"""What the feedback promises as a whole: a dead mailbox is known, posted, refused, counted, and a new container knows it."""

import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, send, wait_until
from tests.integration.test_http import metrics
from tests.integration.test_trace import messages, refused
from tests.integration.test_webhooks import DOCUMENTED, NEW, came, hook
from tests.internet.internet import Internet

DEAD = "unknown-feedback@rcpt.example"
HOOKS = "hooks.feedback.example"
PROMISED = 2.0
BORNE = 15.0
"""Seconds: what a test's machine may make of it."""
WATCH = f"""
import sqlite3, time
while True:
    try:
        with sqlite3.connect("file:/var/lib/postroad/events/events.db?mode=ro", uri=True) as store:
            if store.execute("SELECT 1 FROM events WHERE kind = ? AND recipient = ?", ("bounced", "{DEAD}")).fetchone():
                print(time.time())
                break
    except sqlite3.Error:
        pass
    time.sleep(0.02)
"""


def known(relay: PostroadContainer) -> None:
    """All that is known of the dead mailbox: its class, that it is refused, and that both were counted."""
    first = messages(relay, DEAD)[0]
    assert (first["status"], first["class"], first["hard"]) == ("bounced", "userunknown", True)
    code, text = refused(relay, DEAD)
    assert code == 550
    assert text.startswith("5.1.1")
    assert "suppressed (userunknown): postroad suppress remove lifts it" in text
    found = metrics(relay)
    assert found["postroad_deliveries_total,userunknown,other,bounced"] == 1
    assert found["postroad_suppressed_addresses"] == 1


@pytest.mark.filterwarnings("default:the bounce was known")
def test_a_dead_mailbox(start_relay: Relays, internet: Internet, volumes: Callable[[str], str], tmp_path: Path) -> None:
    state, hooks = volumes("state"), internet.add_hooks(HOOKS)
    (tmp_path / "ca.pem").write_bytes(internet.ca_certificate())
    (tmp_path / "secret").write_text(NEW)
    tmp_path.chmod(0o755)
    webhook = hook("feedback", url=f"https://{HOOKS}/feedback", types=["bounced"])
    relay = start_relay(state=state, mounts={str(tmp_path): "/secrets"}, events={"webhooks": [webhook]})
    metrics(relay)  # the recorder runs
    relay.shell(f"(python3 -c '{WATCH}' > /tmp/seen 2>&1 &)")
    message_id = send(relay, letter(To=DEAD))
    bounced = relay.wait_for(message_id, "bounced")
    wait_until(lambda: relay.shell("test -s /tmp/seen")[0] == 0, timeout=60)
    seen = float(relay.shell("cat /tmp/seen")[1])
    took = seen - datetime.fromisoformat(bounced["time"]).timestamp()
    warnings.warn(f"the bounce was known {took:.2f} s after it was logged ({PROMISED:g} s are promised)", stacklevel=1)
    assert 0 <= took < BORNE
    wait_until(lambda: refused(relay, DEAD)[0] == 550)
    known(relay)
    wait_until(lambda: metrics(relay).get("postroad_rejects_total,suppressed", 0) >= 2)
    wait_until(lambda: metrics(relay).get("postroad_webhook_events_total,delivered,feedback"), timeout=60)
    (posted,) = came(hooks, "feedback", message_id)
    assert DOCUMENTED["verify"](NEW, posted["headers"], posted["body"].encode())
    data = posted["event"]["data"]
    assert (data["event"], data["recipient"], data["class"], data["hard"]) == ("bounced", DEAD, "userunknown", True)

    relay.get_wrapped_container().stop(timeout=20)
    again = start_relay(state=state)
    assert refused(again, DEAD)[0] == 550  # from the first message on
    known(again)
    wait_until(lambda: metrics(again)["postroad_rejects_total,suppressed"] >= 3)
    assert metrics(again)["postroad_webhook_events_total,delivered,feedback"] == 1
