"""The way out through smarthosts when they do not take us: mail waits, nothing is lost, and it says why."""

import base64
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import (
    Relays,
    deferred,
    end_sessions,
    letter,
    secrets_folder,
    send,
    send_in_turn,
    signal_daemon,
    story,
    wait_until,
)
from tests.internet.host import Mx, Watch
from tests.internet.internet import Internet

WATCH = "watch.out.example"
LOGIN = {"username": "app", "password_file": "/secrets/app"}
MESSAGES = int(os.environ.get("SMARTHOST_MESSAGES", "50"))
"""How many go out while the password is another one."""


@pytest.fixture(scope="module")
def upstream(internet: Internet) -> Mx:
    return internet.add_smarthost("smtp.out.example", user="app:right", mechanisms="PLAIN LOGIN")


@pytest.fixture(scope="module")
def watch(internet: Internet) -> Watch:
    return internet.add_watch(WATCH)


@pytest.fixture(scope="module")
def safe(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secrets_folder(tmp_path_factory, internet, app="right")


@pytest.fixture
def start(start_relay: Relays, safe: Path) -> Callable[..., PostroadContainer]:
    def start(config: dict[str, Any] | None = None, **delivery: Any) -> PostroadContainer:
        return start_relay(
            mounts={str(safe): "/secrets"},
            delivery={"tls": {"ca_file": "/secrets/ca.pem"}, "queue": {"retry": "1s"}, **delivery},
            **(config or {}),
        )

    return start


def send_many(relay: PostroadContainer, count: int = MESSAGES) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: send(relay, letter()), range(count)))


def came(internet: Internet, ids: Sequence[str]) -> Counter[str]:
    """How often each of these messages has arrived."""
    return Counter(message.message_id for message in internet.messages() if message.message_id in set(ids))


def ends(relay: PostroadContainer) -> Counter[str]:
    return Counter(event["event"] for event in relay.events())


def delivered_more_than(relay: PostroadContainer, number: int) -> bool:
    return ends(relay)["delivered"] > number


def first_deferral(relay: PostroadContainer, message_id: str) -> dict[str, Any] | None:
    return next((event for event in story(relay, message_id) if event["event"] == "deferred"), None)


def kill_uplink(relay: PostroadContainer, signal: str = "KILL") -> None:
    signal_daemon(relay, "uplink", signal)


def test_a_password_that_is_changed_under_way_costs_no_message(start: Any, upstream: Mx, internet: Internet) -> None:
    relay = start(smarthost={"host": "smtp.out.example", "port": 465, **LOGIN})
    before = send_many(relay, 5)
    wait_until(lambda: len(came(internet, before)) == 5, 60)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, relay)
        wait_until(lambda: ends(relay)["accepted"] > 15, 30)
        upstream.set_password("app", "another")
        ids = sending.result()
    try:
        end_sessions(relay)  # whoever holds one keeps it
        late = send_many(relay, 10)
        reason = wait_until(lambda: next((e["reply"] for e in relay.events() if e["event"] == "deferred"), ""), 60)
        assert "421 4.7.0 smtp.out.example refuses the credentials of app: 535 5.7.8" in reason, reason
        wait_until(lambda: any(event["event"] == "deferred" for event in story(relay, late[-1])), 60)
        assert all(
            event["relay_host"] == "smtp.out.example" for event in relay.events() if event["event"] == "deferred"
        )
        notices = [event for event in relay.events() if "its mail waits" in str(event.get("message"))]
        assert len(notices) == 1, notices
        assert "its mail waits: see delivery.smarthost" in notices[0]["message"]
        assert "smtp.out.example refuses the credentials" in relay.command("queue", "list")
        assert relay.events()[-1]["event"] != "bounced"
        # few guesses, however many messages wait
        assert upstream.logs().count("SASL PLAIN authentication failed") < 20
    finally:
        upstream.set_password("app", "right")
    wait_until(lambda: len(came(internet, [*ids, *late])) == MESSAGES + 10, 120 + MESSAGES)
    assert set(came(internet, [*before, *ids, *late]).values()) == {1}
    assert not ends(relay)["bounced"]
    assert not ends(relay)["notified"]
    assert wait_until(lambda: [e for e in relay.events() if "takes mail of delivery.smarthost again" in str(e)])


def test_a_password_file_that_is_put_right_is_read(start: Any, upstream: Mx, internet: Internet, safe: Path) -> None:
    (safe / "wrong").write_text("wrong\n")
    relay = start(smarthost={"host": "smtp.out.example", "username": "app", "password_file": "/secrets/wrong"})
    message_id = send(relay, letter())
    assert "refuses the credentials of app" in deferred(relay, message_id)
    (safe / "wrong").write_text("right\n")
    assert internet.wait_for_message(message_id, timeout=60).mx == "smtp.out.example"


