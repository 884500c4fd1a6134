"""Many events at once, from the daemons' log socket into the store."""

import json
import time
import warnings

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, wait_until
from tests.integration.inside import inside
from tests.integration.test_http import metrics

MESSAGES = 10_000  # with two events each

SEND = """
import socket
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # it waits where the queue is full, as the daemons do
log.connect("/run/postroad/log")
began = time.time()
for number in range(given):
    about = f"<22>sendmail[{number + 100}]: 6AO53fpV{number:06}: "
    log.send((about + f"from=<app@sender.example>, size=82, class=0, nrcpts=1, msgid=<{number}@sender.example>, "
        "proto=ESMTP, daemon=MTA, relay=app.sender.example [172.30.99.12]").encode())
    log.send((about + f"to=<u{number % 500}@rcpt.example>, delay=00:00:01, xdelay=00:00:00, mailer=esmtp, pri=30082, "
        "relay=mx.rcpt.example. [172.30.99.11], dsn=2.0.0, stat=Sent (Ok: queued as 4CqXyZ)").encode())
log.close()
return [began, time.time()]
"""


def _kept(relay: PostroadContainer) -> bool:
    found = metrics(relay)
    return found["postroad_accepted_total"] + found.get("postroad_deliveries_total,,other,delivered", 0) >= 2 * MESSAGES


@pytest.mark.filterwarnings("default::UserWarning")
def test_twenty_thousand_events_are_all_kept(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    wait_until(lambda: metrics(relay)["postroad_ready"] == 1, timeout=60)
    began, sent = inside(relay, SEND, MESSAGES)
    wait_until(lambda: _kept(relay), timeout=120)
    seconds = time.time() - began
    where = "PostgreSQL" if "store" in str(relay.env.get("POSTROAD_EVENTS")) else "SQLite"
    warnings.warn(
        f"{2 * MESSAGES} events: {2 * MESSAGES / (sent - began):.0f}/s into the log,"
        f" {2 * MESSAGES / seconds:.0f}/s into {where}",
        stacklevel=1,
    )
    (total,) = json.loads(relay.command("stats", "--json"))["groups"]
    assert (total["accepted"], total["delivered"]) == (MESSAGES, MESSAGES)
    (last,) = json.loads(relay.command("trace", "--json", f"<{MESSAGES - 1}@sender.example>"))["messages"]
    assert last["status"] == "delivered"
    assert metrics(relay)["postroad_event_gaps_total"] == 0
