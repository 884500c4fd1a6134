"""A sender domain of which too much bounces, or is called spam: warned of, braked, released."""

import json
import smtplib
from collections.abc import Callable
from typing import Any

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, letter, wait_until
from tests.integration.test_http import metrics
from tests.integration.test_returns import bring, delivered, refusal
from tests.internet.host import Host
from tests.internet.internet import Internet
from tests.unit.test_returns_reading import ARF, report

RETURNS = "bounces.sender.example"
DOMAINS = ["sender.example", "other.sender.example"]
SEND = """
import json, smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=20) as smtp:
    print(json.dumps(smtp.sendmail(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])))
"""
ASK = """
import json, smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=20) as smtp:
    smtp.ehlo()
    code, text = smtp.mail(sys.argv[2])
    print(json.dumps([code, text.decode()]))
"""


STORED = """
import sqlite3
store = sqlite3.connect("file:/var/lib/postroad/events/events.db?mode=ro", uri=True)
print(store.execute("SELECT count(*) FROM events WHERE kind = ?", ("bounce_rate",)).fetchone()[0])
"""


def send(app: Host, relay: PostroadContainer, to: list[str]) -> None:
    app.run("python3", "-c", SEND, relay.address, "app@sender.example", json.dumps(to), letter().as_string())


def ask(app: Host, relay: PostroadContainer, sender: str) -> tuple[int, str]:
    """What MAIL is answered to a neighbour."""
    code, text = json.loads(app.run("python3", "-c", ASK, relay.address, sender))
    return code, text


def rates(relay: PostroadContainer) -> list[dict[str, Any]]:
    return [event for event in relay.events() if event["event"] == "bounce_rate"]


def wait_for_state(relay: PostroadContainer, state: str) -> dict[str, Any]:
    wait_until(lambda: [event for event in rates(relay) if event["state"] == state], timeout=30)
    return rates(relay)[-1]


def test_a_domain_is_braked_for_neighbours_until_it_is_released(
    start_relay: Relays, app: Host, volumes: Callable[[str], str]
) -> None:
    config: dict[str, Any] = {
        "domains": DOMAINS,
        "clients": {"trust_gateway": False},
        "events": {"brake": {"bounce_rate": "30%", "minimum": 5}},
        "state": volumes("state"),
    }
    relay = start_relay(**config)
    assert ask(app, relay, "app@sender.example")[0] == 250
    send(app, relay, [f"user-{i}@rcpt.example" for i in range(4)] + ["unknown-brake-0@rcpt.example"])
    warning = wait_for_state(relay, "warning")
    assert (warning["sender_domain"], warning["bounced"], warning["ended"]) == ("sender.example", 1, 5)
    assert ask(app, relay, "app@sender.example")[0] == 250
    send(app, relay, ["unknown-brake-1@rcpt.example", "unknown-brake-2@rcpt.example"])
    assert wait_for_state(relay, "braked")["bounce_rate"] == round(3 / 7, 5)

    code, text = ask(app, relay, "App@Sender.Example")
    assert code == 451
    assert text.startswith("4.7.1 ")
    assert "from sender.example is taken for now" in text.lower()
    assert "3 of 7 bounced (events.brake); postroad brake release" in text
    assert ask(app, relay, "")[0] == 250
    assert ask(app, relay, "app@other.sender.example")[0] == 250
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as stranger:
        stranger.ehlo()
        assert stranger.mail("app@sender.example")[0] == 250
        assert stranger.rcpt("user@rcpt.example")[0] == 550
    wait_until(lambda: metrics(relay)["postroad_rejects_total,braked"] == 1)
    assert metrics(relay)["postroad_bounce_rate_domains,braked"] == 1

    assert relay.shell(f"python3 -c '{STORED}'") == (0, "2\n")
    relay.get_wrapped_container().stop(timeout=20)
    again = start_relay(**config)
    assert ask(app, again, "app@sender.example")[0] == 451
    (listed,) = json.loads(again.command("brake", "list", "--json"))["domains"]
    assert (listed["sender_domain"], listed["state"], listed["bounced"], listed["ended"]) == (
        "sender.example", "braked", 3, 7,
    )  # fmt: skip
    assert "sender.example" in again.command("brake", "list")
    assert not rates(again)

    assert again.shell("postroad brake release other.example")[0] == 1
    assert "counted anew" in again.command("brake", "release", "sender.example")
    assert ask(app, again, "app@sender.example")[0] == 250
    wait_for_state(again, "released")
    send(app, again, ["user@rcpt.example"])
    wait_until(lambda: metrics(again)["postroad_bounce_rate_domains,braked"] == 0)
    assert again.shell("cat /var/lib/postroad/braked") == (0, "")


def test_the_brake_grips_in_a_session_that_is_open(start_relay: Relays) -> None:
    brake = {"bounce_rate": "60%", "warn_rate": None, "minimum": 2, "window": "1h"}
    rewrite = {"masquerade_domains": ["internal.example"], "masquerade_as": "sender.example"}
    relay = start_relay(events={"brake": brake}, rewrite=rewrite)
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        to = ["unknown-brake-4@rcpt.example", "unknown-brake-5@rcpt.example", "tempfail-brake@rcpt.example"]
        smtp.sendmail("app@web.internal.example", to, letter().as_string())
        assert wait_for_state(relay, "braked")["sender_domain"] == "web.internal.example"
        smtp.ehlo()
        assert smtp.mail("app@web.internal.example")[0] == 451  # as the app gives it
        for other in ("app@sender.example", "app@db.internal.example", ""):
            smtp.rset()
            assert smtp.mail(other)[0] == 250


def test_a_domain_whose_mail_is_called_spam_is_braked(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(
        listeners={"smtp": 2525},
        returns={"domain": RETURNS, "listen": 25},
        events={"brake": {"complaint_rate": "20%", "complaint_minimum": 2}},
    )
    internet.publish(RETURNS, "TXT", f"v=spf1 ip4:{relay.address} -all")
    delivered(relay, internet)
    received = delivered(relay, internet)
    fields = ARF.replace("bxyz@bounces.x.example", received.sender).replace("u@y.example", received.recipient)
    bring(relay, f"abuse@{RETURNS}", report("feedback-report", "feedback-report", fields, original="Subject: x\n\n"))
    event = relay.wait_for_event("complaint_rate", state="braked")
    assert (event["sender_domain"], event["complained"], event["delivered"]) == ("sender.example", 1, 2)
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as client:
        client.ehlo()
        code, text = client.mail("app@sender.example")
    assert code == 451
    assert b"is taken for now, too much comes back: 1 of 2 were called spam (events.brake)" in text
    assert "complaints 1 2 50.00%" in " ".join(relay.command("brake", "list").split())
    relay.command("brake", "release", "sender.example")
    assert refusal(relay, "user@rcpt.example") == ""