def test_a_killed_uplink_loses_nothing(start: Any, upstream: Mx, internet: Internet) -> None:
    relay = start(smarthost={"host": "smtp.out.example", **LOGIN})
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, relay, 100)
        for arrived in (5, 40):
            wait_until(partial(delivered_more_than, relay, arrived), 60)
            kill_uplink(relay)
        ids = sending.result()
    wait_until(lambda: len(came(internet, ids)) == len(ids), 120)
    assert not ends(relay)["bounced"]

    def stopped() -> int:
        return sum(event["event"] == "stopped" and event.get("program") == "uplink" for event in relay.events())

    wait_until(lambda: stopped() == 2)
    wait_until(lambda: relay.shell("/usr/local/lib/postroad/healthcheck 1")[0] == 0, 30)


def test_a_fallback_takes_over_from_one_who_refuses_us(
    start: Any, upstream: Mx, watch: Watch, internet: Internet
) -> None:
    internet.publish_host("first.out.example", watch.address)
    relay = start(smarthost={"host": WATCH, "port": 2009, "fallback": "first.out.example", **LOGIN})
    assert "first.out.example" in deferred(relay, send(relay, letter()))  # the same server by another name
    # a real one behind one who is not there
    relay = start(smarthost={"host": "nobody.out.example", "fallback": "smtp.out.example", **LOGIN})
    assert internet.wait_for_message(send(relay, letter())).mx == "smtp.out.example"


REASONS = {
    # port of the watching server: what the event says
    2006: "421 4.7.0 watch.out.example does not offer STARTTLS",
    2009: "421 4.7.0 watch.out.example refuses the credentials of app: 535 5.7.8 no",
    2012: "452 4.7.0 watch.out.example has no more quota for this account: 550 5.4.5 Daily user sending limit exceeded.",
    2014: "421 4.4.0 watch.out.example does not take AUTH now: 421 4.3.2 closing",
    2015: "421 4.4.0 watch.out.example does not take AUTH now: 454 4.7.0 temporary authentication failure",
    2016: "421 4.4.0 watch.out.example did not get through the greeting within 50 s",
    2017: "421 4.4.0 watch.out.example broke off the greeting",
    1: "421 4.4.1 watch.out.example can't be reached on port 1: ",
}


def test_whatever_fails_the_mail_waits_and_says_why(start: Any, watch: Watch) -> None:
    servers = {port: {"host": WATCH, "port": port, "tls": "verify", **LOGIN} for port in (*REASONS, 2013, 2010)}
    del servers[2010]["username"], servers[2010]["password_file"]
    routes = [{"domains": [f"p{port}.example"], "smarthost": server} for port, server in servers.items()]
    relay = start(routes=routes)
    sent = {port: send(relay, letter(To=f"a@p{port}.example")) for port in servers}
    for port, reason in REASONS.items():
        event = wait_until(partial(first_deferral, relay, sent[port]), 80)
        assert event is not None
        assert str(event["reply"]).startswith(reason), event
        assert event["relay_host"] == WATCH
    assert "refuses the credentials: 530 5.7.0 authentication required" in deferred(relay, sent[2010])
    # broken off after AUTH: before the session is handed over, or after it
    event = wait_until(partial(first_deferral, relay, sent[2013]), 80)
    assert event is not None
    assert "broke off" in str(event.get("reply")), event
    watch.go()
    assert not {"bounced", "delivered"} & set(ends(relay))
    listed = relay.command("queue", "list")
    assert ".uplink" not in listed.replace("postroad.uplink", "")


def test_mail_goes_on_when_the_quota_is_there_again(start: Any, watch: Watch, internet: Internet) -> None:
    relay = start(
        smarthost={"host": WATCH, "port": 2011, "tls": "implicit", **LOGIN},
        routes=[{"domains": ["quota.example"], "smarthost": {"host": WATCH, "port": 2012, **LOGIN}}],
    )
    watch.run("rm", "-f", "/run/watch/go")
    message_id = send(relay, letter(To="a@quota.example"))
    assert "has no more quota" in deferred(relay, message_id)
    watch.go()
    # left alone for a quarter of an hour: a restart asks anew
    kill_uplink(relay)
    assert relay.follow(message_id, timeout=60)[-1]["event"] == "delivered"
    other = send(relay, letter(To="a@elsewhere.example"))
    assert relay.follow(other)[-1]["event"] == "delivered"


def test_any_number_of_smarthosts(start: Any, watch: Watch) -> None:
    servers = [{"host": WATCH, "port": 2001, "username": f"u{i}", "password_file": "/secrets/app"} for i in range(40)]
    relay = start(routes=[{"domains": [f"d{i}.example"], "smarthost": server} for i, server in enumerate(servers)])
    watch.forget()
    for number in (0, 17, 39):
        message_id = send(relay, letter(To=f"a@d{number}.example"))
        delivered = relay.follow(message_id)[-1]
        assert (delivered["event"], delivered["mailer"], delivered["relay_host"]) == ("delivered", "smarthost", WATCH)
        assert delivered["relay_address"] == watch.address
    tls = [event for event in relay.events() if event["event"] == "tls" and event["side"] == "client"]
    assert {(event["relay_host"], event["relay_address"], event["tls_verify"]) for event in tls} == {
        (WATCH, watch.address, "OK")
    }


@pytest.mark.parametrize("port", [2018, 2019], ids=["without a word", "with a 421"])
def test_a_smarthost_that_ends_each_session_holds_up_no_message(port: int, start: Any, watch: Watch) -> None:
    """sendmail notices at the next message of its session, which leaves by another session with the smarthost, at once."""
    # an answer that nobody gives would be waited for until the test is over
    defines = {"confTO_QUIT": "10m"}
    relay = start({"sendmail": {"defines": defines}}, smarthost={"host": WATCH, "port": port, **LOGIN})
    send_in_turn(relay, [("a@rcpt.example", "delivered")] * 5)
    ids = send_many(relay, 200)
    wait_until(lambda: ends(relay)["delivered"] == 5 + len(ids), 120)
    assert not ends(relay)["deferred"]


def test_no_message_changes_what_becomes_of_the_next(start: Any, watch: Watch, internet: Internet) -> None:
    internet.add_watch("mx.open.example", behaviour="no-starttls")
    internet.publish("open.example", "MX", "10 mx.open.example.")
    internet.publish_host("late.out.example", internet.dns.address)  # where nothing listens
    servers: dict[str, dict[str, Any]] = {
        "good": {"host": WATCH, "port": 2001, **LOGIN},
        "refuses": {"host": WATCH, "port": 2009, **LOGIN},
        "closes": {"host": WATCH, "port": 2017, **LOGIN},
        "late": {"host": "late.out.example", "port": 2001, "tls": "require"},
    }
    routes = [{"domains": [f"{name}.example"], "smarthost": server} for name, server in servers.items()]
    tls = {"ca_file": "/secrets/ca.pem", "domains": {"open.example": "require"}}
    relay = start(routes=routes, tls=tls, queue={"retry": "4h"})
    good, unknown = ("a@good.example", "delivered"), ("unknown-{}@good.example", "bounced")
    refused, broken = ("a@refuses.example", "refuses the credentials of app"), ("a@closes.example", "broke off")
    clear, late = ("a@open.example", "does not offer STARTTLS"), ("a@late.example", "can't be reached")
    steps = [good, good, unknown, clear, refused, good, clear, unknown, refused, broken, unknown, good, good, late]
    send_in_turn(relay, [(recipient.format(number), end) for number, (recipient, end) in enumerate(steps)])
    internet.publish_host("late.out.example", watch.address)
    send_in_turn(relay, [(late[0], "delivered")] * 2)


def test_a_dead_uplink_makes_mail_wait(start: Any, upstream: Mx, internet: Internet) -> None:
    relay = start(smarthost={"host": "smtp.out.example", **LOGIN})
    kill_uplink(relay, "STOP")
    assert relay.shell("rm /run/postroad/uplink")[0] == 0
    message_id = send(relay, letter())
    assert "421 4.3.2 the uplink, which speaks to smarthosts, does not run now" in deferred(relay, message_id)
    kill_uplink(relay)
    assert internet.wait_for_message(message_id, timeout=60).mx == "smtp.out.example"


def test_a_session_from_before_a_reload_gets_no_other_account(
    image: str, internet: Internet, start_relay: Relays, watch: Watch, safe: Path, tmp_path: Path
) -> None:
    """What sendmail's old rules call a smarthost is the same one, or none, after a reload that changes the smarthosts."""
    tmp_path.chmod(0o755)
    config = tmp_path / "config.yaml"
    text = "delivery: {{tls: {{ca_file: /secrets/ca.pem}}, smarthost: {{host: {}, port: 2001, username: {}, password_file: /secrets/app}}}}\n"
    config.write_text(text.format(WATCH, "first"))
    relay = start_relay(mounts={str(safe): "/secrets", str(tmp_path): "/etc/postroad"})
    ids = []
    for user in ("first", "second", "third"):
        config.write_text(text.format(WATCH, user))
        assert relay.shell("postroad reload")[0] == 0
        rules = relay.shell("cat /run/postroad/current/sendmail.mc")[1]
        ids.append(re.findall(r"\.([0-9a-f]{6})\.uplink", rules)[0])
        watch.forget()
        assert relay.follow(send(relay, letter()))[-1]["event"] == "delivered"
        said = next(line for line in watch.commands(2001) if "AUTH" in line)
        assert base64.b64decode(said.split()[-1]).split(b"\0")[1] == user.encode()
    assert len(set(ids)) == 3
    ask = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect('/run/postroad/uplink');"
        " s.sendall(sys.argv[1].encode()+b'\\n'); print(s.recv(500).decode())"
    )
    answers = [relay.shell(f"python3 -c {shlex.quote(ask)} {each}")[1] for each in ids]
    assert answers[0].startswith("421 4.3.2 the configuration has changed")
    assert answers[1].startswith("220 ")
    assert answers[2].startswith("220 ")
